# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Segmentation: each pixel belongs to one of several classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..config import UserError
from ..task import Evaluation
from . import class_plots
from .base import ArrayTask, Batch, Shape, shape_text
from .scores import number_or_dash

EXAMPLES = 4
"""Number of examples that the figure shows."""


class Segmentation(ArrayTask):
    """Images with a class for each pixel: write `build` in a subclass.

    Targets: integer masks (n, height, width) or (n, height, width, 1). Outputs of the model: float
    logits (n, height, width, classes), without softmax. `Dataset.class_names` names the classes.
    """

    monitor = "val_iou"
    mode = "max"
    tag = "image-segmentation"
    ignore_class: int | None = None
    """Number in the masks of pixels that count for nothing, for example 255."""

    def check(self, targets: np.ndarray, output_shape: Shape) -> None:
        """Raise UserError unless targets are masks and there is a logit per pixel and class."""
        names = self.dataset.class_names
        if not names:
            raise UserError("data.py: Segmentation needs class_names: give them to Dataset")
        single = targets.ndim == 3 or (targets.ndim == 4 and targets.shape[3] == 1)
        if targets.dtype.kind not in "iub" or not single:
            raise UserError(
                "data.py: Segmentation needs integer masks of shape (n, height, width), but they"
                f" are {targets.dtype} of shape {shape_text(targets.shape)}: convert them in"
                " data.py"
            )
        needed = (*targets.shape[1:3], len(names))
        fits = len(output_shape) == 4 and all(
            size in (None, wanted) for size, wanted in zip(output_shape[1:], needed, strict=True)
        )
        if not fits:
            raise UserError(
                f"model.py: the model's output has shape {shape_text(output_shape)}, but the masks"
                f" and class_names need logits of shape {shape_text((None, *needed))}: change its"
                " last layer"
            )
        used = targets[targets != self.ignore_class] if self.ignore_class is not None else targets
        if used.size and not 0 <= used.min() <= used.max() < len(names):
            raise UserError(
                f"data.py: the masks have class numbers from {used.min()} to {used.max()}, but"
                f" class_names has {len(names)} names: number the classes from 0 and set"
                " ignore_class in task.py if one number means no class"
            )

    def loss(self) -> Any:
        """Return the cross-entropy per pixel, in nats."""
        return PixelCrossentropy(from_logits=True, ignore_class=self.ignore_class)

    def metrics(self) -> list[Any]:
        """Return the mean intersection over union (IoU) of the classes."""
        return [PixelIoU(len(self.dataset.class_names), ignore_class=self.ignore_class)]

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Return the results on the test split: the loss of the training, iou, pixel_accuracy.

        iou is the mean over the classes that occur in the masks or in the predictions. Both are 0
        if no pixel counts. Masks are counted batch by batch and not kept.
        """
        evaluation = super().evaluate(model)
        names, size = self.dataset.class_names, self.dataset.test.size
        confusion = np.zeros((len(names),) * 2)
        shown, kept = np.linspace(0, size - 1, min(EXAMPLES, size)).astype(int), []
        for batch in self.test_batches(model):
            masks = batch.targets.reshape(batch.outputs.shape[:3])
            predicted = batch.outputs.argmax(axis=-1)
            confusion += self._count(masks, predicted, batch.weights)
            chosen = np.flatnonzero(np.isin(batch.indices, shown)).tolist()
            kept += [self._shown(batch, i) for i in chosen]
        evaluation.metrics |= pixel_scores(confusion)
        evaluation.figures["Images, masks, predictions"] = class_plots.masks(
            kept, names, self.ignore_class
        )
        evaluation.tables["Classes"] = pixel_table(confusion, names)
        return evaluation

    def describe(self, output: np.ndarray) -> dict[str, Any]:
        """Return the share of the pixels of each class, and the mask as rows of class numbers."""
        mask = np.asarray(output).argmax(axis=-1)
        names = self.dataset.class_names
        counts = np.bincount(mask.reshape(-1), minlength=len(names)) / mask.size
        return {"shares": dict(zip(names, map(float, counts), strict=True)), "mask": mask.tolist()}

    def _count(self, masks: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Return the weight of the pixels by true class (row) and predicted class (column)."""
        classes = len(self.dataset.class_names)
        if weights.ndim < 3:
            weights = weights.reshape(len(masks), 1, 1)
        weights = np.broadcast_to(weights.reshape(weights.shape[:3]), masks.shape)
        counts = slice(None) if self.ignore_class is None else masks != self.ignore_class
        pairs = masks[counts].astype("int64") * classes + predicted[counts]
        weight = weights[counts].reshape(-1)
        return np.bincount(pairs.reshape(-1), weight, classes**2).reshape(classes, classes)

    def _shown(self, batch: Batch, i: int) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
        """Return image (None if the input is not one), mask and prediction of an example."""
        image = batch.inputs[i] if self.has_images else None
        mask = batch.targets[i].reshape(batch.outputs.shape[1:3])
        return image, mask, batch.outputs[i].argmax(axis=-1)


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """Return the IoU of each class; NaN for a class that occurs nowhere."""
    right = np.diag(confusion)
    union = confusion.sum(axis=0) + confusion.sum(axis=1) - right
    return np.divide(right, union, out=np.full(len(union), np.nan), where=union > 0)


def pixel_scores(confusion: np.ndarray) -> dict[str, float]:
    """Return iou and pixel_accuracy, both 0 if no pixel counts."""
    ious, total = intersection_over_union(confusion), confusion.sum()
    if not total:
        return {"iou": 0.0, "pixel_accuracy": 0.0}
    return {
        "iou": float(np.nanmean(ious)),
        "pixel_accuracy": float(np.trace(confusion) / total),
    }


def pixel_table(confusion: np.ndarray, names: Sequence[str]) -> list[Sequence[Any]]:
    """Return IoU, recall and share of the pixels of each class; "-" is not defined."""
    ious, pixels = intersection_over_union(confusion), confusion.sum(axis=1)
    recalls = np.divide(
        np.diag(confusion), pixels, out=np.full(len(names), np.nan), where=pixels > 0
    )
    shares = pixels / max(pixels.sum(), 1)
    rows: list[Sequence[Any]] = [("class", "IoU", "recall", "share of pixels")]
    for name, iou, recall, share in zip(names, ious, recalls, shares, strict=True):
        rows.append((name, number_or_dash(iou), number_or_dash(recall), float(share)))
    return rows


def per_pixel(weights: Any, logits: Any) -> Any:
    """Return sample weights as one per pixel, (n, height, width) float32.

    They may be a number or of shape (n,), (n, height, width) or (n, height, width, 1).
    Keras would broadcast weights of shape (n,) along the width.
    """
    weights = keras.ops.cast(weights, "float32")
    if len(weights.shape) == 1:
        weights = keras.ops.reshape(weights, (-1, 1, 1))
    if len(weights.shape) == 4:
        weights = keras.ops.squeeze(weights, axis=-1)
    return weights * keras.ops.ones_like(logits[..., 0], dtype="float32")


@keras.saving.register_keras_serializable("engine")
class PixelCrossentropy(keras.losses.SparseCategoricalCrossentropy):
    """Cross-entropy of logits (n, height, width, classes) with weights per example or pixel."""

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if sample_weight is not None:
            sample_weight = per_pixel(sample_weight, y_pred)
        return super().__call__(y_true, y_pred, sample_weight)


@keras.saving.register_keras_serializable("engine")
class PixelIoU(keras.metrics.MeanIoU):
    """Mean IoU of logits (n, height, width, classes) with weights per example or pixel."""

    def __init__(self, num_classes: int, name: str = "iou", ignore_class: int | None = None):
        super().__init__(
            num_classes, name, dtype="float32", ignore_class=ignore_class, sparse_y_pred=False
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch: masks (n, height, width[, 1]) and logits (n, height, width, classes)."""
        n, cells = keras.ops.shape(y_pred)[0], self.num_classes**2
        truth = keras.ops.cast(keras.ops.reshape(y_true, (n, -1)), "int32")
        predicted = keras.ops.cast(keras.ops.argmax(y_pred, axis=-1), "int32")
        weights = 1.0 if sample_weight is None else sample_weight
        weights = keras.ops.reshape(per_pixel(weights, y_pred), (n, -1))
        if self.ignore_class is not None:
            counts = keras.ops.not_equal(truth, self.ignore_class)
            truth = keras.ops.where(counts, truth, 0)
            weights = keras.ops.where(counts, weights, 0.0)
        pairs = truth * self.num_classes + keras.ops.reshape(predicted, (n, -1))
        # Each image by itself: float32 cannot count the pixels of a large batch one by one.
        pairs += cells * keras.ops.expand_dims(keras.ops.arange(n, dtype="int32"), axis=1)
        added = keras.ops.segment_sum(
            keras.ops.reshape(weights, (-1,)), keras.ops.reshape(pairs, (-1,)), n * cells
        )
        added = keras.ops.sum(keras.ops.reshape(added, (n, cells)), axis=0)
        self.total_cm.assign_add(keras.ops.reshape(added, self.total_cm.shape))

    def get_config(self) -> dict[str, Any]:
        return {
            "num_classes": self.num_classes,
            "name": self.name,
            "ignore_class": self.ignore_class,
        }
