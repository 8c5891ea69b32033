"""Made hourly demand for electricity: a day's and a week's rhythm, a season, and weather."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from .engine import Dataset, Examples, Split
from .recipes import Config


def load(config: Config) -> Dataset:
    """Return windows of a year: the first 70 % to learn from, then 15 % each to choose and test.

    Inputs are (n, config.window), targets (n, config.horizon), both float32 in MW.
    """
    series = demand(hours=365 * 24)
    parts = np.split(series, (int(0.7 * len(series)), int(0.85 * len(series))))
    return Dataset(*(windows(part, config) for part in parts))


def windows(series: np.ndarray, config: Config) -> Split:
    """Return a split of all windows of a series; only those of a batch are ever copied."""
    view = sliding_window_view(series, config.window + config.horizon)

    def read(indices: np.ndarray) -> Examples:
        chosen = view[indices]
        return chosen[:, : config.window], chosen[:, config.window :]

    return Split(len(view), read)


def demand(hours: int) -> np.ndarray:
    """Return the demand of each hour in MW, (hours,) float32."""
    hour, random = np.arange(hours), np.random.default_rng(0)
    day = np.sin(2 * np.pi * (hour % 24 - 9) / 24) + 0.4 * np.sin(4 * np.pi * (hour % 24 - 7) / 24)
    weekend, year = hour // 24 % 7 > 4, np.cos(2 * np.pi * hour / hours)
    weather = np.zeros(hours)
    for i in range(1, hours):  # what is left of the hour before, and something new
        weather[i] = 0.97 * weather[i - 1] + random.normal(0, 1)
    return (60 + 12 * day - 8 * weekend + 6 * year + weather).astype("float32")
