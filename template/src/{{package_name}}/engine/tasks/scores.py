# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Metrics of classification from labels and probabilities, by scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Predictions:
    """What a model says of n examples."""

    indices: np.ndarray
    """Indices in the split, (n,)."""
    labels: np.ndarray
    """True classes, (n,) int64."""
    probabilities: np.ndarray
    """Probability of each class, (n, classes) float32."""
    weights: np.ndarray
    """Sample weights above 0, (n,)."""

    @property
    def classes(self) -> np.ndarray:
        """Most probable classes, (n,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def losses(self) -> np.ndarray:
        """Cross-entropy of each example in nats, (n,)."""
        of_truth = self.probabilities[np.arange(len(self.labels)), self.labels]
        return -np.log(np.clip(of_truth, 1e-7, 1))

    @property
    def confusion(self) -> np.ndarray:
        """Number of examples by true class (row) and predicted class (column)."""
        counts = np.zeros((self.probabilities.shape[1],) * 2, int)
        np.add.at(counts, (self.labels, self.classes), 1)
        return counts


def scores(test: Predictions) -> dict[str, float]:
    """Return accuracy and its baseline, balanced accuracy, macro F1, area under the ROC curve."""
    from sklearn.metrics import f1_score, recall_score

    truth, classes, weights = test.labels, test.classes, test.weights
    options = {"average": "macro", "zero_division": 0, "sample_weight": weights}
    return {
        "accuracy": float(np.average(classes == truth, weights=weights)),
        "majority_baseline": float(np.bincount(truth, weights=weights).max() / weights.sum()),
        "balanced_accuracy": float(
            recall_score(truth, classes, labels=np.unique(truth), **options)
        ),
        "macro_f1": float(f1_score(truth, classes, **options)),
        "auc": area_under_curve(test),
    }


def area_under_curve(test: Predictions) -> float:
    """Return the mean area under the ROC curve of each class against the rest.

    Classes without examples, or without others to compare them to, are left out; 0.5, the value
    of a guess, if no class is left.
    """
    from sklearn.metrics import roc_auc_score

    classes = test.probabilities.shape[1]
    areas = []
    for number in [1] if classes == 2 else range(classes):
        truth = test.labels == number
        if truth.any() and not truth.all():
            areas.append(
                roc_auc_score(truth, test.probabilities[:, number], sample_weight=test.weights)
            )
    return float(np.mean(areas)) if areas else 0.5


def class_table(test: Predictions, names: Sequence[str]) -> list[Sequence[Any]]:
    """Return precision, recall, F1 and number of examples of each class; "-" is not defined."""
    from sklearn.metrics import precision_recall_fscore_support

    precision, recall, f1, _ = precision_recall_fscore_support(
        test.labels,
        test.classes,
        labels=range(len(names)),
        sample_weight=test.weights,
        zero_division=np.nan,
    )
    examples = np.bincount(test.labels, minlength=len(names))
    rows: list[Sequence[Any]] = [("class", "precision", "recall", "F1", "examples")]
    for row in zip(names, precision, recall, f1, examples, strict=True):
        name, *shares, count = row
        rows.append((name, *(number_or_dash(share) for share in shares), int(count)))
    return rows


def number_or_dash(value: float) -> float | str:
    """Return a number for a table; "-" for NaN."""
    return float(value) if np.isfinite(value) else "-"
