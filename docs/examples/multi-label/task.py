"""Multi-label classification: each image has any number of the labels."""

import keras

from . import model
from .engine import Dataset, Task
from .engine.tasks import MultiLabel
from .recipes import Config


class DigitsInAGrid(MultiLabel):
    """Which of the ten digits an image shows."""

    def build(self) -> keras.Model:
        images, labels = self.example
        return model.build(self.config, images.shape[1:], labels.shape[1])


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return DigitsInAGrid(config, dataset)
