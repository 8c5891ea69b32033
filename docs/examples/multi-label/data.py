"""Images of 16 x 16 pixels with a handwritten digit, or none, in each quarter."""

import numpy as np
from sklearn.datasets import load_digits

from .engine import Dataset
from .recipes import Config


def load(config: Config) -> Dataset:
    """Return images (n, 16, 16, 1) uint8 and labels (n, 10) int32: 1 for each digit that is there.

    No scan of a digit is in two splits.
    """
    order = np.random.default_rng(0).permutation(1797)
    shares, scans = (0.7, 0.15, 0.15), np.split(order, (1257, 1527))
    splits = (
        compose(part, round(share * config.images), seed)
        for seed, (part, share) in enumerate(zip(scans, shares, strict=True))
    )
    return Dataset(*splits, class_names=tuple("0123456789"))


def compose(scans: np.ndarray, images: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return so many images of one to four of these scans each, and their labels."""
    raw, random = load_digits(), np.random.default_rng(seed)
    chosen = random.choice(scans, (images, 4))
    shown = random.permuted(np.arange(4) < random.integers(1, 5, (images, 1)), axis=1)
    tiles = raw.images[chosen] * shown[..., None, None]
    tiles = tiles.reshape(images, 2, 2, 8, 8).transpose(0, 1, 3, 2, 4)
    labels = np.zeros((images, 10), "int32")
    rows, quarters = np.nonzero(shown)
    labels[rows, raw.target[chosen[rows, quarters]]] = 1
    return (tiles.reshape(images, 16, 16, 1) * (255 / 16)).astype("uint8"), labels
