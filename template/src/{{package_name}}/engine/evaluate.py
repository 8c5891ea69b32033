# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Evaluation: the best model on the test split, which nothing before has looked at."""

import json
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from .. import data
from . import runs
from .config import UserError
from .pipeline import Batches, Dataset, Split
from .report import page as report
from .runtime.files import write_text


@dataclass(frozen=True)
class Predictions:
    """What a model says of a split of n examples."""

    labels: np.ndarray
    """True classes, (n,) int32."""
    probabilities: np.ndarray
    """Probability of each class, (n, classes) float32."""

    @property
    def classes(self) -> np.ndarray:
        """Most probable classes, (n,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def losses(self) -> np.ndarray:
        """Cross-entropy of each example in nats, (n,)."""
        of_truth = self.probabilities[np.arange(len(self.labels)), self.labels]
        return -np.log(np.clip(of_truth, 1e-7, 1))


def predict(model: keras.Model, split: Split, batch_size: int, workers: int) -> Predictions:
    """Return a model's predictions for a split."""
    labels, probabilities = [], []
    for images, truth in Batches(split, batch_size, workers=workers):
        labels.append(truth)
        logits = model.predict_on_batch(images)
        probabilities.append(keras.ops.convert_to_numpy(keras.ops.softmax(logits)))
    return Predictions(np.concatenate(labels), np.concatenate(probabilities))


def load_model(run_dir: Path) -> keras.Model:
    """Return the best model of a finished run; UserError if there is none that can be read."""
    path = run_dir / "model.keras"
    if not path.exists():
        runs.load_config(run_dir)
        raise UserError(
            f"{run_dir} has no model.keras yet: finish it with train --run-dir {run_dir}"
        )
    try:
        return keras.models.load_model(path, compile=False)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read: delete it and make it anew with train --run-dir {run_dir}"
        ) from error


def evaluate(run_dir: Path) -> dict[str, float]:
    """Measure a finished run again on its test split, write the results, and return the metrics."""
    model, dataset = load_model(run_dir), data.load(runs.load_config(run_dir))
    runs.check_data(run_dir, dataset)
    best = min(runs.read_history(run_dir), key=lambda row: row["val_loss"])
    return write_results(run_dir, model, dataset, best)


def write_results(
    run_dir: Path, model: keras.Model, dataset: Dataset, best: dict[str, float]
) -> dict[str, float]:
    """Write metrics.json, plots, report.html and MODEL_CARD.md, and return the metrics.

    `best` is the row of metrics.jsonl whose weights the model has.
    """
    config = runs.load_config(run_dir)
    test = predict(model, dataset.test, config.batch_size, config.workers)
    metrics = {
        "best_epoch": best["epoch"],
        "val_loss": best["val_loss"],
        "val_accuracy": best["val_accuracy"],
        "test_loss": float(test.losses.mean()),
        "test_accuracy": float((test.classes == test.labels).mean()),
    }
    report.write(run_dir, metrics, dataset, test)
    write_text(run_dir / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics
