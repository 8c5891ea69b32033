# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Shared by the ready-made tasks: checks of shapes, predictions of the test split, input files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ..config import UserError
from ..images import read_images
from ..task import Task

Shape = tuple[int | None, ...]
CHECKED = 32
"""Number of training examples whose targets are checked before a training."""


@dataclass(frozen=True)
class Batch:
    """A batch of the test split with the model's outputs."""

    indices: np.ndarray
    """Indices in the split, (n,)."""
    inputs: Any
    """Inputs as the data set gives them: an array or a pytree of arrays."""
    targets: np.ndarray
    """Targets as the data set gives them, (n, ...)."""
    outputs: np.ndarray
    """Outputs of the model, (n, ...) float32."""
    weights: np.ndarray
    """Sample weights, (n,) or (n, ...) float64; 1 where the data set has none."""


class ArrayTask(Task):
    """A task whose targets are one array and whose model has one output."""

    def check(self, targets: np.ndarray, output_shape: Shape) -> None:
        """Raise UserError if the targets or the shape of the model's output do not fit the task.

        It is called before the training with the targets of a few examples, and with each batch
        of the evaluation. Override it if your `loss` takes other shapes.
        """

    def compile(self, model: keras.Model, steps: int) -> None:
        """Check targets and output shape where the model tells it, then compile the model."""
        shape = getattr(model, "output_shape", None)
        if isinstance(shape, tuple) and not any(isinstance(size, tuple) for size in shape):
            train = self.dataset.train
            targets = train.read(sample(train.size, CHECKED))[1]
            self.check(self._one_array(targets), shape)
        super().compile(model, steps)

    def test_batches(self, model: keras.Model) -> Iterator[Batch]:
        """Yield the batches of the test split with the model's outputs; nothing is kept.

        Raises UserError if an output is not finite or has a shape that the task cannot use.
        """
        start = 0
        for (inputs, targets, *weights), outputs in self.predictions(model, self.dataset.test):
            outputs, targets = self._one_array(outputs), self._one_array(targets)
            self.check(targets, outputs.shape)
            outputs = outputs.astype("float32")
            if not np.isfinite(outputs).all():
                raise UserError(
                    "the model's outputs for the test split are not finite: lower learning_rate or"
                    " change precision"
                )
            n = len(targets)
            weight = np.asarray(weights[0] if weights else np.ones(n), "float64")
            yield Batch(np.arange(start, start + n), inputs, targets, outputs, weight)
            start += n

    def names(self, count: int) -> tuple[str, ...]:
        """Return the names of `count` classes: their numbers, if the data set has no names."""
        return tuple(self.dataset.class_names) or tuple(map(str, range(count)))

    @property
    def has_images(self) -> bool:
        """Whether the input is one array of images, (n, height, width, channels of 1, 3 or 4)."""
        return is_images(self.example[0])

    def load_input(self, path: Path) -> np.ndarray:
        """Return an example's input from a .npy, .txt or image file, without batch axis.

        A text is the whole file, in UTF-8, if the inputs are strings. Images become what the data
        set has: square, uint8, 1 or 3 channels. For other inputs define `load_input` in task.py.
        Raises UserError if the file cannot be used.
        """
        example = self.example[0]
        if not isinstance(example, np.ndarray):
            return super().load_input(path)
        if example.shape[1:] in ((), (1,)) and example.dtype.kind in "OSUT":
            return _load_text(path, example)
        if self.dataset.read_file and Path(path).suffix != ".npy":
            return self.dataset.read_file(Path(path))
        if Path(path).suffix == ".npy":
            return _load_array(path, example)
        _, height, width, channels = example.shape if example.ndim == 4 else (0,) * 4
        if example.dtype != np.uint8 or height != width or channels not in (1, 3):
            raise UserError(
                f"{path}: {type(self).__name__} reads only .npy files here: save an example with"
                " numpy.save, or define load_input in task.py"
            )
        image = read_images([(Path(path), 0)], np.array([0]), size=height)[0][0]
        if channels == 3:
            return image
        luma = image @ np.array([0.299, 0.587, 0.114])  # as Pillow converts RGB to grey
        return np.rint(luma).astype("uint8")[..., None]

    def _one_array(self, values: Any) -> np.ndarray:
        if isinstance(values, (dict, list, tuple)):
            name = type(self).__name__
            raise UserError(
                f"task.py: {name} needs one array of targets and a model with one output, but found"
                f" a {type(values).__name__}: override loss, metrics and evaluate, or use Task"
            )
        return np.asarray(values)


def classification_tag(inputs: Any) -> str:
    """Return the kind of classification on the Hugging Face hub: of images, texts or tables."""
    if is_images(inputs):
        return "image-classification"
    is_text = isinstance(inputs, np.ndarray) and inputs.dtype.kind in "USTO"
    return "text-classification" if is_text else "tabular-classification"


def is_images(inputs: Any) -> bool:
    """Return whether inputs are one array (n, height, width, channels of 1, 3 or 4)."""
    return isinstance(inputs, np.ndarray) and inputs.ndim == 4 and inputs.shape[-1] in (1, 3, 4)


def sample(size: int, most: int) -> np.ndarray:
    """Return the sorted indices of at most `most` of `size` examples, always the same ones."""
    if size <= most:
        return np.arange(size)
    return np.sort(np.random.default_rng(0).choice(size, most, replace=False))


def shape_text(shape: Shape) -> str:
    """Return a batch's shape as text, for example (n, 10)."""
    sizes = ", ".join("any" if size is None else str(size) for size in shape[1:])
    return f"(n, {sizes})" if sizes else "(n,)"


def _load_text(path: Path, example: np.ndarray) -> np.ndarray:
    """Return the text of a file, of the shape and kind of an example's strings."""
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as text in UTF-8: {error}") from error
    dtype = "O" if example.dtype.kind == "O" else None  # a fixed width would cut the text
    return np.full(example.shape[1:], text, dtype)


def _load_array(path: Path, example: np.ndarray) -> np.ndarray:
    """Return the array of a .npy file; UserError unless it has the shape of one example."""
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} cannot be read as a NumPy array: {error}") from error
    if array.shape != example.shape[1:]:
        raise UserError(
            f"{path} has shape {array.shape}, but an example has {example.shape[1:]}: save one"
            " example without a batch axis"
        )
    return array.astype(example.dtype)
