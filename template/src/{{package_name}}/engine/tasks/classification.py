# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Classification: each example belongs to one of several classes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from ..config import UserError
from ..pipeline import Augment
from ..task import Evaluation
from . import class_plots
from .base import ArrayTask, Shape, classification_tag, shape_text
from .class_weights import balanced, check_choice, class_counts, weighing
from .scores import Predictions, class_table, scores


class Classification(ArrayTask):
    """Examples of one of several classes: write `build` in a subclass.

    Targets: class numbers, (n,) or (n, 1) of an integer dtype. Outputs of the model: float logits
    (n, classes), without softmax. With two classes it may also be one logit, (n, 1) or (n,), of
    class 1. `Dataset.class_names` names the classes; without it they are numbered.

    If the config has a field `class_weights` that is "balanced", the training loss weighs each
    class by the inverse of its frequency in the training split. Validation and test are measured
    as they come.
    """

    @property
    def tag(self) -> str:
        """Kind of task on the Hugging Face hub, from the inputs of the data set.

        Images, texts (strings) or tables. Set it in a subclass for other inputs, for example
        `tag = "audio-classification"`.
        """
        return classification_tag(self.example[0])

    def check(self, targets: np.ndarray, output_shape: Shape) -> None:
        """Raise UserError unless targets are class numbers and there is a logit per class."""
        single = targets.ndim == 1 or targets.shape[1:] == (1,)
        if targets.dtype.kind not in "iub" or not single:
            raise UserError(
                "data.py: Classification needs integer class numbers of shape (n,), but the targets"
                f" are {targets.dtype} of shape {shape_text(targets.shape)}: convert them with"
                " astype('int32'), or argmax(axis=-1) if they are one-hot"
            )
        names = self.dataset.class_names
        outputs = 2 if output_shape[1:] in ((), (1,)) else output_shape[-1]
        if len(output_shape) > 2 or (names and outputs not in (None, len(names))):
            needed = f"(n, {len(names)})" if names else "(n, classes)"
            raise UserError(
                f"model.py: the model's output has shape {shape_text(output_shape)}, but"
                f" Classification needs logits of shape {needed}: change its last layer"
            )
        if outputs is not None and not 0 <= targets.min() <= targets.max() < outputs:
            raise UserError(
                f"data.py: the targets have class numbers from {targets.min()} to {targets.max()},"
                f" but the model has {outputs} classes: number them from 0 to {outputs - 1}"
            )

    def change_batch(self) -> Augment | None:
        """Return the data set's augmentation, with class weights if the config asks for them."""
        augment = super().change_batch()
        if check_choice(getattr(self.config, "class_weights", "none")) == "none":
            return augment
        return weighing(self._class_weights, augment)

    @functools.cached_property
    def _class_weights(self) -> np.ndarray:
        """The balanced weight of each class, (classes,) float32."""
        return balanced(class_counts(self.dataset.train, len(self.dataset.class_names)))

    def loss(self) -> Any:
        """Return the cross-entropy of logits, in nats."""
        if len(self.dataset.class_names) > 2:
            return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return LogitCrossentropy()

    def metrics(self) -> list[Any]:
        """Return the accuracy."""
        if len(self.dataset.class_names) > 2:
            return ["accuracy"]
        return [keras.metrics.MeanMetricWrapper(logit_accuracy, name="accuracy")]

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Return the results on the test split: the loss and the metrics of the training, and more.

        These are accuracy, majority_baseline (the accuracy of always answering the most frequent
        class of the test split), balanced_accuracy (mean recall of the classes in the test split),
        macro_f1 (mean F1 of the classes in the test split or the predictions) and auc (area under
        the ROC curve; with more than two classes the mean of each class against the rest). A class
        that is missing in the test split does not count for auc; with one class only, auc is 0.5.
        """
        evaluation = super().evaluate(model)
        test = self.predict_test(model)
        names = self.names(test.probabilities.shape[1])
        evaluation.metrics |= scores(test)
        evaluation.figures["Confusion matrix"] = class_plots.confusion(test.confusion, names)
        if self.has_images:
            evaluation.figures["Worst mistakes"] = self._worst_mistakes(test, names)
        evaluation.figures["Calibration"] = class_plots.calibration(
            test.probabilities.max(axis=1), test.classes == test.labels, test.weights
        )
        evaluation.tables["Classes"] = class_table(test, names)
        return evaluation

    def describe(self, output: np.ndarray) -> dict[str, Any]:
        """Return the most probable class, its probability, and the probability of each class."""
        [shares] = probabilities(np.asarray(output, "float32").reshape(1, -1))
        names = self.names(len(shares))
        return {
            "class": names[shares.argmax()],
            "probability": float(shares.max()),
            "probabilities": dict(zip(names, map(float, shares), strict=True)),
        }

    def predict_test(self, model: keras.Model) -> Predictions:
        """Return labels and probabilities of the test split; examples of weight 0 are left out."""
        parts: list[tuple[np.ndarray, ...]] = []
        for batch in self.test_batches(model):
            labels, weights = batch.targets.reshape(-1).astype("int64"), batch.weights.reshape(-1)
            keep = weights > 0
            of_batch = (batch.indices, labels, probabilities(batch.outputs), weights)
            parts.append(tuple(array[keep] for array in of_batch))
        return Predictions(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))

    def _worst_mistakes(self, test: Predictions, names: Sequence[str], most: int = 12) -> Any:
        """Return a figure of the wrong predictions with the highest loss, read from the split."""
        wrong = np.flatnonzero(test.classes != test.labels)
        wrong = wrong[np.argsort(-test.losses[wrong], kind="stable")][:most]
        if not len(wrong):
            return class_plots.message("no mistakes on the test split")
        images = self.dataset.test.read(test.indices[wrong])[0]
        captions = [
            f"true: {class_plots.text(names[test.labels[i]])}\npredicted: "
            f"{class_plots.text(names[test.classes[i]])} ({test.probabilities[i].max():.0%})"
            for i in wrong
        ]
        return class_plots.gallery(images, captions)


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return probabilities (n, classes) of logits (n, classes), or (n, 2) of (n, 1) or (n,)."""
    if logits.ndim == 1 or logits.shape[1] == 1:
        positive = keras.ops.convert_to_numpy(keras.ops.sigmoid(logits.reshape(-1)))
        return np.stack([1 - positive, positive], axis=1)
    return keras.ops.convert_to_numpy(keras.ops.softmax(logits))


@keras.saving.register_keras_serializable("engine")
class LogitCrossentropy(keras.losses.Loss):
    """Cross-entropy of logits (n, classes), or of one logit (n, 1) or (n,) of class 1."""

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if one_logit(y_pred):
            y_pred = keras.ops.reshape(y_pred, (-1, 1))
            y_true = keras.ops.cast(keras.ops.reshape(y_true, (-1, 1)), y_pred.dtype)
            return keras.losses.binary_crossentropy(y_true, y_pred, from_logits=True)
        return keras.losses.sparse_categorical_crossentropy(y_true, y_pred, from_logits=True)


@keras.saving.register_keras_serializable("engine")
def logit_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Return 1 where the most probable class is the true one, (n,); the shapes as for the loss.

    Keras' "accuracy" compares one logit with 0.5, as if it were a probability.
    """
    if one_logit(y_pred):
        classes = keras.ops.reshape(y_pred, (-1,)) > 0
    else:
        classes = keras.ops.argmax(y_pred, axis=-1)
    truth = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
    right = keras.ops.equal(truth, keras.ops.cast(classes, "int32"))
    return keras.ops.cast(right, "float32")


def one_logit(y_pred: Any) -> bool:
    """Return whether outputs are one logit of class 1, (n, 1) or (n,), and not one per class."""
    return len(y_pred.shape) == 1 or y_pred.shape[-1] == 1
