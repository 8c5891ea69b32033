# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Figures of classification, multi-label classification and segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, PercentFormatter

from ..report.plots import BLUE, GREY, ORANGE

NUMBERED = 30
"""Largest number of classes whose names and counts a figure shows."""


def text(name: str, most: int = 24) -> str:
    """Return a name as Matplotlib shows it letter for letter, shortened in the middle."""
    if len(name) > most:
        name = f"{name[: most - 7]}…{name[-6:]}"
    return name.replace("$", r"\$")


def message(words: str) -> Figure:
    """Return a figure that shows a message only."""
    figure = Figure(figsize=(10, 1.2), layout="constrained")
    figure.text(0.5, 0.5, words, ha="center", va="center", color=GREY)
    return figure


def confusion(counts: np.ndarray, names: Sequence[str]) -> Figure:
    """Draw how often each class was predicted as each other.

    `counts` are numbers of examples by true class (row) and predicted class (column). Colors are
    shares of the true class; above 30 classes the names and counts are left out.
    """
    from sklearn.metrics import ConfusionMatrixDisplay

    n, labels = len(names), [text(name) for name in names]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with_names = n <= NUMBERED
    longest = max(map(len, labels))
    side = min(12.0, 3.2 + 0.36 * n + (0.05 * longest if with_names else 0))
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    display = ConfusionMatrixDisplay(shares, display_labels=labels)
    display.plot(
        include_values=with_names,
        cmap="Blues",
        xticks_rotation="vertical" if with_names and longest > 3 else "horizontal",
        ax=axes,
        colorbar=False,
        im_kw={"vmin": 0, "vmax": 1},
    )
    if with_names:
        assert display.text_ is not None  # `plot` writes them with include_values
        _write_counts(display.text_, counts, shares)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(integer=True))
            axis.set_major_formatter("{x:.0f}")
    bar = figure.colorbar(display.im_, ax=axes, shrink=0.8, format=PercentFormatter(1))
    bar.set_label("share of the true class")
    unit = "" if with_names else " (number)"
    axes.set(xlabel=f"predicted class{unit}", ylabel=f"true class{unit}")
    return figure


def _write_counts(texts: np.ndarray, counts: np.ndarray, shares: np.ndarray) -> None:
    """Replace the shares that the display has written by the numbers of examples."""
    for cell, written in np.ndenumerate(texts):
        written.set(
            text=str(counts[cell]) if counts[cell] else "",
            color="white" if shares[cell] > 0.5 else "black",
            fontsize=8,
        )


def gallery(images: np.ndarray, captions: Sequence[str]) -> Figure:
    """Show images (n, height, width, channels) with captions, six in a row."""
    rows = -(-len(images) // 6)
    figure = Figure(figsize=(10, 2.2 * rows), layout="constrained")
    grid = figure.subplots(rows, 6, squeeze=False).flat
    for axes, image, caption in zip(grid, displayable(images), captions, strict=False):
        axes.imshow(image, cmap="gray", vmin=0, vmax=1)
        axes.set_title(caption, fontsize=8)
    for axes in figure.axes:
        axes.axis("off")
    return figure


def displayable(images: np.ndarray) -> np.ndarray:
    """Return images scaled to 0..1, (n, height, width) of one channel, else with channels.

    uint8 is 0 to 255, floats within 0 to 1 stay; other values are scaled by their range.
    """
    images = images[..., 0] if images.shape[-1] == 1 else images
    if images.dtype == np.uint8:
        return images / 255
    images = images.astype("float64")
    low, high = images.min(), images.max()
    if low >= 0 and high <= 1:
        return images
    return (images - low) / ((high - low) or 1)


def calibration(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> Figure:
    """Draw the accuracy of predictions over their probability, in ten bins, and the bins' sizes.

    All of shape (n,): probability of the predicted class, whether it is the true one, and sample
    weights. The expected calibration error is the mean distance of the two, weighted by examples.
    """
    bins = np.minimum((confidence * 10).astype(int), 9)
    total, sums, hits = (
        np.bincount(bins, values, 10) for values in (weights, weights * confidence, weights * right)
    )
    used = total > 0
    error = np.abs(hits - sums)[used].sum() / total.sum()
    figure = Figure(figsize=(5.6, 5.2), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middles = np.arange(10) / 10 + 0.05
    accuracy = hits[used] / total[used]
    upper.bar(middles[used], accuracy, 0.094, color=BLUE, alpha=0.35, label="accuracy in the bin")
    upper.plot(sums[used] / total[used], accuracy, "o", color=BLUE, label="mean probability")
    upper.plot([0, 1], [0, 1], "--", color=GREY, label="calibrated")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1.02))
    upper.set_title(f"expected calibration error {error:.1%}", fontsize=10)
    upper.legend(frameon=False, loc="upper left")
    lower.bar(middles, total / total.sum(), 0.094, color=GREY)
    lower.set(xlabel="probability of the predicted class", ylabel="share of\nexamples")
    for axis in (upper.xaxis, upper.yaxis, lower.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    for axes in (upper, lower):
        plain_frame(axes)
    return figure


def label_bars(names: Sequence[str], precisions: np.ndarray, shares: np.ndarray) -> Figure:
    """Draw the average precision of each label beside the share of examples that have it.

    A guess reaches that share. Above 30 labels the figure shows the 30 with the lowest precision;
    labels without examples (NaN) are left out.
    """
    known = np.flatnonzero(np.isfinite(precisions))
    if not len(known):
        return message("no label has an example in the test split")
    order = known[np.argsort(precisions[known], kind="stable")][:NUMBERED][::-1]
    figure = Figure(figsize=(8, 1.4 + 0.27 * len(order)), layout="constrained")
    axes, rows = figure.subplots(), np.arange(len(order))
    axes.barh(rows, precisions[order], 0.7, color=BLUE, label="average precision")
    axes.plot(shares[order], rows, "|", color=ORANGE, ms=13, mew=2.5, label="share of examples")
    axes.set_yticks(rows, [text(names[i]) for i in order])
    axes.set(xlim=(0, 1), ylim=(-0.6, len(order) - 0.4))
    some = "" if len(order) == len(known) else f" (the lowest {NUMBERED} of {len(known)} labels)"
    axes.set_xlabel(f"average precision{some}")
    figure.legend(frameon=False, loc="outside upper right", ncols=2)
    plain_frame(axes)
    return figure


def masks(
    examples: Sequence[tuple[np.ndarray | None, np.ndarray, np.ndarray]],
    names: Sequence[str],
    ignore_class: int | None,
) -> Figure:
    """Show image, mask and prediction of examples, one column each, and the classes' colors.

    Images are (height, width, channels of 1, 3 or 4) or None, masks (height, width) integers.
    Ignored pixels are white.
    """
    palette = class_colors(len(names))
    with_images = examples[0][0] is not None
    titles = [*(["image"] if with_images else []), "mask", "prediction"]
    height, width = examples[0][1].shape
    size = (2.3 * len(examples) + 2.2, (2.3 * np.clip(height / width, 0.3, 2) + 0.1) * len(titles))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(titles), len(examples), squeeze=False)
    for column, (image, mask, predicted) in zip(grid.T, examples, strict=True):
        if image is not None:
            column[0].imshow(displayable(image[None])[0], cmap="gray", vmin=0, vmax=1)
        for axes, numbers in zip(column[-2:], (mask, predicted), strict=True):
            axes.imshow(_painted(numbers, palette, ignore_class), interpolation="nearest")
    for axes in grid.flat:
        axes.set(xticks=[], yticks=[])
    for axes, title in zip(grid[:, 0], titles, strict=True):
        axes.set_ylabel(title)
    shown = np.unique([n for _, *both in examples for numbers in both for n in np.unique(numbers)])
    shown = [n for n in shown if n != ignore_class][:20]
    handles = [Patch(color=palette[n], label=text(names[n])) for n in shown]
    if any(ignore_class in mask for _, mask, _ in examples):
        handles.append(Patch(facecolor="white", edgecolor=GREY, label="ignored"))
    figure.legend(handles=handles, frameon=False, loc="outside right upper")
    return figure


def class_colors(count: int) -> np.ndarray:
    """Return a color for each class, (count, 3) of 0 to 1: neighbors differ."""
    if count <= 10:
        return np.array([to_rgb(colormaps["tab10"](i)) for i in range(count)])
    if count <= 20:
        return np.array([to_rgb(colormaps["tab20"](i)) for i in range(count)])
    golden = (np.arange(count) * 0.618034) % 1  # steps of the golden ratio keep neighbors apart
    return colormaps["turbo"](golden)[:, :3]


def _painted(numbers: np.ndarray, palette: np.ndarray, ignore_class: int | None) -> np.ndarray:
    """Return class numbers (height, width) as colors, ignored pixels in white."""
    if ignore_class is None:
        return palette[numbers.astype(int)]
    ignored = numbers == ignore_class
    colors = palette[np.where(ignored, 0, numbers).astype(int)]
    return np.where(ignored[..., None], 1.0, colors)


def plain_frame(axes: Axes) -> None:
    """Remove the upper and the right line of the frame."""
    axes.spines[["top", "right"]].set_visible(False)
