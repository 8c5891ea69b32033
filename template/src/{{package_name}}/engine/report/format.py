# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Names and values of metrics as people read them, the same in every page, plot and table."""

import math
import numbers
from collections.abc import Iterable
from typing import Any


def number(value: Any) -> str:
    """Return a number with 4 significant digits, an integer with all of them, a text as it is."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return str(value)
    if isinstance(value, numbers.Integral):
        return f"{int(value):,}"
    value = float(value)
    size = abs(float(f"{value:.4g}"))
    if size == 0 or not math.isfinite(size):
        return f"{abs(value) if size == 0 else value:g}"
    if 1e-4 <= size < 1e4:
        return f"{value:#.4g}".rstrip(".")
    return f"{value:,.0f}" if 1e4 <= size < 1e9 else f"{value:.3e}"


def label(name: str) -> str:
    """Return the name of a metric in words: `val_loss` is "validation loss"."""
    if name.startswith("val_"):
        name = f"validation_{name.removeprefix('val_')}"
    return name.replace("_", " ")


def loss_last(names: Iterable[str]) -> list[str]:
    """Return names of metrics in their order, those of losses at the end."""
    return sorted(names, key=lambda name: name.endswith("loss"))
