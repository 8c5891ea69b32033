"""Quantile regression: a loss, a metric and a figure of one's own."""

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from . import model
from .engine import Dataset, Evaluation, Task
from .recipes import Config


@keras.saving.register_keras_serializable("bus_rides")
class PinballLoss(keras.losses.Loss):
    """Mean pinball loss of targets (n, 1) and quantiles (n, quantiles)."""

    def __init__(self, quantiles: tuple[float, ...], name: str = "pinball", **options) -> None:
        super().__init__(name=name, **options)
        self.quantiles = tuple(quantiles)

    def call(self, y_true, y_pred):
        error, quantiles = y_true - y_pred, ops.array(self.quantiles, y_pred.dtype)
        return ops.mean(ops.maximum(quantiles * error, (quantiles - 1) * error), axis=-1)

    def get_config(self) -> dict:
        return super().get_config() | {"quantiles": self.quantiles}


@keras.saving.register_keras_serializable("bus_rides")
class Coverage(keras.metrics.Mean):
    """Share of targets between the lowest and the highest quantile."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        inside = ops.logical_and(y_pred[:, :1] <= y_true, y_true <= y_pred[:, -1:])
        return super().update_state(ops.squeeze(inside, axis=-1), sample_weight)


class BusRides(Task):
    """Quantiles of a ride's minutes at an hour of the day."""

    tag = "tabular-regression"

    def build(self) -> keras.Model:
        train = self.dataset.train
        return model.build(self.config, *train.read(np.arange(len(train))))

    def loss(self) -> PinballLoss:
        return PinballLoss(self.config.quantiles)

    def metrics(self) -> list[keras.metrics.Metric]:
        return [Coverage(name="coverage")]

    def evaluate(self, model: keras.Model) -> Evaluation:
        evaluation = super().evaluate(model)
        batches = list(self.predictions(model, self.dataset.test))
        hours, minutes = (np.concatenate([examples[i] for examples, _ in batches]) for i in (0, 1))
        predicted = np.concatenate([outputs for _, outputs in batches])
        below = (minutes <= predicted).mean(axis=0)
        rows = zip(self.config.quantiles, below.tolist(), strict=True)
        evaluation.tables["Calibration"] = [("quantile", "share of rides below it"), *rows]
        evaluation.figures["Quantiles over the day"] = self.plot(hours, minutes, predicted)
        return evaluation

    def plot(self, hours: np.ndarray, minutes: np.ndarray, predicted: np.ndarray) -> Figure:
        """Return a figure of the test rides and the predicted quantiles."""
        figure = Figure(figsize=(7, 4), layout="constrained")
        axes, order = figure.subplots(), np.argsort(hours[:, 0])
        axes.scatter(hours, minutes, s=6, color="0.6", linewidths=0, label="test rides")
        for quantile, line in zip(self.config.quantiles, predicted[order].T, strict=True):
            axes.plot(hours[order], line, label=f"{quantile:.0%} quantile")
        axes.set(xlabel="hour of the day", ylabel="minutes")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        return figure


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return BusRides(config, dataset)
