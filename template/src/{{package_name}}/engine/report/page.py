# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The report of a run: one HTML page that holds its plots and needs no other file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import UserError
from ..runs import read, read_history
from ..runtime.files import atomic_write, atomic_write_text
from .format import label, loss_last, number
from .model_card import model_card
from .plots import curves
from .render import Image, Table, draw, render

if TYPE_CHECKING:
    from ..task import Evaluation, Task

CURVES = "Training curves"


def write(
    run_dir: Path,
    metrics: dict[str, float],
    evaluation: Evaluation,
    task: Task,
    warning: str = "",
) -> None:
    """Write curves.png, a PNG per figure of the evaluation, report.html and MODEL_CARD.md.

    `metrics` is what metrics.json holds: best_epoch, val_* and test_*. Report and model card show
    `warning`. UserError if a figure or a table of the evaluation cannot be shown.
    """
    run, history = read(run_dir), read_history(run_dir)
    tables = [as_table(str(title), rows) for title, rows in evaluation.tables.items()]
    images = {"curves": draw(CURVES, curves(history, int(metrics["best_epoch"])))}
    for title, figure in evaluation.figures.items():
        images[file_name(str(title), images)] = as_image(str(title), figure)
    for name, image in images.items():
        with atomic_write(run_dir / f"{name}.png") as part:
            part.write_bytes(image.png)
    name = run_dir.absolute().name
    data = {"overview": task.dataset.overview, "warning": warning}
    text = page(name, run, metrics, list(images.values()), tables, data)
    atomic_write_text(run_dir / "report.html", text)
    card = model_card(name, run, metrics, images, tables, task, warning)
    atomic_write_text(run_dir / "MODEL_CARD.md", card)


def page(
    name: str,
    run: dict,
    metrics: dict[str, float],
    images: list[Image],
    tables: list[Table],
    data: dict[str, str] | None = None,
) -> str:
    """Return the report as one HTML page; the first image is that of the training curves.

    `data` may hold an `overview` of the data set, and a `warning` that stands above the metrics.
    """
    commit = (run.get("git_commit") or "no commit")[:12] + " + changes" * bool(run.get("git_dirty"))
    made = [run.get("device"), run["config"].get("precision"), commit]
    return render(
        "report.html",
        title=name,
        heading=name,
        note=", ".join(filter(None, made)),
        tiles={label(key): number(metrics[key]) for key in in_order(metrics)},
        curves=images[0],
        figures=images[1:],
        tables=tables,
        data={"overview": "", "warning": ""} | (data or {}),
        made_from=json.dumps(without_preprocessing(run), indent=2, ensure_ascii=False),
    )


def without_preprocessing(run: dict) -> dict:
    """Return what config.json holds without vocabularies: those fill pages, and may be private."""
    dataset = {key: value for key, value in run["dataset"].items() if key != "preprocessing"}
    return run | {"dataset": dataset}


def in_order(metrics: dict[str, float]) -> list[str]:
    """Return the names of metrics: test split, validation split, the rest; losses last in each."""
    test = [name for name in metrics if name.startswith("test_")]
    validation = [name for name in metrics if name.startswith("val_")]
    return list(dict.fromkeys([*loss_last(test), *loss_last(validation), *metrics]))


def file_name(title: str, taken: Iterable[str]) -> str:
    """Return a title as the name of a file that is not taken: lower case, words joined by `-`."""
    stem = "-".join(re.findall(r"\w+", title.lower()))[:50] or "figure"
    taken, name, count = set(taken), stem, 1
    while name in taken:
        count += 1
        name = f"{stem}-{count}"
    return name


def as_image(title: str, figure: Any) -> Image:
    """Return a figure of an evaluation as an image; UserError if it cannot be drawn."""
    try:
        return draw(title, figure)
    except Exception as error:  # Matplotlib raises many kinds, for a $ in a text among others
        reason = f"{type(error).__name__}: {error}"
        raise UserError(
            f"the figure {title!r} of the evaluation cannot be drawn ({reason}): let `evaluate` "
            "in task.py return a matplotlib.figure.Figure that savefig can write, then evaluate "
            "the run again"
        ) from error


def as_table(title: str, rows: Any) -> Table:
    """Return a table of an evaluation, short rows filled up; UserError if it has no rows."""
    if not is_row(rows) or not all(map(is_row, rows)):
        raise UserError(
            f"the table {title!r} of the evaluation is not made of rows: let `evaluate` in task.py "
            "return a list of lists, the first of which has the headings, then evaluate the run "
            "again"
        )
    rows = [list(row) for row in rows]
    width = max(map(len, rows), default=0)
    rows = [row + [""] * (width - len(row)) for row in rows]
    return Table(title, rows[0] if rows else [], rows[1:])


def is_row(value: Any) -> bool:
    """Whether a value has parts, and is no text."""
    return isinstance(value, Sequence | np.ndarray) and not isinstance(value, str)
