# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Evaluation: the best model on the test split, which nothing before has looked at."""

import json
import math
import zipfile
from pathlib import Path

import keras

from . import checkpoint, project, runs
from .config import UserError
from .modelling import compiled_model, first_line
from .report import page
from .runtime.files import atomic_write_text
from .signature import NoData
from .task import Task

LOADING_FAILS = (OSError, ValueError, TypeError, AttributeError, ImportError, zipfile.BadZipFile)
"""What Keras raises for a model that it cannot load."""


def evaluate(run_dir: Path) -> dict[str, float]:
    """Measure a finished run again on its test split, write the results, and return the metrics."""
    runs.check_finished(run_dir)
    task = project.make_task(runs.load_config(run_dir))
    if note := runs.check_classes(run_dir, task.dataset):
        print(f"{run_dir}: {note} The results are of the data as it is now.", flush=True)
    # What chose the weights of model.keras, whatever task.py monitors now.
    monitor, mode = runs.monitored(run_dir)
    history = runs.read_history(run_dir, monitor)
    best = history[checkpoint.best_epoch(history, monitor, mode)]
    return write_results(run_dir, load_model(run_dir, task), task, best, note)


def load_model(run_dir: Path, task: Task) -> keras.Model:
    """Return the best model of a finished run, not compiled.

    A model whose layers Keras cannot load is built by the task, with the weights of the best
    checkpoint. UserError if neither is possible.
    """
    runs.check_finished(run_dir)
    path = run_dir / "model.keras"
    try:
        return keras.models.load_model(path, compile=False)
    except LOADING_FAILS as error:
        reason = first_line(error)
    try:
        model = compiled_model(task, steps=1)
        checkpoint.load_weights(run_dir / "checkpoints" / checkpoint.BEST, model)
        return model
    except NoData:
        raise
    except UserError as error:
        if not zipfile.is_zipfile(path):
            raise UserError(
                f"{path} is damaged: train --run-dir {run_dir} writes it again from the checkpoint"
            ) from None
        raise UserError(
            f"{path} is readable, but its model cannot be built here ({reason}): put model.py and "
            f"task.py back as they were for this run ({error})"
        ) from None


def write_results(
    run_dir: Path, model: keras.Model, task: Task, best: dict[str, float], note: str = ""
) -> dict[str, float]:
    """Write metrics.json, plots, report.html and MODEL_CARD.md, and return the metrics.

    `best` is the row of metrics.jsonl whose weights the model has. Report and model card show
    `note`.
    """
    evaluation = task.evaluate(model)
    metrics = {"best_epoch": best["epoch"]}
    metrics |= {name: value for name, value in best.items() if name.startswith("val_")}
    for name, value in evaluation.metrics.items():
        name = name if name.startswith("test_") else f"test_{name}"
        if math.isfinite(value):
            metrics[name] = float(value)
        else:
            print(f"{name} is {value}: left out of the results", flush=True)
    page.write(run_dir, metrics, evaluation, task, note)
    atomic_write_text(run_dir / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics
