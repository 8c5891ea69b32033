# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Data and settings that the GPU check and the benchmark train with, whatever the project holds.

They depend on no recipe, data set or network of the project, so you may delete all of those. This
module imports no framework; the networks are in networks.py.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..config import Config, Precision, UserError
from ..pipeline import Dataset, Examples, Split

CLASSES = 10
"""Number of classes of both data sets."""


@dataclass(frozen=True, kw_only=True)
class WorkloadConfig(Config):
    """The fields of the engine, and what the private networks need."""

    image_size: int
    """Height and width of the images, in pixels."""
    model: Literal["cnn", "resnet50"] = "cnn"
    """Network, see networks.py."""

    def __post_init__(self) -> None:
        super().__post_init__()
        least = {"cnn": 8, "resnet50": 32}[self.model]
        if self.image_size < least:
            raise UserError(
                f"image_size is {self.image_size}, but must be at least {least} for {self.model}"
            )


def benchmark_config() -> WorkloadConfig:
    """Return what the benchmark trains on a GPU: ResNet-50 on images of 224 x 224 pixels."""
    return WorkloadConfig(recipe="benchmark", image_size=224, model="resnet50", epochs=3)


def gpu_check_config(epochs: int) -> WorkloadConfig:
    """Return what the short training of the GPU check trains: a small CNN on digits."""
    return WorkloadConfig(recipe="gpu_check", image_size=8, epochs=epochs)


def mixed(half: str) -> Precision:
    """Return the dtype policy that computes in a 16-bit type, bfloat16 or float16."""
    return "mixed_bfloat16" if half == "bfloat16" else "mixed_float16"


def synthetic(config: WorkloadConfig) -> Dataset:
    """Return a data set that repeats one random batch: nothing is read, so the model's speed shows.

    Images are uint8 of shape (n, image_size, image_size, 3), labels int32 of shape (n,).
    """
    random, size = np.random.default_rng(config.seed), config.image_size
    images = random.integers(0, 256, (config.batch_size, size, size, 3), "uint8")
    labels = random.integers(0, CLASSES, config.batch_size, "int32")

    def read(indices: np.ndarray) -> Examples:
        return images[: len(indices)], labels[: len(indices)]

    one_batch = Split(config.batch_size, read)
    return Dataset(Split(20 * config.batch_size, read), one_batch, one_batch)


def digits() -> Dataset:
    """Return scikit-learn's 1,797 scans of handwritten digits, in random order, split 70/15/15.

    scikit-learn contains them, so nothing is downloaded. Images are uint8 of shape (n, 8, 8, 1),
    labels int32 of shape (n,).
    """
    from sklearn.datasets import load_digits

    raw = load_digits()
    order = np.random.default_rng(0).permutation(len(raw.target))
    images = (raw.images[order, :, :, None] * (255 / 16)).astype("uint8")
    labels = raw.target[order].astype("int32")
    first, second = int(0.7 * len(order)), int(0.85 * len(order))
    parts = (slice(first), slice(first, second), slice(second, None))
    train, validation, test = ((images[part], labels[part]) for part in parts)
    return Dataset(train, validation, test, class_names=tuple("0123456789"))
