# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Class weights: rare classes count as much as frequent ones in the training loss."""

from __future__ import annotations

import numpy as np

from ..config import UserError
from ..pipeline import Augment, Examples, Split

CHOICES = ("none", "balanced")
AT_ONCE = 256


def class_counts(split: Split, classes: int) -> np.ndarray:
    """Return the number of examples of each class, (classes,) int; it may read the whole split."""
    if split.targets is not None:
        return np.bincount(_numbers(split.targets), minlength=classes)
    starts = range(0, split.size, AT_ONCE)
    parts = (np.arange(start, min(start + AT_ONCE, split.size)) for start in starts)
    targets = np.concatenate([_numbers(split.read(part)[1]) for part in parts])
    return np.bincount(targets, minlength=classes)


def _numbers(targets: np.ndarray) -> np.ndarray:
    return np.asarray(targets).reshape(-1).astype("int64")


def balanced(counts: np.ndarray) -> np.ndarray:
    """Return a weight for each class, (classes,) float32, as scikit-learn's "balanced".

    The weights of the training examples have the mean 1. Classes without examples weigh 0.
    """
    present = counts > 0
    weights = counts.sum() / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0).astype("float32")


def weighing(weights: np.ndarray, augment: Augment | None) -> Augment:
    """Return a function that augments a batch and gives its examples the weight of their class.

    The class is that before augmentation. Sample weights of the data set are multiplied.
    """

    def change(examples: Examples, generator: np.random.Generator) -> Examples:
        of_class = weights[_numbers(examples[1])]
        inputs, targets, *own = augment(examples, generator) if augment else examples
        return inputs, targets, (of_class * own[0] if own else of_class).astype("float32")

    return change


def check_choice(choice: str) -> str:
    """Return the value of the config's field class_weights; UserError if there is no such one."""
    if choice not in CHOICES:
        known = " or ".join(CHOICES)
        raise UserError(f"class_weights is {choice!r}, but must be {known}")
    return choice
