"""Regression: the engine has loss, metrics and figures; this file adds the network and units."""

import keras

from . import model
from .engine import Dataset, Task
from .engine.tasks import Regression
from .recipes import Config


class Diabetes(Regression):
    """Progression of diabetes one year after the measurements, a score from 25 to 346."""

    output_names = ("progression",)
    unit = "points"

    def build(self) -> keras.Model:
        return model.build(self.config, self.dataset)

    def loss(self) -> keras.losses.Loss:
        """Return a loss that outliers do not dominate: squared up to 50 points, linear above."""
        return keras.losses.Huber(delta=50.0)


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return Diabetes(config, dataset)
