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
from collections.abc import Iterable
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
class Buffer:
    """A buffer of a torch module, which Keras does not know, such as a BatchNorm's statistics."""

    owner: Any
    """The module, which may put another tensor in the buffer's place."""
    name: str

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(getattr(self.owner, self.name).shape)

    @property
    def dtype(self) -> str:
        return keras.backend.standardize_dtype(getattr(self.owner, self.name).dtype)

    def array(self) -> np.ndarray:
        """Return the value."""
        return keras.ops.convert_to_numpy(getattr(self.owner, self.name))

    def assign(self, array: np.ndarray) -> None:
        """Set the value."""
        tensor = getattr(self.owner, self.name)
        tensor.detach().copy_(keras.ops.convert_to_tensor(array))


@dataclass(frozen=True)
class State:
    """Everything that decides how a training continues: what a checkpoint saves and restores."""

    variables: dict[str, keras.Variable]
    """By a name that is the same in each process."""
    buffers: dict[str, Buffer]
    """Those that a torch module keeps in its state_dict."""

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
        arrays |= {name: buffer.array() for name, buffer in self.buffers.items()}
        # NumPy's files have no bfloat16; float32 holds each of its values exactly.
        return {
            name: array.astype("float32") if array.dtype.name == "bfloat16" else array
            for name, array in arrays.items()
        }

    def assign(self, arrays: dict[str, np.ndarray]) -> None:
        """Set all values from arrays of the same names and shapes."""
        for name, value in {**self.variables, **self.buffers}.items():
            value.assign(_fitting(arrays[name], value.dtype))


def _fitting(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return an array in a dtype, or as it is where NumPy may lack it and `assign` converts."""
    return array if dtype == "bfloat16" else array.astype(dtype)


def _named(groups: dict[str, list[keras.Variable]]) -> dict[str, keras.Variable]:
    named: dict[str, keras.Variable] = {}
    for group, members in groups.items():
        for variable in members:
            path = variable.path if group == "model" else _without_owner(variable.path)
            named[_free(f"{group}/{_without_numbers(path)}", named)] = variable
    return named


def _free(name: str, taken: Iterable[str]) -> str:
    """Return a name, with its number among the equal ones that are taken."""
    same = sum(1 for other in taken if other.split("#")[0] == name)
    return f"{name}#{same}" if same else name


def _without_numbers(path: str) -> str:
    """Return a path without the numbers of seed generators and of variables without a name.

    Keras numbers these through a whole process.
    """
    path = re.sub(r"seed_generator_\d+/", "seed_generator/", path)
    return re.sub(r"(?<![a-z])variable_\d+(?!\d)", "variable", path)


def _buffers(model: keras.Model) -> dict[str, Buffer]:
    if keras.config.backend() != "torch":
        return {}
    found: dict[str, Buffer] = {}
    known = set()
    # A model's own named_buffers() lacks the layers of a functional model.
    for layer in model._flatten_layers():
        kept = layer.state_dict()
        for name, _ in layer.named_buffers():
            path, _, last = name.rpartition(".")
            owner = layer.get_submodule(path)
            if name in kept and (id(owner), last) not in known:
                known.add((id(owner), last))
                found[_free(f"buffer/{name}", found)] = Buffer(owner, last)
    return found


def copy_weights(source: keras.Model, target: keras.Model) -> None:
    """Set all weights and buffers of a model to those of another one; ValueError if they differ."""
    target.set_weights(source.get_weights())
    for one, other in zip(_buffers(source).values(), _buffers(target).values(), strict=True):
        other.assign(one.array())


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
    shapes = {name: tuple(v.shape) for name, v in {**state.variables, **state.buffers}.items()}
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
        path = _without_numbers(path if group == "model" else _without_owner(path))
        renamed[_free(f"{group}/{path}", renamed)] = array
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
            meta = json.loads(str(file["__meta__"]))
            names = [name for name in file.files if name.startswith(("model/", "buffer/"))]
            arrays = {name: file[name] for name in names if "seed_generator" not in name}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read ({error}): name a finished run") from None
    if "stopped" not in meta:
        arrays = by_new_names(arrays)
    shapes = {name: tuple(weight.shape) for name, weight in _weights(model).items()}
    fits = {name: array for name, array in arrays.items() if shapes.get(name) == array.shape}
    if not fits:
        raise UserError(f"no weight of {path} fits the model by name and shape")
    return fits


def _weights(model: keras.Model) -> dict[str, Any]:
    """Return variables and buffers of a model by name."""
    return {**_named({"model": model.variables}), **_buffers(model)}


def warm_start(path: Path, model: keras.Model) -> None:
    """Set the weights of a new model that a checkpoint has, and print how many these are."""
    taken, total = _set_weights(path, model)
    print(f"starting with {taken} of {total} weights of {path.parent.parent}", flush=True)


def load_weights(path: Path, model: keras.Model) -> None:
    """Set all weights of a model from a checkpoint; UserError if one is missing."""
    taken, total = _set_weights(path, model)
    if taken != total:
        raise UserError(f"{path} is of another model: {total - taken} weights are missing")


def _set_weights(path: Path, model: keras.Model) -> tuple[int, int]:
    """Set the weights that fit; return how many these are, and how many the model has."""
    wanted, fits = _weights(model), weights_that_fit(path, model)
    for name, array in fits.items():
        wanted[name].assign(_fitting(array, wanted[name].dtype))
    return len(fits), sum("seed_generator" not in name for name in wanted)
