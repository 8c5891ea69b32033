"""Measurements and progression of diabetes patients, from scikit-learn, by way of a CSV."""

import csv
from pathlib import Path

from sklearn.datasets import load_diabetes

from .engine import Dataset
from .engine.tables import read_table
from .recipes import Config

NUMERIC = ("age", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")


def load(config: Config) -> Dataset:
    """Return the columns of config.table by name and the progression (n,), split 70/15/15."""
    if not config.table.exists():  # your own CSV is there
        write(config.table)
    return read_table(config.table, target="progression", numeric=NUMERIC, categorical=["sex"])


def write(path: Path) -> None:
    """Write the measurements of 442 patients, and their progression after a year."""
    raw = load_diabetes(scaled=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file)
        lines.writerow([*raw.feature_names, "progression"])
        lines.writerows([*row, value] for row, value in zip(raw.data, raw.target, strict=True))
