"""Made sensor readings of machines, one in twenty of which fails."""

import numpy as np
from sklearn.datasets import make_classification
from sklearn.model_selection import train_test_split

from .engine import Dataset
from .recipes import Config


def load(config: Config) -> Dataset:
    """Return readings (n, 20) float32 and labels (n,) int32: 1 is a failure.

    The training split has sample weights (n,); validation and test are measured as they come.
    """
    readings, labels = make_classification(
        n_samples=8000,
        n_informative=6,
        n_clusters_per_class=3,
        weights=[0.95],
        flip_y=0,
        class_sep=1.5,
        random_state=0,
    )
    readings, labels = readings.astype("float32"), labels.astype("int32")
    train, rest = train_test_split(
        np.arange(len(labels)), test_size=0.5, stratify=labels, random_state=0
    )
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    weights = np.where(labels == 1, config.failure_weight, 1).astype("float32")
    return Dataset(
        train=(readings[train], labels[train], weights[train]),
        validation=(readings[validation], labels[validation]),
        test=(readings[test], labels[test]),
        class_names=("works", "fails"),
    )
