"""Segmentation: the engine has loss, intersection over union and figures."""

import keras

from . import model
from .engine import Dataset, Task
from .engine.tasks import Segmentation
from .recipes import Config


class DigitsOnPhotos(Segmentation):
    """Which pixels belong to a digit."""

    def build(self) -> keras.Model:
        images, _ = self.example
        return model.build(self.config, images.shape[1:], len(self.dataset.class_names))


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return DigitsOnPhotos(config, dataset)
