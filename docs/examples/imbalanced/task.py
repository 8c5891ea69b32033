"""Binary classification of rare events: accuracy tells little, so other metrics decide."""

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import f1_score, precision_recall_curve

from . import model
from .engine import Dataset, Evaluation, Split, Task
from .engine.tasks import Classification
from .recipes import Config


class Failures(Classification):
    """Failures of machines; the epoch with the best area under the precision-recall curve wins."""

    monitor, mode = "val_pr_auc", "max"

    def build(self) -> keras.Model:
        return model.build(self.config, features=self.example[0].shape[1])

    def metrics(self) -> list[keras.metrics.Metric]:
        return [keras.metrics.AUC(curve="PR", from_logits=True, name="pr_auc")]

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Add F1 of failures, at the threshold with the best F1 on the validation split."""
        evaluation = super().evaluate(model)
        precision, recall, thresholds = precision_recall_curve(
            *self.labels_and_logits(model, self.dataset.validation)
        )
        f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
        threshold = thresholds[f1[:-1].argmax()]
        labels, logits = self.labels_and_logits(model, self.dataset.test)
        evaluation.metrics["f1"] = f1_score(labels, logits >= threshold)
        evaluation.figures["Precision and recall"] = precision_over_recall(
            labels, logits, threshold
        )
        return evaluation

    def labels_and_logits(self, model: keras.Model, split: Split) -> tuple[np.ndarray, ...]:
        """Return labels (n,) and logits (n,) of a split."""
        batches = list(self.predictions(model, split))
        labels = np.concatenate([examples[1] for examples, _ in batches])
        return labels, np.concatenate([logits[:, 0] for _, logits in batches])


def precision_over_recall(labels: np.ndarray, logits: np.ndarray, threshold: float) -> Figure:
    """Return the precision-recall curve, with the chosen threshold and the share of failures."""
    precision, recall, thresholds = precision_recall_curve(labels, logits)
    chosen = np.searchsorted(thresholds, threshold)
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(recall, precision, label="test split")
    axes.plot(recall[chosen], precision[chosen], "o", label="threshold of the validation split")
    axes.axhline(labels.mean(), color="0.6", linestyle="--", label="a guess")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 0.1))
    return figure


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return Failures(config, dataset)
