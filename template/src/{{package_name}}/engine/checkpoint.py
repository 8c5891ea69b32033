# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Checkpoints that resume exactly: all variables, random state and history in one atomic file.

Keras' BackupAndRestore is neither atomic nor exact: it loses dropout's state and the data order.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from .config import Config, UserError
from .distributed import process_group
from .distributed.cluster import Cluster
from .modelling import optimizers
from .runtime import devices
from .runtime.files import atomic_write
from .task import Task

LAST, PREVIOUS, BEST = "last.npz", "previous.npz", "best.npz"


@dataclass
class Progress:
    """How far a run has come; best epoch and early stopping follow from it, so they resume."""

    history: list[dict[str, float]] = field(default_factory=list)
    """A row per finished epoch, as in metrics.jsonl."""
    step: int = 0
    """Steps done of the epoch that follows the history."""
    stopped: bool = False
    """Whether a callback has ended the training."""

    def __str__(self) -> str:
        return f"epoch {len(self.history)}, step {self.step}"

    def best(self, task: Task) -> int:
        """Return the index of the epoch with the best monitored metric, the first of equals."""
        return best_epoch(self.history, task.monitor, task.mode)

    def finished(self, task: Task, config: Config) -> bool:
        """Return whether all epochs are done, or the last `patience` ones were no better."""
        done = len(self.history)
        if done >= config.epochs or self.stopped:
            return True
        return bool(done and config.patience and done - 1 - self.best(task) >= config.patience)


def best_epoch(history: list[dict[str, float]], monitor: str, mode: str) -> int:
    """Return the index of the row with the best value of `monitor`, the first of equals."""
    sign = 1 if mode == "min" else -1
    return min(range(len(history)), key=lambda i: sign * history[i][monitor])


@dataclass(frozen=True)
class State:
    """Everything that decides how a training continues: what a checkpoint saves and restores."""

    variables: dict[str, keras.Variable]
    """By a name that is the same in each process."""
    buffers: dict[str, Any]
    """torch's buffers, which Keras does not know, such as the statistics of a torch BatchNorm."""

    @classmethod
    def of(cls, model: keras.Model, task: Task) -> State:
        """Return the state of a compiled model: its variables and those of all optimizers."""
        groups = {"model": model.variables}
        if model.optimizer is not None:
            groups["optimizer"] = model.optimizer.variables
        groups["metric"] = model.metrics_variables
        groups |= {name: one.variables for name, one in optimizers(model).items()}
        groups["extra"] = task.extra_state(model)
        return cls(_named(groups), _buffers(model))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all values as NumPy arrays by name."""
        arrays = {name: devices.to_numpy(variable) for name, variable in self.variables.items()}
        return arrays | {name: b.detach().cpu().numpy() for name, b in self.buffers.items()}

    def assign(self, arrays: dict[str, np.ndarray]) -> None:
        """Set all values from arrays of the same names and shapes."""
        for name, variable in self.variables.items():
            variable.assign(arrays[name].astype(variable.dtype))
        for name, buffer in self.buffers.items():
            buffer.copy_(buffer.new_tensor(arrays[name]))


def _named(groups: dict[str, list[keras.Variable]]) -> dict[str, keras.Variable]:
    named: dict[str, keras.Variable] = {}
    for group, members in groups.items():
        for variable in members:
            # Keras numbers seed generators, optimizers and metrics without a name through a whole
            # process: leave these names out, and count here.
            path = variable.path if group == "model" else _without_owner(variable.path)
            name = re.sub(r"seed_generator(_\d+)?/", "seed_generator/", f"{group}/{path}")
            same = sum(1 for other in named if other.split("#")[0] == name)
            named[f"{name}#{same}" if same else name] = variable
    return named


def _buffers(model: keras.Model) -> dict[str, Any]:
    if keras.config.backend() != "torch":
        return {}
    return {f"buffer/{name}": buffer for name, buffer in model.named_buffers()}


def save(path: Path, state: State, progress: Progress) -> None:
    """Write a checkpoint; on failure the file that was there stays."""
    arrays = state.arrays() | devices.random_state()
    meta = {
        "backend": keras.config.backend(),
        "history": progress.history,
        "step": progress.step,
        "stopped": progress.stopped,
    }
    cluster = process_group.setup()
    meta |= {"devices": cluster.devices, "processes": cluster.world_size}
    with atomic_write(path) as part, part.open("wb") as file:
        np.savez(file, allow_pickle=False, __meta__=np.array(json.dumps(meta)), **arrays)


def save_last(folder: Path, state: State, progress: Progress) -> None:
    """Write the newest checkpoint and keep the one before it."""
    save(folder / ".next.npz", state, progress)
    with contextlib.suppress(FileNotFoundError):
        os.replace(folder / LAST, folder / PREVIOUS)
    os.replace(folder / ".next.npz", folder / LAST)


def restore(path: Path, state: State) -> Progress:
    """Put a checkpoint into the state of a model of the same architecture; return its progress.

    Of several processes the first one reads it for all: no other needs to see the file.
    """
    cluster = process_group.setup()
    try:
        one = cluster.world_size == 1
        with np.load(path if one else io.BytesIO(cluster.broadcast(lambda: content(path)))) as file:
            arrays = dict(file)
        meta = json.loads(str(arrays.pop("__meta__")))
    except Exception as error:  # a damaged zip file raises many kinds
        if isinstance(error, OSError) and error.errno not in (None, errno.ENOENT):
            raise
        raise DamagedCheckpoint(f"{path} is damaged or missing: start a new run") from error
    refuse_other_devices(path, meta, cluster)
    random_state = {name: arrays.pop(name) for name in list(arrays) if name.startswith("torch/")}
    if "stopped" not in meta:
        arrays = by_new_names(arrays)
    shapes = {name: tuple(v.shape) for name, v in (state.variables | state.buffers).items()}
    found = {name: array.shape for name, array in arrays.items()}
    differing = sorted({name for name, _ in shapes.items() ^ found.items()})
    if differing:
        raise UserError(
            f"{path} is of another model ({len(differing)} variables differ: {differing[0]}, …): "
            "use a new run directory, and give every layer in model.py a name"
        )
    state.assign(arrays)
    if meta["backend"] != keras.config.backend():
        print(
            f"{path} was written by {meta['backend']}: the continuation is not bit-exact",
            flush=True,
        )
    else:
        devices.set_random_state(random_state)
    return Progress(meta["history"], meta["step"], meta.get("stopped", False))


def by_new_names(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint from before version 0.9.0 by the names of this one."""
    renamed: dict[str, np.ndarray] = {}
    for old, array in arrays.items():
        group, _, path = old.split("#")[0].partition("/")
        name = f"{group}/{path if group == 'model' else _without_owner(path)}"
        same = sum(1 for other in renamed if other.split("#")[0] == name)
        renamed[old if group == "model" else f"{name}#{same}" if same else name] = array
    return renamed


def _without_owner(path: str) -> str:
    """Return a variable's path without the name of its optimizer or metric."""
    owner, _, rest = path.partition("/")
    return rest or owner


def content(path: Path) -> bytes:
    """Return the bytes of a file; none if it is not there."""
    return path.read_bytes() if path.exists() else b""


def refuse_other_devices(path: Path, meta: dict, cluster: Cluster) -> None:
    """Raise UserError if going on here cannot be exact because sums have another order here.

    The sum of two is the same in any order. Another backend is not exact anyhow, and says so.
    """
    devices, processes = meta.get("devices", 1), meta.get("processes", 1)
    here = cluster.devices, cluster.world_size
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


def restore_last(folder: Path, state: State) -> Progress:
    """Restore the newest readable checkpoint of a run; with none, return an empty progress."""
    damaged = []
    names = [name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    for name in process_group.setup().broadcast(lambda: " ".join(names).encode()).decode().split():
        path = folder / name
        try:
            return restore(path, state)
        except DamagedCheckpoint as error:
            print(f"{path} is damaged: trying the one before it", flush=True)
            damaged.append(str(error))
    if damaged:
        raise DamagedCheckpoint(f"{damaged[0]}, for no earlier one can be read")
    return Progress()


def weights_that_fit(path: Path, model: keras.Model) -> dict[str, np.ndarray]:
    """Return the weights of a checkpoint that a model has under the same names and shapes.

    UserError if the checkpoint cannot be read, or if none fits.
    """
    try:
        with np.load(path) as file:
            names = [name for name in file.files if name.startswith("model/")]
            arrays = {name: file[name] for name in names if "seed_generator" not in name}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = f"init_from: {path} cannot be read ({error})"
        raise UserError(f"{reason}: name a finished run") from None
    shapes = {n: tuple(v.shape) for n, v in _named({"model": model.variables}).items()}
    fits = {name: array for name, array in arrays.items() if shapes.get(name) == array.shape}
    if not fits:
        raise UserError(f"init_from: no weight of {path} fits the model by name and shape")
    return fits


def warm_start(path: Path, model: keras.Model) -> None:
    """Set the weights of a new model that a checkpoint has, and print how many these are."""
    wanted, fits = _named({"model": model.variables}), weights_that_fit(path, model)
    for name, array in fits.items():
        wanted[name].assign(array.astype(wanted[name].dtype))
    total = sum("seed_generator" not in name for name in wanted)
    print(f"starting with {len(fits)} of {total} weights of {path.parent.parent}", flush=True)
