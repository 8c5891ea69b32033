# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The plot of a run's training curves, and the colors of all plots."""

import math

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .format import label

BLUE, ORANGE, GREY = "#2563eb", "#d97706", "#6b7280"
MOST_PANELS = 6


def curves(history: list[dict[str, float]], best_epoch: int) -> Figure:
    """Plot the metrics of both splits over the epochs, a panel each, with the best epoch marked.

    `history` has a row per epoch, as in metrics.jsonl. Of its metrics, those of both splits (x and
    val_x) have a panel, the loss first; without any, those of the validation split.
    """
    names = panels(history)
    columns = {1: 1, 2: 2, 4: 2}.get(len(names), 3)
    lines = max(1, math.ceil(len(names) / columns))
    size = (6.5 if len(names) <= 1 else 10, 0.5 + 3.1 * lines)
    figure = Figure(figsize=size, layout="constrained")
    if not names:
        figure.text(0.5, 0.5, "no metric of the validation split", ha="center", color=GREY)
        return figure
    epochs = [row["epoch"] for row in history]
    grid = figure.subplots(lines, columns, squeeze=False).flat
    for axes, name in zip(grid, names, strict=False):
        for key, color, split in ((name, BLUE, "training"), (f"val_{name}", ORANGE, "validation")):
            if any(key in row for row in history):
                values = [value(row.get(key)) for row in history]
                axes.plot(epochs, values, color=color, label=split, marker=".")
        axes.axvline(best_epoch, color=GREY, linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=plain(label(name)))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
    for axes in figure.axes[len(names) :]:
        axes.set_axis_off()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3, frameon=False)
    return figure


def panels(history: list[dict[str, float]]) -> list[str]:
    """Return the names of the metrics that `curves` shows, at most 6, without `val_`."""
    keys = dict.fromkeys(key for row in history for key in row)
    names = [key.removeprefix("val_") for key in keys if key.startswith("val_")]
    both = [name for name in names if name in keys]
    return sorted(both or names, key=lambda name: name != "loss")[:MOST_PANELS]


def value(number: float | None) -> float:
    """Return a number for a plot; one that is missing leaves a gap."""
    return math.nan if number is None else number


def plain(text: str) -> str:
    """Return a text as Matplotlib shows it letter for letter, dollars too."""
    return text.replace("$", r"\$")
