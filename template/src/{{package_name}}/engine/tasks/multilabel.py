# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Multi-label classification: each example has any number of labels, or none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..config import UserError
from ..task import Evaluation
from . import class_plots
from .base import ArrayTask, Shape, classification_tag, shape_text
from .scores import number_or_dash


class MultiLabel(ArrayTask):
    """Examples with any number of labels: write `build` in a subclass.

    Targets: 0 or 1 for each label, (n, labels) of any numeric dtype. Outputs of the model: float
    logits (n, labels), without sigmoid. `Dataset.class_names` names the labels; without it they
    are numbered.
    """

    threshold: float = 0.5
    """Probability from which a label is predicted, between 0 and 1."""

    @property
    def tag(self) -> str:
        """Kind of task on the Hugging Face hub: of images, texts (strings) or tables."""
        return classification_tag(self.example[0])

    def check(self, targets: np.ndarray, output_shape: Shape) -> None:
        """Raise UserError unless targets are 0 or 1 and there is a logit for each of them."""
        if targets.ndim != 2 or not np.isin(targets, (0, 1)).all():
            raise UserError(
                "data.py: MultiLabel needs targets of 0 and 1 of shape (n, labels), but they are"
                f" {targets.dtype} from {targets.min()} to {targets.max()} of shape"
                f" {shape_text(targets.shape)}: convert them in data.py"
            )
        labels, names = targets.shape[1], self.dataset.class_names
        if names and len(names) != labels:
            raise UserError(
                f"data.py: class_names has {len(names)} names, but the targets have {labels}"
                " labels: name each label once"
            )
        if len(output_shape) != 2 or output_shape[1] not in (None, labels):
            raise UserError(
                f"model.py: the model's output has shape {shape_text(output_shape)}, but MultiLabel"
                f" needs logits of shape (n, {labels}): change its last layer"
            )

    def loss(self) -> Any:
        """Return the binary cross-entropy of logits, the mean over the labels, in nats."""
        return keras.losses.BinaryCrossentropy(from_logits=True)

    def metrics(self) -> list[Any]:
        """Return the share of right decisions, over all labels."""
        logit = math.log(self.threshold / (1 - self.threshold))
        return [keras.metrics.BinaryAccuracy(name="label_accuracy", threshold=logit)]

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Return the results on the test split: the loss and the metrics of the training, and more.

        These are subset_accuracy (share of examples with all labels right), micro_f1, macro_f1
        (mean F1 of the labels that the test split or the predictions have) and
        mean_average_precision (of the labels that the test split has). Each of the last three is 0
        if there is no such label.
        """
        evaluation = super().evaluate(model)
        truth, shares, weights = self.predict_test(model)
        names = self.names(truth.shape[1])
        predicted = shares >= self.threshold
        precisions = average_precisions(truth, shares, weights)
        evaluation.metrics |= label_scores(truth, predicted, precisions, weights)
        evaluation.figures["Average precision of the labels"] = class_plots.label_bars(
            names, precisions, truth.mean(axis=0)
        )
        evaluation.tables["Labels"] = label_table(names, truth, predicted, precisions, weights)
        return evaluation

    def describe(self, output: np.ndarray) -> dict[str, Any]:
        """Return the predicted labels, and the probability of each label."""
        shares = sigmoid(np.asarray(output, "float32"))
        names = self.names(len(shares))
        return {
            "labels": [n for n, p in zip(names, shares, strict=True) if p >= self.threshold],
            "probabilities": dict(zip(names, map(float, shares), strict=True)),
        }

    def predict_test(self, model: keras.Model) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return truth (n, labels) bool, probabilities (n, labels) and sample weights (n,).

        Examples of weight 0 are left out.
        """
        parts = []
        for batch in self.test_batches(model):
            weights = batch.weights.reshape(-1)
            keep = weights > 0
            truth, shares = batch.targets.astype(bool), sigmoid(batch.outputs)
            parts.append((truth[keep], shares[keep], weights[keep]))
        truth, shares, weights = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return truth, shares, weights


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Return probabilities of logits of any shape."""
    return keras.ops.convert_to_numpy(keras.ops.sigmoid(logits))


def average_precisions(truth: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the average precision of each label, (labels,); NaN for a label without examples."""
    from sklearn.metrics import average_precision_score

    return np.array(
        [
            average_precision_score(truth[:, i], shares[:, i], sample_weight=weights)
            if truth[:, i].any()
            else np.nan
            for i in range(truth.shape[1])
        ]
    )


def label_scores(
    truth: np.ndarray, predicted: np.ndarray, precisions: np.ndarray, weights: np.ndarray
) -> dict[str, float]:
    """Return subset accuracy, micro and macro F1 and mean average precision."""
    weight = weights[:, None]
    right = (weight * (truth & predicted)).sum(axis=0)
    either = (weight * truth).sum(axis=0) + (weight * predicted).sum(axis=0)
    known, exist = either > 0, np.isfinite(precisions)
    all_right = (truth == predicted).all(axis=1)
    return {
        "subset_accuracy": float(np.average(all_right, weights=weights)),
        "micro_f1": float(2 * right.sum() / either.sum()) if known.any() else 0.0,
        "macro_f1": float((2 * right[known] / either[known]).mean()) if known.any() else 0.0,
        "mean_average_precision": float(precisions[exist].mean()) if exist.any() else 0.0,
    }


def label_table(
    names: Sequence[str],
    truth: np.ndarray,
    predicted: np.ndarray,
    precisions: np.ndarray,
    weights: np.ndarray,
) -> list[Sequence[Any]]:
    """Return metrics and the number of examples of each label; "-" is not defined."""
    from sklearn.metrics import precision_recall_fscore_support

    heading = ("label", "precision", "recall", "F1", "average precision", "examples")
    rows: list[Sequence[Any]] = [heading]
    for i, name in enumerate(names):
        options = {"sample_weight": weights, "average": "binary", "zero_division": np.nan}
        *shares, _ = precision_recall_fscore_support(truth[:, i], predicted[:, i], **options)
        shares.append(precisions[i])
        rows.append((name, *map(number_or_dash, shares), int(truth[:, i].sum())))
    return rows
