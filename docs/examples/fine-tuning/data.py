"""Some of scikit-learn's digits, numbered from 0 in the order of config.digits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .engine import Dataset
from .recipes import Config


def load(config: Config) -> Dataset:
    """Return images (n, 8, 8, 1) uint8 and class numbers (n,) int32, split 70/15/15."""
    raw = load_digits()
    chosen = np.flatnonzero(np.isin(raw.target, config.digits))
    images = (raw.images[chosen, ..., None] * (255 / 16)).astype("uint8")
    labels = np.array([config.digits.index(digit) for digit in raw.target[chosen]], "int32")
    train, rest = train_test_split(
        np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=0
    )
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    parts = train[: config.images], validation, test
    return Dataset(
        *((images[part], labels[part]) for part in parts),
        class_names=tuple(map(str, config.digits)),
    )
