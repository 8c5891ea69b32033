"""Text classification: word numbers come from the data set, and a text file becomes them too."""

from pathlib import Path

import keras
import numpy as np

from . import data, model
from .engine import Dataset, Task
from .engine.tasks import Classification
from .recipes import Config


class Docstrings(Classification):
    """Which library a docstring is of."""

    tag = "text-classification"

    def build(self) -> keras.Model:
        vocabulary, classes = self.dataset.preprocessing["vocabulary"], self.dataset.class_names
        return model.build(self.config, len(vocabulary), len(classes))

    def load_input(self, path: Path) -> np.ndarray:
        """Return the word numbers of a text file, (config.length,) int32."""
        text = data.words(path.read_text("utf-8"))
        vocabulary = self.dataset.preprocessing["vocabulary"]
        return data.encode([text], vocabulary, self.config.length)[0]


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return Docstrings(config, dataset)
