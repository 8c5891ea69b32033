# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Forecasting: a window of the past becomes the next values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..config import UserError
from ..task import Evaluation
from . import value_plots
from .base import ArrayTask, Batch, Shape, sample, shape_text
from .regression import Errors

EXAMPLES = 6
"""Number of forecasts that the figure shows."""
ROWS = 48
"""Largest number of steps in the table."""


class Forecasting(ArrayTask):
    """Windows of a time series and the values that follow: write `build` in a subclass.

    Inputs: floats (n, window, features) or (n, window), the newest step last; other inputs work
    without the comparison to the last value. Targets: floats (n, horizon) or (n, horizon, k).
    Outputs of the model: of the same shape.
    """

    tag = "time-series-forecasting"
    target_feature: int | None = 0
    """Feature of the inputs that the targets continue, in the same unit.

    With k targets per step, they continue k features from this one on. None if no feature does.
    """
    unit: str = ""
    """Unit of the targets, for the figures, for example "kWh"."""
    step_name: str = "step"
    """What one step is, for the figures, for example "hour"."""

    def check(self, targets: np.ndarray, output_shape: Shape) -> None:
        """Raise UserError unless targets are (n, horizon[, k]) and the output has their shape."""
        if targets.ndim not in (2, 3) or targets.dtype.kind not in "iuf":
            raise UserError(
                "data.py: Forecasting needs numbers of shape (n, horizon) or (n, horizon, k), but"
                f" the targets are {targets.dtype} of shape {shape_text(targets.shape)}: convert"
                " them in data.py"
            )
        wanted, found = (_without_last_one(shape) for shape in (targets.shape, output_shape))
        fits = len(wanted) == len(found) and all(
            size in (None, other) for size, other in zip(found[1:], wanted[1:], strict=True)
        )
        if not fits:
            raise UserError(
                f"model.py: the model's output has shape {shape_text(output_shape)}, but the"
                f" targets have {shape_text(targets.shape)}: change its last layer"
            )
        self._history(self.example[0], targets)

    def loss(self) -> Any:
        """Return the mean absolute error."""
        return ForecastError()

    def metrics(self) -> list[Any]:
        """Return the root mean squared error, in the unit of the targets."""
        return [keras.metrics.RootMeanSquaredError(name="rmse")]

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Return the results on the test split: the loss of the training, mae, rmse and mase.

        mase is the mean absolute error divided by the one of repeating each window's last value
        over the same test examples: below 1 is better than repeating. It is left out if the inputs
        do not have the last value (see `target_feature`) or if repeating makes no error.
        """
        evaluation = super().evaluate(model)
        errors, naive_errors, kept = Errors(), Errors(), []
        shown = sample(self.dataset.test.size, EXAMPLES)
        for batch in self.test_batches(model):
            n, weights = len(batch.targets), batch.weights.reshape(-1)
            truth = batch.targets.astype("float64").reshape(n, -1)
            errors.add(truth, batch.outputs.astype("float64").reshape(n, -1), weights)
            history = self._history(batch.inputs, batch.targets)
            if history is not None:
                naive_errors.add(truth, _repeated(history, batch.targets.shape), weights)
            for i in np.flatnonzero(np.isin(batch.indices, shown)).tolist():
                kept.append(_first_series(batch, history, i))
        evaluation.metrics |= errors.scores()
        del evaluation.metrics["r2"]  # its mean over the steps says little
        naive = naive_errors if naive_errors.weight else None
        if naive and (error := naive.scores()["mae"]) > 0:
            evaluation.metrics["mase"] = evaluation.metrics["mae"] / error
        axes = {"unit": self.unit, "step_name": self.step_name}
        horizon = self.example[1].shape[1]
        rows = step_rows(errors, naive, horizon)
        evaluation.figures["Forecasts"] = value_plots.forecasts(kept, **axes)
        evaluation.figures["Error by step"] = value_plots.step_errors(rows, **axes)
        evaluation.tables["Error by step"] = step_table(rows)
        return evaluation

    def describe(self, output: np.ndarray) -> dict[str, Any]:
        """Return the next values, in order; with k targets per step a list of k values each."""
        values = np.asarray(output, "float64")
        if values.ndim == 2 and values.shape[1] == 1:
            values = values[:, 0]
        return {"forecast": values.tolist()}

    def _history(self, inputs: Any, targets: np.ndarray) -> np.ndarray | None:
        """Return the past of the targets, (n, window, k), or None if the inputs do not have it."""
        series = targets.shape[2] if targets.ndim == 3 else 1
        if self.target_feature is None or not isinstance(inputs, np.ndarray):
            return None
        if inputs.ndim not in (2, 3) or inputs.dtype.kind not in "iuf":
            return None
        inputs = inputs.reshape(*inputs.shape[:2], -1)
        features = inputs.shape[2]
        first = self.target_feature + (features if self.target_feature < 0 else 0)
        if not 0 <= first <= features - series:
            raise UserError(
                f"task.py: target_feature is {self.target_feature} for {series} targets per step,"
                f" but the inputs have {features} features: set the feature that the targets"
                " continue, or None"
            )
        return inputs[:, :, first : first + series].astype("float64")


def step_rows(
    errors: Errors, naive: Errors | None, horizon: int
) -> list[tuple[int, float, float, float | None]]:
    """Return step (from 1), MAE, RMSE and MAE of the last value (None without) of each step."""

    def by_step(sums: np.ndarray, weight: float) -> np.ndarray:
        return sums.reshape(horizon, -1).mean(axis=1) / weight

    mae = by_step(errors.absolute, errors.weight)
    rmse = np.sqrt(by_step(errors.squared, errors.weight))
    last = by_step(naive.absolute, naive.weight).tolist() if naive else [None] * horizon
    return list(zip(range(1, horizon + 1), mae.tolist(), rmse.tolist(), last, strict=True))


def step_table(
    rows: list[tuple[int, float, float, float | None]],
) -> list[Sequence[Any]]:
    """Return the table of the errors by step, of at most 48 steps at even distances."""
    chosen = np.unique(np.linspace(0, len(rows) - 1, min(ROWS, len(rows))).round().astype(int))
    known = rows[0][3] is not None
    heading = ("step", "MAE", "RMSE", *(["MAE of the last value"] if known else []))
    return [heading, *(rows[i] if known else rows[i][:3] for i in chosen)]


def _without_last_one(shape: Shape) -> Shape:
    """Return a shape (n, horizon, 1) as (n, horizon), others as they are."""
    return shape[:2] if len(shape) == 3 and shape[2] == 1 else shape


def _repeated(history: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the last values of histories (n, window, k) for each step of the targets, flat."""
    last = np.repeat(history[:, -1:, :], shape[1], axis=1)
    return last.reshape(shape[0], -1)


def _first_series(
    batch: Batch, history: np.ndarray | None, i: int
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Return history (window,), truth (horizon,) and forecast of an example's first target."""
    horizon = batch.targets.shape[1]
    truth, forecast = (
        values[i].reshape(horizon, -1)[:, 0] for values in (batch.targets, batch.outputs)
    )
    return None if history is None else history[i, :, 0], truth, forecast


@keras.saving.register_keras_serializable("engine")
class ForecastError(keras.losses.Loss):
    """Mean absolute error of each example, (n,): a weight per example applies to all its steps."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y_true = keras.ops.cast(y_true, y_pred.dtype)
        y_true = keras.ops.reshape(y_true, keras.ops.shape(y_pred))
        errors = keras.ops.abs(y_pred - y_true)
        return keras.ops.mean(errors, axis=tuple(range(1, len(errors.shape))))
