"""Some of scikit-learn's digits, numbered from 0 in the order of config.digits."""

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from .engine import Dataset
from .recipes import Config


def load(config: Config) -> Dataset:
    """Return images (n, 8, 8, 1) uint8 and class numbers (n,) int32, split 60/10/30.

    The seed chooses the config.images of the training split; validation and test stay the same.
    """
    raw = load_digits()
    chosen = np.flatnonzero(np.isin(raw.target, config.digits))
    images = (raw.images[chosen, ..., None] * (255 / 16)).astype("uint8")
    labels = np.array([config.digits.index(digit) for digit in raw.target[chosen]], "int32")

    def split(indices: np.ndarray, size: int | float, seed: int = 0) -> list[np.ndarray]:
        return train_test_split(
            indices, train_size=size, stratify=labels[indices], random_state=seed
        )

    train, rest = split(np.arange(len(labels)), 0.6)
    validation, test = split(rest, 0.25)
    if config.images:
        train, _ = split(train, config.images, config.seed)
    return Dataset(
        *((images[part], labels[part]) for part in (train, validation, test)),
        class_names=tuple(map(str, config.digits)),
    )
