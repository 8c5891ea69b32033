# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Regression: each example has one number, or several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from ..config import UserError
from ..task import Evaluation
from . import value_plots
from .base import ArrayTask, Shape, sample, shape_text

POINTS = 2000
"""Largest number of examples that the figures show."""


class Regression(ArrayTask):
    """Examples with one number or several: write `build` in a subclass.

    Targets: floats (n,) or (n, k). Outputs of the model: floats (n, 1) or (n, k).
    """

    unit: str = ""
    """Unit of the targets, for the figures, for example "kWh"."""
    output_names: tuple[str, ...] = ()
    """Names of the k numbers; without it they are numbered from 1."""

    @property
    def tag(self) -> str:
        """Kind of task on the Hugging Face hub, which has no name for regression of images."""
        return "other" if self.has_images else "tabular-regression"

    def check(self, targets: np.ndarray, output_shape: Shape) -> None:
        """Raise UserError unless targets are numbers and the output has their shape."""
        if targets.ndim not in (1, 2) or targets.dtype.kind not in "iuf":
            raise UserError(
                "data.py: Regression needs numbers of shape (n,) or (n, k), but the targets are"
                f" {targets.dtype} of shape {shape_text(targets.shape)}: convert them in data.py"
            )
        count = targets.shape[1] if targets.ndim == 2 else 1
        if output_shape[1:] not in ((count,), (None,), *([()] if count == 1 else [])):
            raise UserError(
                f"model.py: the model's output has shape {shape_text(output_shape)}, but Regression"
                f" needs (n, {count}) for these targets: change its last layer"
            )
        if self.output_names and len(self.output_names) != count:
            raise UserError(
                f"task.py: output_names has {len(self.output_names)} names, but the targets have"
                f" {count} numbers each: name each of them once"
            )

    def loss(self) -> Any:
        """Return the mean squared error."""
        return keras.losses.MeanSquaredError()

    def metrics(self) -> list[Any]:
        """Return mean absolute error and root mean squared error, in the unit of the targets."""
        return [
            keras.metrics.MeanAbsoluteError(name="mae"),
            keras.metrics.RootMeanSquaredError(name="rmse"),
        ]

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Return the results on the test split: the loss of the training, mae, rmse and r2.

        With several numbers, mae and rmse are over all of them, and r2 is the mean of theirs. r2
        of constant targets is 1 if all predictions are exact, else 0, as in scikit-learn. The
        metrics are of all examples, the figures of at most 2,000.
        """
        evaluation = super().evaluate(model)
        errors, shown = Errors(), sample(self.dataset.test.size, POINTS)
        points = []
        for batch in self.test_batches(model):
            truth = batch.targets.astype("float64").reshape(len(batch.targets), -1)
            outputs = batch.outputs.astype("float64").reshape(truth.shape)
            errors.add(truth, outputs, batch.weights.reshape(-1))
            here = np.isin(batch.indices, shown)
            points.append((truth[here], outputs[here]))
        truth, outputs = (np.concatenate(arrays) for arrays in zip(*points, strict=True))
        names = self.names(truth.shape[1])
        evaluation.metrics |= errors.scores()
        evaluation.figures["Predicted over true"] = value_plots.predicted_over_true(
            truth, outputs, names, self.unit
        )
        evaluation.figures["Residuals"] = value_plots.residuals(truth, outputs, names, self.unit)
        if len(names) > 1:
            evaluation.tables["Numbers"] = errors.table(names)
        return evaluation

    def names(self, count: int) -> tuple[str, ...]:
        """Return the names of `count` numbers."""
        if count == 1:
            return self.output_names or ("value",)
        return self.output_names or tuple(f"value {i + 1}" for i in range(count))

    def describe(self, output: np.ndarray) -> dict[str, Any]:
        """Return the number, or the numbers, by name."""
        values = np.asarray(output, "float64").reshape(-1)
        return dict(zip(self.names(len(values)), map(float, values), strict=True))


@dataclass
class Errors:
    """Sums over the examples of all batches; each is an array (k,), or 0 without a batch."""

    weight: float = 0.0
    absolute: Any = 0.0
    squared: Any = 0.0
    mean: Any = 0.0
    """Mean of the targets."""
    scatter: Any = 0.0
    """Sum of the squared distances of the targets to their mean."""

    def add(self, truth: np.ndarray, outputs: np.ndarray, weights: np.ndarray) -> None:
        """Add a batch: targets and outputs (n, k) float64, sample weights (n,)."""
        total = weights.sum()
        if not total:
            return
        weight, errors = weights[:, None], outputs - truth
        self.absolute = self.absolute + (weight * np.abs(errors)).sum(axis=0)
        self.squared = self.squared + (weight * errors**2).sum(axis=0)
        # The parallel algorithm of Chan et al. does not lose digits when the mean is large.
        mean = (weight * truth).sum(axis=0) / total
        scatter = (weight * (truth - mean) ** 2).sum(axis=0)
        distance, both = mean - self.mean, self.weight + total
        self.scatter = self.scatter + scatter + distance**2 * self.weight * total / both
        self.mean = self.mean + distance * total / both
        self.weight = both

    @property
    def r2(self) -> np.ndarray:
        """Coefficient of determination, (k,); of constant targets 1 (all exact) or 0."""
        rounding = self.weight * (1e-12 * self.mean) ** 2
        constant, exact = self.scatter <= rounding, self.squared <= rounding
        ratio = self.squared / np.where(constant, 1, self.scatter)
        return np.where(constant, exact.astype(float), 1 - ratio)

    def scores(self) -> dict[str, float]:
        """Return mae and rmse over all numbers, and the mean r2."""
        return {
            "mae": float(np.mean(self.absolute) / self.weight),
            "rmse": float(np.sqrt(np.mean(self.squared) / self.weight)),
            "r2": float(np.mean(self.r2)),
        }

    def table(self, names: Sequence[str]) -> list[Sequence[Any]]:
        """Return mae, rmse and r2 of each number."""
        mae, rmse = self.absolute / self.weight, np.sqrt(self.squared / self.weight)
        rows = zip(names, mae.tolist(), rmse.tolist(), self.r2.tolist(), strict=True)
        return [("number", "MAE", "RMSE", "R²"), *rows]
