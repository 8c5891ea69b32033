"""Scikit-learn's diabetes data: age, sex, body mass index, blood pressure and six blood values."""

import numpy as np
from sklearn.datasets import load_diabetes

from .engine import Dataset
from .recipes import Config


def load(config: Config) -> Dataset:
    """Return measurements (n, 10) and progression (n,), float32, of 300, 71 and 71 patients."""
    measurements, progression = load_diabetes(return_X_y=True, scaled=False)
    order = np.random.default_rng(0).permutation(len(progression))
    parts = np.split(order, (300, 371))
    return Dataset(
        *((measurements[i].astype("float32"), progression[i].astype("float32")) for i in parts)
    )
