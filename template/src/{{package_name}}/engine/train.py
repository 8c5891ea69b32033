# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Training: `train(config, run_dir)` is the one entry, for people, notebooks, tests, launchers."""

import contextlib
import gc
import json
import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import keras

from .. import data, model
from . import checkpoint, evaluate, runs
from .checkpoint import Progress
from .config import Config, UserError
from .distributed import process_group
from .distributed.cluster import ALONE, Cluster
from .pipeline import Batches, Dataset, epoch_order
from .runtime import devices, files
from .runtime.signals import Interrupted, Watch, stop_on_signal


def train(config: Config, run_dir: Path) -> dict[str, float]:
    """Start the run in `run_dir`, or resume it there, and return its final metrics.

    A resumed run ends with the bits of one that was never interrupted (README, "Resuming").
    Of several processes, all call it alike, and only the first one touches `run_dir`.
    Raises UserError for what the user can put right, Interrupted when a signal stopped it.
    """
    files.raise_open_file_limit()
    keras.utils.set_random_seed(config.seed)
    cluster = process_group.setup()
    if config.deterministic:
        devices.make_deterministic(config.jit_compile)
    device = devices.describe() + (f", {cluster}" if cluster.devices > 1 else "")
    print(f"{config.recipe}: {device}, {config.precision}", flush=True)
    cluster.check(config.batch_size, config.steps_per_execution)
    dataset = cluster.agree(lambda: data.load(config))
    texts = {"config": config.to_json(), "data": dataset.summary()}
    cluster.check_alike({what: json.dumps(values) for what, values in texts.items()})
    with contextlib.ExitStack() as stack:

        def open_dir() -> None:
            runs.open_dir(run_dir, config, dataset, device)
            stack.enter_context(files.locked(run_dir))

        with cluster.scope():
            training = Training.of(config, dataset, cluster)
            cluster.agree(open_dir if cluster.first else lambda: None)
            best = training.run(run_dir, stack.enter_context(stop_on_signal(cluster)))
        metrics = training.write_results(run_dir, best) if cluster.first else {}
        return json.loads(cluster.share(lambda: json.dumps(metrics).encode()))


@dataclass(frozen=True)
class Training:
    """What an epoch is trained with."""

    config: Config
    dataset: Dataset
    steps: int
    """Steps of a whole epoch: a last batch, or a last execution, that is not full is left out."""
    network: keras.Model
    cluster: Cluster

    @classmethod
    def of(cls, config: Config, dataset: Dataset, cluster: Cluster = ALONE) -> "Training":
        """Build the model of a config; UserError if it and the data cannot be used."""
        if config.steps_per_execution > 1 and keras.config.backend() == "torch":
            raise UserError("steps_per_execution does not work on torch: leave it at 1")
        at_once = config.batch_size * config.steps_per_execution
        steps = dataset.train.size // at_once * config.steps_per_execution
        if not steps:
            sizes = "batch_size x steps_per_execution"
            raise UserError(
                f"{dataset.train.size} training examples do not fill {at_once} ({sizes}): lower one"
            )
        network = compiled_model(config, dataset, config.epochs * steps, cluster)
        return cls(config, dataset, steps, network, cluster)

    def run(self, run_dir: Path, stop: threading.Event) -> dict[str, float]:
        """Train to the end, or until `stop` is set, and return the row of the best epoch."""
        config, network, folder = self.config, self.network, run_dir / "checkpoints"
        progress = checkpoint.restore_last(folder, network)
        if progress != Progress():
            print(f"resuming after {progress} of {self.steps}", flush=True)
            if self.cluster.first:
                save_best(folder, network, progress)  # it may have been killed before it could
        first = self.cluster.first
        with runs.Log(run_dir, progress.history) if first else contextlib.nullcontext() as log:
            while not progress.finished(config.epochs, config.patience):
                progress = self.epoch(progress, stop)
                if first:
                    checkpoint.save_last(folder, network, progress)
                    save_best(folder, network, progress)
                if first and progress.step == 0:
                    log.add(progress.history[-1], config.epochs)
                if stop.is_set():
                    raise Interrupted(f"saved after {progress} of {self.steps}")
        return checkpoint.restore(folder / checkpoint.BEST, network).history[-1]

    def write_results(self, run_dir: Path, best: dict[str, float]) -> dict[str, float]:
        """Save the best model and measure it on the test split: in one process, on one device.

        Not in the cluster's scope: in there even making a variable waits for all processes.
        """
        with files.replacing(run_dir / "model.keras") as part:
            self.network.save(part)
        network = self.network if self.cluster.devices == 1 else evaluate.load_model(run_dir)
        return evaluate.write_results(run_dir, network, self.dataset, best)

    def epoch(self, progress: Progress, stop: threading.Event) -> Progress:
        """Train from where `progress` is to the end of its epoch, or until `stop` is set."""
        config, cluster, epoch = self.config, self.cluster, len(progress.history)
        order = epoch_order(self.dataset.train.size, config.seed, epoch)
        order = order[: self.steps * config.batch_size]
        batches = Batches(
            self.dataset.train, config.batch_size, order, progress.step, config.workers, cluster
        )
        title = f"epoch {epoch + 1}/{config.epochs}"
        watch = Watch(title, self.network, progress.step, self.steps, stop, cluster)
        began = time.perf_counter()
        options = {"steps_per_epoch": self.steps - progress.step, "shuffle": False, "verbose": 0}
        with batches.own_errors():
            fitted = self.network.fit(batches.feed(), callbacks=[watch], **options)
        seconds = time.perf_counter() - began
        if watch.done < self.steps:
            gc.collect()  # TensorFlow complains of an unfinished iterator when Python ends
            return Progress(progress.history, watch.done)
        cluster.level(self.network)
        row = {name: values[-1] for name, values in fitted.history.items()}
        sizes = {"batch_size": config.batch_size, "workers": config.workers}
        validation = Batches(self.dataset.validation, **sizes, cluster=cluster)
        options = {"steps": len(validation), "verbose": 0, "return_dict": True}
        with validation.own_errors():
            measured = self.network.evaluate(validation.feed(), **options)
        row |= {f"val_{name}": value for name, value in measured.items()}
        if not all(map(math.isfinite, row.values())):
            remedy = "lower learning_rate or change precision"
            raise UserError(f"the loss is not finite in epoch {epoch + 1}: {remedy}")
        examples = (self.steps - progress.step) * config.batch_size
        row["examples_per_s"] = round(examples / seconds, 1)
        waited = max(map(float, cluster.gather(str(batches.waited))))
        row["data_wait"] = round(waited / seconds, 4)
        return Progress([*progress.history, {"epoch": epoch + 1, **row}])


def save_best(folder: Path, network: keras.Model, progress: Progress) -> None:
    """Save the model as the best one, if that is what its last epoch made it."""
    if progress.step == 0 and progress.best == len(progress.history) - 1:
        checkpoint.save(folder / checkpoint.BEST, network, progress)


def compiled_model(
    config: Config, dataset: Dataset, steps: int, cluster: Cluster = ALONE
) -> keras.Model:
    """Return the config's model, compiled for a number of steps, with all its variables made."""
    batches = Batches(dataset.validation, config.batch_size, workers=1, cluster=cluster)
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
        weighted_metrics=["accuracy"],  # on several devices weights mark what fills a batch
        jit_compile={"auto": "auto", "on": True, "off": False}[config.jit_compile],
        steps_per_execution=config.steps_per_execution,
    )
    network.optimizer.build(network.trainable_variables)
    network.evaluate(batches.feed(), steps=1, verbose=0)  # makes the variables of the metrics
    return network
