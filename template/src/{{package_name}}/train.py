# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Training: `train(config, run_dir)` is the one entry, for people, notebooks, tests, launchers."""

import gc
import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import keras

from . import checkpoint, data, devices, evaluate, files, model, runs
from .checkpoint import Progress
from .config import Config, UserError
from .interrupt import Interrupted, Watch, stop_on_signal
from .pipeline import Batches, Dataset, epoch_order


def train(config: Config, run_dir: Path) -> dict[str, float]:
    """Start the run in `run_dir`, or resume it there, and return its final metrics.

    A resumed run ends with the bits of one that was never interrupted (README, "Resuming").
    Raises UserError for what the user can put right, Interrupted when a signal stopped it.
    """
    files.raise_open_file_limit()
    keras.utils.set_random_seed(config.seed)
    if config.deterministic:
        devices.make_deterministic()
    device = devices.describe()
    print(f"{config.recipe}: {device}, {config.precision}", flush=True)
    training = Training.of(config)
    runs.open_dir(run_dir, config, training.dataset, device)
    with files.locked(run_dir), stop_on_signal() as stop:
        return training.run(run_dir, stop)


@dataclass(frozen=True)
class Training:
    """What an epoch is trained with."""

    config: Config
    dataset: Dataset
    steps: int
    """Steps of a whole epoch: a last batch, or a last execution, that is not full is left out."""
    network: keras.Model

    @classmethod
    def of(cls, config: Config) -> "Training":
        """Load the data and build the model of a config; UserError if the two cannot be used."""
        dataset = data.load(config)
        if config.steps_per_execution > 1 and keras.config.backend() == "torch":
            raise UserError("steps_per_execution does not work on torch: leave it at 1")
        at_once = config.batch_size * config.steps_per_execution
        steps = dataset.train.size // at_once * config.steps_per_execution
        if not steps:
            sizes = "batch_size x steps_per_execution"
            raise UserError(
                f"{dataset.train.size} training examples do not fill {at_once} ({sizes}): lower one"
            )
        return cls(config, dataset, steps, compiled_model(config, dataset, config.epochs * steps))

    def run(self, run_dir: Path, stop: threading.Event) -> dict[str, float]:
        """Train to the end, or until `stop` is set, and return the final metrics."""
        config, network, folder = self.config, self.network, run_dir / "checkpoints"
        progress = checkpoint.restore_last(folder, network)
        if progress != Progress():
            print(f"resuming after {progress} of {self.steps}", flush=True)
            save_best(folder, network, progress)  # it may have been killed before it could
        with runs.Log(run_dir, progress.history) as log:
            while not progress.finished(config.epochs, config.patience):
                progress = self.epoch(progress, stop)
                checkpoint.save_last(folder, network, progress)
                save_best(folder, network, progress)
                if progress.step == 0:
                    log.add(progress.history[-1], config.epochs)
                if stop.is_set():
                    raise Interrupted(f"saved after {progress} of {self.steps}")
        best = checkpoint.restore(folder / checkpoint.BEST, network).history[-1]
        with files.replacing(run_dir / "model.keras") as part:
            network.save(part)
        return evaluate.write_results(run_dir, network, self.dataset, best)

    def epoch(self, progress: Progress, stop: threading.Event) -> Progress:
        """Train from where `progress` is to the end of its epoch, or until `stop` is set."""
        config, epoch = self.config, len(progress.history)
        order = epoch_order(self.dataset.train.size, config.seed, epoch)
        order = order[: self.steps * config.batch_size]
        batches = Batches(
            self.dataset.train, config.batch_size, order, progress.step, config.workers
        )
        watch = Watch(
            f"epoch {epoch + 1}/{config.epochs}", self.network, progress.step, self.steps, stop
        )
        began = time.perf_counter()
        options = {"steps_per_epoch": self.steps - progress.step, "shuffle": False, "verbose": 0}
        with batches.own_errors():
            fitted = self.network.fit(batches.feed(), callbacks=[watch], **options)
        seconds = time.perf_counter() - began
        if watch.done < self.steps:
            gc.collect()  # TensorFlow complains of an unfinished iterator when Python ends
            return Progress(progress.history, watch.done)
        row = {name: values[-1] for name, values in fitted.history.items()}
        validation = Batches(self.dataset.validation, config.batch_size, workers=config.workers)
        options = {"steps": len(validation), "verbose": 0, "return_dict": True}
        with validation.own_errors():
            measured = self.network.evaluate(validation.feed(), **options)
        row |= {f"val_{name}": value for name, value in measured.items()}
        if not all(map(math.isfinite, row.values())):
            remedy = "lower learning_rate or change precision"
            raise UserError(f"the loss is not finite in epoch {epoch + 1}: {remedy}")
        examples = (self.steps - progress.step) * config.batch_size
        row["examples_per_s"] = round(examples / seconds, 1)
        row["data_wait"] = round(batches.waited / seconds, 4)
        return Progress([*progress.history, {"epoch": epoch + 1, **row}])


def save_best(folder: Path, network: keras.Model, progress: Progress) -> None:
    """Save the model as the best one, if that is what its last epoch made it."""
    if progress.step == 0 and progress.best == len(progress.history) - 1:
        checkpoint.save(folder / checkpoint.BEST, network, progress)


def compiled_model(config: Config, dataset: Dataset, steps: int) -> keras.Model:
    """Return the config's model, compiled for a number of steps, with all its variables made."""
    batches = Batches(dataset.validation, config.batch_size, workers=1)
    image_shape = next(iter(batches))[0].shape[1:]
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        network = model.build(config, image_shape, len(dataset.class_names))
    finally:
        keras.config.set_dtype_policy(policy)  # a notebook's other models keep theirs
    rate, warmup = config.learning_rate, max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 10, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, name="adamw")
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        jit_compile={"auto": "auto", "on": True, "off": False}[config.jit_compile],
        steps_per_execution=config.steps_per_execution,
    )
    network.optimizer.build(network.trainable_variables)
    network.evaluate(batches.feed(), steps=1, verbose=0)  # makes the variables of the metrics
    return network
