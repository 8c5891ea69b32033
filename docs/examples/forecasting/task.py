"""Forecasting: the engine compares with the last value; this file also compares with last week."""

import keras
import numpy as np

from . import model
from .engine import Dataset, Evaluation, Task
from .engine.tasks import Forecasting
from .recipes import Config


class Demand(Forecasting):
    """The next hours of a town's demand for electricity."""

    unit, step_name = "MW", "hour"

    def build(self) -> keras.Model:
        train = self.dataset.train
        past, _ = train.read(np.arange(0, len(train), self.config.window))
        return model.build(self.config, past)

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Add the error of repeating the same hours of the week before, the number to beat."""
        evaluation = super().evaluate(model)
        if self.config.horizon <= 168 <= self.config.window:
            errors = [
                np.abs(future - past[:, -168:][:, : future.shape[1]])
                for past, future in self.batches(self.dataset.test)
            ]
            evaluation.metrics["mae_of_last_week"] = float(np.concatenate(errors).mean())
        return evaluation


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return Demand(config, dataset)
