# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The plots of a run (curves, confusion, worst mistakes) and of a GPU check (speeds)."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..pipeline import Dataset

if TYPE_CHECKING:
    from ..evaluate import Predictions

BLUE, ORANGE, GREY = "#2563eb", "#d97706", "#6b7280"


def curves(history: list[dict[str, float]], best_epoch: int) -> Figure:
    """Plot loss and accuracy of both splits over the epochs."""
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    epochs = [row["epoch"] for row in history]
    both = zip(figure.subplots(1, 2), ("loss", "accuracy"), ("nats", "share"), strict=True)
    for axes, name, unit in both:
        axes.plot(epochs, [row[name] for row in history], color=BLUE, label="training", marker=".")
        axes.plot(
            epochs,
            [row[f"val_{name}"] for row in history],
            color=ORANGE,
            label="validation",
            marker=".",
        )
        axes.axvline(best_epoch, color=GREY, linestyle=":", label="best epoch")
        axes.set(xlabel="epoch", ylabel=f"{name} ({unit})")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    return figure


def confusion(test: "Predictions", class_names: tuple[str, ...]) -> Figure:
    """Draw how often each class was taken for each other, as shares of the true class."""
    n, names = len(class_names), plain(class_names)
    counts = np.zeros((n, n), int)
    np.add.at(counts, (test.labels, test.classes), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 3.2 + 0.36 * n)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(drawn, label="share of the true class", shrink=0.8)
    if n <= 30:
        axes.set_xticks(range(n), names, rotation=90 if max(map(len, class_names)) > 3 else 0)
        axes.set_yticks(range(n), names)
        for row, column in np.argwhere(counts):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(
                column, row, counts[row, column], ha="center", va="center", color=color, fontsize=8
            )
    axes.set(xlabel="predicted class", ylabel="true class")
    return figure


def mistakes(test: "Predictions", dataset: Dataset, most: int = 12) -> Figure:
    """Show the wrong predictions with the highest loss."""
    wrong = np.flatnonzero(test.classes != test.labels)
    wrong = wrong[np.argsort(-test.losses[wrong], kind="stable")][:most]
    figure = Figure(figsize=(10, 2.1 * max(1, -(-len(wrong) // 6))), layout="constrained")
    if not len(wrong):
        figure.text(0.5, 0.5, "no mistakes on the test split", ha="center", color=GREY)
        return figure
    images, names = dataset.test.read(wrong)[0], plain(dataset.class_names)
    grid = figure.subplots(-(-len(wrong) // 6), 6, squeeze=False).flat
    for axes, image, i in zip(grid, images, wrong, strict=False):
        axes.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255)
        share = test.probabilities[i].max()
        title = f"{names[test.labels[i]]} taken for {names[test.classes[i]]}\n({share:.0%} sure)"
        axes.set_title(title, fontsize=9)
    for axes in figure.axes:
        axes.axis("off")
    return figure


def speeds(rows: list[dict]) -> Figure:
    """Plot TFLOP/s over size for each operation, device and type (rows of measure.speed)."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    names = list(dict.fromkeys(row["operation"] for row in rows))
    on_gpu = any(not row["device"].startswith("cpu") for row in rows)
    titles = {"matmul": "Products of n x n matrices", "convolution": "Convolution, n to n channels"}
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        lines: dict[tuple[str, str], list[dict]] = {}
        for row in rows:
            if row["operation"] == name:
                lines.setdefault((row["device"], row["dtype"]), []).append(row)
        for (device, dtype), points in lines.items():
            sizes, speed = ([row[key] for row in points] for key in ("size", "tflops"))
            color = GREY if device.startswith("cpu") else BLUE if dtype == "float32" else ORANGE
            style = "-" if dtype == "float32" else "--"
            axes.plot(
                sizes, speed, color=color, linestyle=style, marker=".", label=f"{device}, {dtype}"
            )
        ticks = sorted({row["size"] for row in rows if row["operation"] == name})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, ticks)
        axes.set_yscale("log" if on_gpu else "linear")
        if not on_gpu:
            axes.set_ylim(bottom=0)
        axes.set(title=titles.get(name, name), xlabel="n", ylabel="speed (TFLOP/s)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def plain(names: tuple[str, ...]) -> list[str]:
    """Return names as Matplotlib shows them letter for letter, dollars too."""
    return [name.replace("$", r"\$") for name in names]
