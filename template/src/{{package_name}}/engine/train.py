# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Training: `train(config, run_dir)` is the one entry, for people, notebooks, tests, launchers."""

import contextlib
import gc
import json
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pickle import PicklingError

import keras

from . import checkpoint, evaluate, project, runs
from .batch_size import training_batch_size
from .callbacks import UserCallbacks
from .checkpoint import Progress, State
from .config import Config, UserError
from .distributed import process_group
from .distributed.cluster import SINGLE_PROCESS, Cluster
from .modelling import compiled_model, first_line
from .pipeline import Batches, epoch_order
from .runtime import devices, files
from .runtime.signals import Interrupted, StepCallback, stop_on_signal
from .task import Task


def train(
    config: Config, run_dir: Path, make_task: Callable[[Config], Task] = project.make_task
) -> dict[str, float]:
    """Start the run in `run_dir`, or resume it there, and return its final metrics.

    A resumed run produces the same bits as one that was never interrupted (README, "Resuming").
    All processes call it alike, and only rank 0 writes to `run_dir`. `make_task` reads the data.
    Raises UserError for what the user can correct, Interrupted when a signal stopped it.
    """
    files.raise_open_file_limit()
    keras.utils.set_random_seed(config.seed)
    cluster = process_group.setup()
    if config.deterministic:
        devices.make_deterministic(config.jit_compile)
    device = devices.describe() + (f", {cluster}" if cluster.devices > 1 else "")
    print(f"{config.recipe}: {device}, {config.precision}", flush=True)
    cluster.check(config.batch_size, config.steps_per_execution)
    task = cluster.raise_together(lambda: make_task(config))
    texts = {"config": config.to_json(), "data": task.dataset.summary()}
    cluster.check_equal({what: json.dumps(values) for what, values in texts.items()})
    if task.dataset.overview:
        print(task.dataset.overview, flush=True)
    with contextlib.ExitStack() as stack:

        def open_dir() -> None:
            if config.init_from and not (run_dir / "config.json").exists():
                path = config.init_from / "checkpoints" / checkpoint.BEST
                try:
                    checkpoint.weights_that_fit(path, trainer.model)  # before anything is written
                except UserError as error:
                    raise UserError(f"init_from: {error}") from None
            runs.open_dir(run_dir, config, task, device)
            stack.enter_context(files.lock_directory(run_dir))

        with cluster.scope():
            trainer = Trainer.of(task, cluster)
            cluster.raise_together(open_dir if cluster.is_main else lambda: None)
            best = trainer.run(run_dir, stack.enter_context(stop_on_signal(cluster)))
        metrics = trainer.write_results(run_dir, best) if cluster.is_main else {}
        return json.loads(cluster.broadcast(lambda: json.dumps(metrics).encode()))


@dataclass(frozen=True)
class Trainer:
    """What an epoch is trained with."""

    task: Task
    batch_size: int
    """Examples of a training step: fewer than in the config if the training split is smaller."""
    steps: int
    """Steps of a whole epoch: a last batch, or a last execution, that is not full is left out."""
    model: keras.Model
    state: State
    cluster: Cluster

    @classmethod
    def of(cls, task: Task, cluster: Cluster = SINGLE_PROCESS) -> "Trainer":
        """Build the model of a task; UserError if it and the data do not fit."""
        config, size = task.config, task.dataset.train.size
        if config.steps_per_execution > 1 and keras.config.backend() == "torch":
            raise UserError("steps_per_execution does not work on torch: leave it at 1")
        executed = config.steps_per_execution
        batch_size = training_batch_size(config.batch_size, size, executed, cluster.devices)
        if batch_size < config.batch_size:
            print(
                f"{size:,} training examples do not fill {config.batch_size * executed:,}: training"
                f" with batches of {batch_size:,}, not {config.batch_size:,}",
                flush=True,
            )
        steps = size // (batch_size * executed) * executed
        model = compiled_model(task, config.epochs * steps, cluster)
        return cls(task, batch_size, steps, model, State.of(model, task), cluster)

    def run(self, run_dir: Path, stop: threading.Event) -> dict[str, float]:
        """Train to the end, or until `stop` is set, and return the row of the best epoch."""
        task, config, cluster = self.task, self.task.config, self.cluster
        folder, first = run_dir / "checkpoints", cluster.is_main
        progress = checkpoint.restore_last(folder, self.state)
        if progress.history or progress.step:
            print(f"resuming after {progress} of {self.steps}", flush=True)
            if first:
                self.save_best(folder, progress)  # it may have been killed before it could
        elif config.init_from:
            checkpoint.warm_start(config.init_from / "checkpoints" / checkpoint.BEST, self.model)
        if progress.finished(task, config):
            if first:
                with runs.Log(run_dir, progress.history):
                    pass  # it may have been killed before it could write the last row
            return checkpoint.restore(folder / checkpoint.BEST, self.state).history[-1]
        if first:
            for name in ("metrics.json", "model.keras"):  # of fewer epochs than now
                (run_dir / name).unlink(missing_ok=True)
        callbacks = UserCallbacks(task.callbacks(run_dir), self.model, config.epochs, self.steps)
        callbacks.on_train_begin()
        with runs.Log(run_dir, progress.history) if first else contextlib.nullcontext() as log:
            while not progress.finished(task, config):
                progress = self.epoch(progress, stop, callbacks)
                if first:
                    checkpoint.save_last(folder, self.state, progress)
                    self.save_best(folder, progress)
                if log and progress.step == 0:
                    log.add(progress.history[-1], config.epochs)
                if stop.is_set():
                    raise Interrupted(f"saved after {progress} of {self.steps}")
        callbacks.on_train_end(progress.history[-1])
        return checkpoint.restore(folder / checkpoint.BEST, self.state).history[-1]

    def save_best(self, folder: Path, progress: Progress) -> None:
        """Save the model as the best one, if its last epoch was the best so far."""
        if progress.step == 0 and progress.best(self.task) == len(progress.history) - 1:
            checkpoint.save(folder / checkpoint.BEST, self.state, progress)

    def write_results(self, run_dir: Path, best: dict[str, float]) -> dict[str, float]:
        """Save the best model and measure it on the test split: in one process, on one device.

        Not in the cluster's scope: in there even making a variable waits for all processes.
        """
        try:
            with files.atomic_write(run_dir / "model.keras") as part:
                self.model.save(part)
        except (NotImplementedError, AttributeError, TypeError, PicklingError) as error:
            raise UserError(
                f"model.py: the model cannot be saved ({first_line(error)}): correct it, then run "
                f"train --run-dir {run_dir} again, which continues from the checkpoint"
            ) from error
        alone = self.cluster.devices == 1
        model = self.model if alone else evaluate.load_model(run_dir, self.task)
        return evaluate.write_results(run_dir, model, self.task, best)

    def epoch(
        self, progress: Progress, stop: threading.Event, callbacks: UserCallbacks
    ) -> Progress:
        """Train from where `progress` is to the end of its epoch, or until `stop` is set."""
        config, dataset, cluster = self.task.config, self.task.dataset, self.cluster
        epoch = len(progress.history)
        order = epoch_order(dataset.train.size, config.seed, epoch)
        batches = Batches(
            dataset.train,
            self.batch_size,
            order=order[: self.steps * self.batch_size],
            start=progress.step,
            workers=config.workers,
            cluster=cluster,
            augment=self.task.change_batch(),
            seed=(config.seed, epoch),
        )
        title = f"epoch {epoch + 1}/{config.epochs}"
        watch = StepCallback(title, self.model, progress.step, self.steps, stop, cluster)
        callbacks.on_epoch_begin(epoch)
        began = time.perf_counter()
        with batches.own_errors():
            fitted = self.model.fit(
                batches.feed(),
                callbacks=[watch, *callbacks.of_batches],
                steps_per_epoch=self.steps - progress.step,
                shuffle=False,
                verbose=0,
            )
        seconds = time.perf_counter() - began
        if watch.done < self.steps and stop.is_set():
            gc.collect()  # TensorFlow complains of an unfinished iterator when Python ends
            return Progress(progress.history, watch.done)
        stopped = self.model.stop_training and not stop.is_set()  # by a callback, in a batch
        cluster.sync_moving_averages(self.model)
        row = {name: float(values[-1]) for name, values in fitted.history.items()}
        row |= self.validate(callbacks)
        refuse_nan(row, epoch + 1)
        self.model.stop_training = False  # a signal may have set it
        callbacks.on_epoch_end(epoch, row)
        stopped |= self.model.stop_training
        examples = (self.steps - progress.step) * self.batch_size
        waited = max(map(float, cluster.all_gather(str(batches.waited))))
        row["examples_per_s"] = round(examples / seconds, 1)
        row["data_wait"] = round(waited / seconds, 4)
        return Progress([*progress.history, {"epoch": epoch + 1, **row}], stopped=stopped)

    def validate(self, callbacks: UserCallbacks) -> dict[str, float]:
        """Return loss and metrics on the validation split, by names that begin with val_."""
        config = self.task.config
        batches = Batches(
            self.task.dataset.validation,
            config.batch_size,
            workers=config.workers,
            cluster=self.cluster,
        )
        with batches.own_errors():
            measured = self.model.evaluate(
                batches.feed(),
                callbacks=callbacks.of_batches,
                steps=len(batches),
                verbose=0,
                return_dict=True,
            )
        return {f"val_{name}": float(value) for name, value in measured.items()}


def refuse_nan(row: dict[str, float], epoch: int) -> None:
    """Raise UserError if a metric of an epoch is not finite."""
    wrong = [name for name, value in row.items() if not math.isfinite(value)]
    if not wrong:
        return
    if any(name.endswith("loss") for name in wrong):
        raise UserError(
            f"the loss is not finite in epoch {epoch}: lower learning_rate or change precision"
        )
    raise UserError(
        f"task.py: the metric {wrong[0]} is {row[wrong[0]]} in epoch {epoch}: define it for this"
        " data, or remove it from metrics()"
    )
