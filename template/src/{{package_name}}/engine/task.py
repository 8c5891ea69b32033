# Managed by gpu-ml-template: copier update merges fixes into this file.
"""What is learned: a task has the network, its loss and metrics, and what a report shows of it.

The engine names no loss, no metric and no class: it asks the task. Subclass `Task`, or one of the
ready-made ones in tasks/, in the project's own task.py.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from .config import Config
from .pipeline import Augment, Batches, Dataset, Examples, Split

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass
class Evaluation:
    """Results on the test split, for console, metrics.json, report and model card."""

    metrics: dict[str, float]
    """By name. The engine puts `test_` before each name that lacks it."""
    figures: dict[str, Figure] = field(default_factory=dict)
    """By title. The report shows them in this order, and each is saved as a PNG."""
    tables: dict[str, list[Sequence[Any]]] = field(default_factory=dict)
    """By title: a row of headings, then rows of texts and numbers."""


class Task:
    """The base class of all tasks: `build` and `loss` are required, the rest has defaults."""

    monitor: str = "val_loss"
    """Metric that chooses the best epoch and stops early: `val_` and the name of a metric."""
    mode: Literal["min", "max"] = "min"
    """Whether a low or a high value of `monitor` is good."""

    config: Any
    """The run's config, of the project's own class."""
    dataset: Dataset

    def __init__(self, config: Config, dataset: Dataset) -> None:
        self.config, self.dataset = config, dataset

    @property
    def tag(self) -> str:
        """Name of this kind of task on the Hugging Face hub, for the model card."""
        return "other"

    def build(self) -> keras.Model:
        """Return a new model, not compiled. `self.example` has shapes and dtypes of the data."""
        raise NotImplementedError

    def loss(self) -> Any:
        """Return a loss as `keras.Model.compile` takes it."""
        raise NotImplementedError

    def metrics(self) -> list[Any]:
        """Return metrics as `keras.Model.compile` takes them: names or objects."""
        return []

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Return the optimizer of a training of `steps` steps.

        The default is AdamW without decay of biases and normalization; its learning rate warms up
        over 5 % of the steps and then follows a cosine.
        """
        config = self.config
        rate, warmup = config.learning_rate, max(1, steps // 20)
        schedule = keras.optimizers.schedules.CosineDecay(
            rate / 10, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
        )
        optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, name="adamw")
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer

    def compile(self, model: keras.Model, steps: int) -> None:
        """Compile the model for a training of `steps` steps.

        Override it for a model with a `train_step` of its own and several optimizers.
        """
        config = self.config
        model.compile(
            optimizer=self.optimizer(steps),
            loss=self.loss(),
            weighted_metrics=self.metrics(),  # on several devices weights mark what fills a batch
            jit_compile={"auto": "auto", "on": True, "off": False}[config.jit_compile],
            steps_per_execution=config.steps_per_execution,
        )

    def callbacks(self, run_dir: Path) -> list[keras.callbacks.Callback]:
        """Return Keras callbacks of a training; they are called as Keras documents them."""
        return []

    def change_batch(self) -> Augment | None:
        """Return what changes a training batch before the model sees it, or None.

        By default this is the data set's augmentation. A function that adds sample weights belongs
        here, too.
        """
        return self.dataset.augment

    def extra_state(self, model: keras.Model) -> list[keras.Variable]:
        """Return variables that decide the training and that neither model nor optimizers hold.

        Checkpoints hold them. Optimizers that are attributes of the model are found without this.
        """
        return []

    def evaluate(self, model: keras.Model) -> Evaluation:
        """Return the results on the test split; by default loss and metrics."""
        if not model.compiled:
            self.compile(model, steps=1)
        batches = self.batches(self.dataset.test)
        with batches.own_errors():
            results = model.evaluate(
                batches.feed(), steps=len(batches), verbose=0, return_dict=True
            )
        return Evaluation(metrics={name: float(value) for name, value in results.items()})

    def load_input(self, path: Path) -> Any:
        """Return one example's input, read from a file, without a batch axis."""
        raise NotImplementedError(f"{type(self).__name__} does not read files: define load_input")

    def describe(self, output: Any) -> dict[str, Any]:
        """Return what people and JSON can read of one example's output."""
        return {"output": keras.tree.map_structure(lambda x: np.asarray(x).tolist(), output)}

    # What subclasses use.

    @functools.cached_property
    def example(self) -> Examples:
        """The first example of the training split, as a batch of one: (inputs, targets)."""
        return self.dataset.train.read(np.array([0]))

    def batches(self, split: Split) -> Batches:
        """Return the batches of a split in its own order."""
        return Batches(split, self.config.batch_size, workers=self.config.workers)

    def predictions(self, model: keras.Model, split: Split) -> Iterator[tuple[Examples, Any]]:
        """Yield each batch of a split with the model's outputs as NumPy arrays; nothing is kept."""
        for examples in self.batches(split):
            outputs = model.predict_on_batch(examples[0])
            yield examples, keras.tree.map_structure(keras.ops.convert_to_numpy, outputs)
