# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The model card of a run, in the layout of the Hugging Face hub."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ..batch_size import training_batch_size
from .format import label, loss_last
from .render import Image, Table, render

if TYPE_CHECKING:
    from ..task import Task

MOST_ROWS = 50


def model_card(
    name: str,
    run: dict,
    metrics: dict[str, float],
    images: dict[str, Image],
    tables: list[Table],
    task: Task,
    warning: str = "",
) -> str:
    """Return a model card in Hugging Face's layout, with sections to complete by hand.

    `images` are those of the report, by the names of their files in the run directory.
    """
    splits = [
        {key.removeprefix(start): value for key, value in metrics.items() if key.startswith(start)}
        for start in ("val_", "test_")
    ]
    validation, test = splits
    finite = [metric for metric in loss_last(test) if math.isfinite(test[metric])]
    results = {metric: float(f"{test[metric]:.4g}") for metric in finite}
    config, examples = run["config"], run["dataset"].get("examples", {})
    batch_size = config["batch_size"]
    if "train" in examples:
        executed = config.get("steps_per_execution", 1)
        batch_size = training_batch_size(batch_size, examples["train"], executed)
    return render(
        "model_card.md",
        name=name,
        path=f"runs/{name}",
        package=__name__.partition(".")[0],
        config=config,
        batch_size=batch_size,
        examples=examples,
        device=run.get("device") or "an unknown device",
        git_commit=run.get("git_commit") or "none",
        tag=task.tag,
        task=type(task).__name__,
        results=results,
        metrics=loss_last(dict.fromkeys([*test, *validation])),
        validation=validation,
        test=test,
        chosen_by=label(task.monitor),
        extreme={"min": "lowest", "max": "highest"}[task.mode],
        images=images,
        tables=tables,
        most_rows=MOST_ROWS,
        warning=warning,
    )
