# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Checkpoints that resume exactly: all variables, random state and history in one atomic file.

Keras' BackupAndRestore is neither atomic nor exact: it loses dropout's state and the data order.
"""

import contextlib
import errno
import io
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np

from .config import UserError
from .distributed import process_group
from .distributed.cluster import Cluster
from .runtime import devices
from .runtime.files import replacing

LAST, PREVIOUS, BEST = "last.npz", "previous.npz", "best.npz"


@dataclass
class Progress:
    """How far a run has come; best epoch and early stopping follow from it, so they resume."""

    history: list[dict[str, float]] = field(default_factory=list)
    """A row per finished epoch, as in metrics.jsonl."""
    step: int = 0
    """Steps done of the epoch that follows the history."""

    def __str__(self) -> str:
        return f"epoch {len(self.history)}, step {self.step}"

    @property
    def best(self) -> int:
        """Index of the epoch with the lowest validation loss, the first of equals."""
        return min(range(len(self.history)), key=lambda i: self.history[i]["val_loss"])

    def finished(self, epochs: int, patience: int) -> bool:
        """Whether all epochs are done, or none of the last `patience` was better than the best."""
        done = len(self.history)
        return done >= epochs or bool(done and patience and done - 1 - self.best >= patience)


def variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return every variable of a compiled model under a name that is the same in each process."""
    groups = {
        "model": model.variables,
        "optimizer": model.optimizer.variables,
        "metric": model.metrics_variables,
    }
    named: dict[str, keras.Variable] = {}
    for group, members in groups.items():
        for variable in members:
            # Keras numbers seed generators through a whole process: count them per model instead.
            name = re.sub(r"seed_generator(_\d+)?/", "seed_generator/", f"{group}/{variable.path}")
            same = sum(1 for other in named if other.split("#")[0] == name)
            named[f"{name}#{same}" if same else name] = variable
    return named


def save(path: Path, model: keras.Model, progress: Progress) -> None:
    """Write a checkpoint; on failure the file that was there stays."""
    arrays = {name: devices.to_numpy(v) for name, v in variables(model).items()}
    arrays |= devices.random_state()
    meta = {"backend": keras.config.backend(), "history": progress.history, "step": progress.step}
    cluster = process_group.setup()
    meta |= {"devices": cluster.devices, "processes": cluster.processes}
    with replacing(path) as part, part.open("wb") as file:
        np.savez(file, __meta__=np.array(json.dumps(meta)), **arrays)


def save_last(folder: Path, model: keras.Model, progress: Progress) -> None:
    """Write the newest checkpoint and keep the one before it."""
    save(folder / ".next.npz", model, progress)
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder / LAST, folder / PREVIOUS)
    os.replace(folder / ".next.npz", folder / LAST)


def restore(path: Path, model: keras.Model) -> Progress:
    """Put a checkpoint into a compiled model of the same architecture and return its progress.

    Of several processes the first one reads it for all: no other needs to see the file.
    """
    cluster = process_group.setup()
    try:
        one = cluster.processes == 1
        with np.load(path if one else io.BytesIO(cluster.share(lambda: content(path)))) as file:
            arrays = dict(file)
        meta = json.loads(str(arrays.pop("__meta__")))
    except Exception as error:  # a damaged zip file raises many kinds
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise
        raise DamagedCheckpoint(f"{path} is damaged or missing: start a new run") from error
    refuse_other_devices(path, meta, cluster)
    random_state = {name: arrays.pop(name) for name in list(arrays) if name.startswith("torch/")}
    wanted = variables(model)
    shapes = {name: tuple(v.shape) for name, v in wanted.items()}
    found = {name: array.shape for name, array in arrays.items()}
    differing = sorted({name for name, _ in shapes.items() ^ found.items()})
    if differing:
        raise UserError(
            f"{path} is of another model ({len(differing)} variables differ: {differing[0]}, …): "
            "use a new run directory, and give every layer in model.py a name"
        )
    for name, variable in wanted.items():
        variable.assign(arrays[name].astype(variable.dtype))
    if meta["backend"] != keras.config.backend():
        print(
            f"{path} was written by {meta['backend']}: the continuation is not bit-exact",
            flush=True,
        )
    else:
        devices.set_random_state(random_state)
    return Progress(meta["history"], meta["step"])


def content(path: Path) -> bytes:
    """Return the bytes of a file; none if it is not there."""
    return path.read_bytes() if path.exists() else b""


def refuse_other_devices(path: Path, meta: dict, cluster: Cluster) -> None:
    """Raise UserError if going on here cannot be exact because sums have another order here.

    The sum of two is the same in any order. Another backend is not exact anyhow, and says so.
    """
    devices, processes = meta.get("devices", 1), meta.get("processes", 1)
    here = cluster.devices, cluster.processes
    exact = (devices, processes) == here or devices == cluster.devices == 2
    if meta["backend"] == keras.config.backend() and not exact:
        one = " (CUDA_VISIBLE_DEVICES=0 leaves one GPU)" if devices == 1 else ""
        raise UserError(
            f"{path} was trained on {devices} device(s) in {processes} process(es), here are "
            f"{here[0]} in {here[1]}, which would not give the same bits: start it as before{one}, "
            "or a new run"
        )


class DamagedCheckpoint(UserError):
    """A checkpoint that cannot be read."""


def restore_last(folder: Path, model: keras.Model) -> Progress:
    """Put the newest readable checkpoint of a run into the model; with none, start afresh."""
    damaged = []
    names = [name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for name in process_group.setup().share(lambda: " ".join(names).encode()).decode().split():
        path = folder / name
        try:
            return restore(path, model)
        except DamagedCheckpoint as error:
            print(f"{path} is damaged: trying the one before it", flush=True)
            damaged.append(str(error))
    if damaged:
        raise DamagedCheckpoint(f"{damaged[0]}, for no earlier one can be read")
    return Progress()
