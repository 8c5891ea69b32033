# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Figures of regression and forecasting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..report.plots import BLUE, GREY, ORANGE
from .class_plots import plain_frame, text

PANELS = 6
"""Largest number of outputs that a figure of a regression shows."""


def predicted_over_true(
    truth: np.ndarray, outputs: np.ndarray, names: Sequence[str], unit: str
) -> Figure:
    """Draw predictions over true values, both (n, k), one panel for each of at most 6 outputs."""
    figure, panels = _panels(names)
    for i, axes in enumerate(panels):
        axes.plot(truth[:, i], outputs[:, i], ".", color=BLUE, alpha=_alpha(len(truth)), mew=0)
        both = np.concatenate([truth[:, i], outputs[:, i]])
        ends = [both.min(), both.max()]
        axes.plot(ends, ends, "--", color=GREY, label="exact")
        axes.set(xlabel=with_unit("true", unit), ylabel=with_unit("predicted", unit))
        axes.legend(frameon=False, loc="upper left")
    return figure


def residuals(truth: np.ndarray, outputs: np.ndarray, names: Sequence[str], unit: str) -> Figure:
    """Draw histograms of predicted minus true values, both (n, k), of at most 6 outputs."""
    figure, panels = _panels(names)
    for i, axes in enumerate(panels):
        errors = outputs[:, i] - truth[:, i]
        axes.hist(errors, bins=min(40, max(5, round(len(errors) ** 0.5))), color=BLUE, alpha=0.6)
        mean = errors.mean()
        for position, color, style in ((0, GREY, "--"), (mean, ORANGE, "-")):
            axes.axvline(position, color=color, linestyle=style)
        label = with_unit("predicted minus true", unit)
        axes.set(xlabel=f"{label}\nmean (orange line): {mean:.3g}", ylabel="examples")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def _panels(names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Return a figure with a panel for each output, at most 6, three in a row."""
    count = min(PANELS, len(names))
    columns, rows = min(3, count), -(-count // 3)
    width = 5.4 if count == 1 else 3.6 * columns
    figure = Figure(figsize=(width, (4.4 if count == 1 else 3.4) * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[count:]:
        axes.remove()
    for axes, name in zip(panels, names[:count], strict=False):
        plain_frame(axes)
        if len(names) > 1:
            axes.set_title(text(name), fontsize=10)
    if count < len(names):
        figure.supxlabel(f"the first {count} of {len(names)} outputs", color=GREY, fontsize=9)
    return figure, panels[:count]


def _alpha(points: int) -> float:
    return 0.8 if points < 200 else 0.35


def forecasts(
    examples: Sequence[tuple[np.ndarray | None, np.ndarray, np.ndarray]], unit: str, step_name: str
) -> Figure:
    """Draw forecasts against the truth, three in a row.

    Examples are history (window,) or None, truth (horizon,) and forecast (horizon,). Step 0 is
    the last one that the model sees.
    """
    columns, rows = min(3, len(examples)), -(-len(examples) // 3)
    figure = Figure(figsize=(3.7 * columns + 0.4, 2.5 * rows + 0.6), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for axes, (history, truth, forecast) in zip(panels, examples, strict=False):
        steps = np.arange(1, len(truth) + 1)
        marker = "." if len(truth) < 15 else ""
        if history is not None:
            past = history[-max(2 * len(truth), 12) :]
            axes.plot(np.arange(1 - len(past), 1), past, color=GREY, label="input")
        axes.plot(steps, truth, color=BLUE, marker=marker, label="truth")
        axes.plot(steps, forecast, color=ORANGE, marker=marker, linestyle="--", label="forecast")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        plain_frame(axes)
    for axes in figure.axes[len(examples) :]:
        axes.remove()
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, frameon=False, loc="outside upper right", ncols=3)
    figure.supxlabel(f"{step_name} after the input", fontsize=10)
    figure.supylabel(with_unit("value", unit), fontsize=10)
    return figure


def step_errors(
    rows: Sequence[tuple[int, float, float, float | None]], unit: str, step_name: str
) -> Figure:
    """Draw the mean absolute error by step; rows are step, MAE, RMSE, MAE of the last value."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    steps, mae, _, last = zip(*rows, strict=True)
    marker = "." if len(rows) < 50 else ""
    axes.plot(steps, mae, color=BLUE, marker=marker, label="model")
    if last[0] is not None:
        axes.plot(steps, last, color=GREY, marker=marker, linestyle="--", label="last value")
    axes.set(xlabel=step_name, ylabel=with_unit("mean absolute error", unit))
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)
    plain_frame(axes)
    return figure


def with_unit(label: str, unit: str) -> str:
    """Return an axis label with its unit, if there is one."""
    return f"{label} ({text(unit)})" if unit else label
