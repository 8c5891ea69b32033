# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Run directories: their names, what a run was made from, and its log. No framework needed."""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from . import project, signature
from .config import Config, UserError
from .pipeline import Dataset
from .runtime.files import atomic_write_text

if TYPE_CHECKING:
    from .task import Task

RUNS = Path("runs")
NO_METRICS = ("epoch", "examples_per_s", "data_wait")  # of a row, besides its metrics
LOGS = "logs"  # in a run directory: what the workers of `launch` printed
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "scikit-learn")


def new_dir(recipe: str) -> Path:
    """Make and return the directory of a new run, runs/<UTC time>-<recipe>.

    Making it at once keeps two trainings of the same second apart.
    """
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{recipe}"
    RUNS.mkdir(parents=True, exist_ok=True)
    for n in itertools.count(1):
        run_dir = RUNS / (stem if n == 1 else f"{stem}-{n}")
        with contextlib.suppress(FileExistsError):
            run_dir.mkdir()
            return run_dir
    raise AssertionError("unreachable")


def discard_if_empty(run_dir: Path) -> None:
    """Remove the directory of a run that never started, and runs/ if nothing else is in it."""
    for folder in (run_dir, RUNS):
        with contextlib.suppress(OSError):  # it is not empty, or not there
            folder.rmdir()


def newest_unfinished(recipe: str) -> Path:
    """Return the newest run of a recipe that has a config.json but no metrics.json.

    It leaves out runs whose config cannot be read any more, and names them on stderr.
    """
    unfinished = []
    for path in RUNS.glob("*/config.json"):
        if path.with_name("metrics.json").exists():
            continue
        try:
            stored = read(path.parent)
            if stored["config"].get("recipe") == recipe:
                load_config(path.parent)
                unfinished.append((stored["started"], path.parent))
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
    if not unfinished:
        raise UserError(f"no unfinished run of {recipe} in {RUNS}/: start one without --resume")
    return max(unfinished)[1]


def config_file(run_dir: Path) -> Path:
    """Return the path of a run's config.json; UserError if there is none."""
    path = run_dir / "config.json"
    if not path.exists():
        raise UserError(f"{run_dir} is not a run directory: it has no config.json")
    return path


def read(run_dir: Path) -> dict:
    """Return what config.json holds; UserError if there is none or it cannot be read."""
    path = config_file(run_dir)
    try:
        values = json.loads(path.read_text("utf-8"))
        dict(values["config"])
        return {"dataset": {}, "started": "", "device": "", **values}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} cannot be read: restore it, or start a new run ({error})"
        ) from None


def load_config(run_dir: Path, kind: type[Config] | None = None) -> Config:
    """Return the config of a run, of the project's class unless another is given.

    UserError if there is none, or if recipes.py does not have its fields and values.
    """
    values = read(run_dir)["config"]
    try:
        return (kind or project.config_class()).from_json(values)
    except (ValueError, TypeError, UserError) as error:
        raise UserError(
            f"{config_file(run_dir)} cannot be read, since recipes.py has changed: put its fields "
            f"back, or start a new run ({error})"
        ) from None


def check_finished(run_dir: Path) -> None:
    """Raise UserError if a run has no model yet."""
    config_file(run_dir)
    if not (run_dir / "model.keras").exists():
        raise UserError(
            f"{run_dir} has no model.keras yet: finish it with train --run-dir {run_dir}"
        )


def read_history(run_dir: Path, monitor: str = "epoch") -> list[dict[str, float]]:
    """Return the rows of metrics.jsonl; UserError if there are none that have `monitor`."""
    path = run_dir / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if not rows or not all(monitor in row for row in rows):
            raise ValueError("no rows")
        return rows
    except (OSError, ValueError, TypeError):
        raise UserError(
            f"{path} cannot be read: train --run-dir {run_dir} writes it again"
        ) from None


def check_run_dir(run_dir: Path) -> None:
    """Raise UserError if there is neither a run in the directory nor room for a new one."""
    if (run_dir / "config.json").exists():
        for folder in (run_dir, run_dir / "checkpoints"):
            if not os.access(folder, os.W_OK):
                raise UserError(f"{folder} cannot be written: check who owns it")
    elif run_dir.exists() and (
        not run_dir.is_dir() or {p.name for p in run_dir.iterdir()} - {LOGS}
    ):
        raise UserError(
            f"{run_dir} exists and is not a run directory: give --run-dir a new or an empty one"
        )


def data_change(run_dir: Path, dataset: Dataset) -> str:
    """Return how the data differs from what the run was started with; "" if it does not."""
    stored, now = read(run_dir)["dataset"], dataset.summary()
    if stored == now:
        return ""
    if stored.get("classes") != now["classes"]:
        return "other classes"
    before = stored.get("examples") or {}
    changes = [
        f"{before[name]:,} {name} examples, now {size:,}"
        for name, size in now["examples"].items()
        if name in before and before[name] != size
    ]
    return "; ".join(changes) or "other files"


def check_data(run_dir: Path, dataset: Dataset) -> None:
    """Raise UserError if the data is not what the run was started with."""
    if change := data_change(run_dir, dataset):
        finished = (run_dir / "model.keras").exists()
        other = "evaluate the run as it is" if finished else "start a new run"
        raise UserError(
            f"the data has changed since {run_dir} was started ({change}): put it back, or {other}"
        )


def check_classes(run_dir: Path, dataset: Dataset) -> str:
    """Return a sentence if the data has changed, "" if not; UserError if it has other classes."""
    change = data_change(run_dir, dataset)
    if change == "other classes":
        raise UserError(
            f"the data has other classes than {run_dir} was started with: put its class folders or"
            " names back"
        )
    return f"The data has changed since the training: {change}." if change else ""


def monitored(run_dir: Path) -> tuple[str, str]:
    """Return the metric that chooses a run's best epoch, and its mode, as stored."""
    task = {"monitor": "val_loss", "mode": "min", **read(run_dir).get("task", {})}
    return task["monitor"], task["mode"]


def open_dir(run_dir: Path, config: Config, task: Task, device: str) -> None:
    """Make the run directory, or check that the run in it is of the same config and data."""
    check_run_dir(run_dir)
    path = run_dir / "config.json"
    if path.exists():
        resume_dir(run_dir, config, task)
        return
    (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    made_from = {
        "config": config.to_json(),
        "task": {"name": type(task).__name__, "monitor": task.monitor, "mode": task.mode},
        "dataset": task.dataset.summary(),
        "example": signature.describe(task.example),
        "reader": signature.describe_reader(task.dataset.read_file),
        **git_state(),
        "versions": versions(),
        "device": device,
        "started": datetime.now(UTC).isoformat(),
    }
    atomic_write_text(path, json.dumps(made_from, indent=2) + "\n")


def resume_dir(run_dir: Path, config: Config, task: Task) -> None:
    """Check that the run in a directory can be resumed; keep the fields that may change."""
    stored = load_config(run_dir, type(config))
    if changed := config.changed_from(stored):
        raise UserError(
            f"{run_dir} was started with {'; '.join(changed)}: resume it with the stored values, "
            "or start a new run"
        )
    check_data(run_dir, task.dataset)
    if (before := monitored(run_dir)) != (task.monitor, task.mode):
        raise UserError(
            f"{run_dir} was started with monitor {before[0]!r} and mode {before[1]!r}, now they "
            f"are {task.monitor!r} and {task.mode!r}: put task.py back, or start a new run"
        )
    if stored.to_json() == config.to_json():
        return
    if stored.epochs != config.epochs:
        print(
            f"epochs {stored.epochs}, now {config.epochs}: the learning-rate schedule ends there",
            flush=True,
        )
    made_from = json.loads(config_file(run_dir).read_text("utf-8"))
    made_from["config"] = config.to_json()
    atomic_write_text(run_dir / "config.json", json.dumps(made_from, indent=2) + "\n")


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide a run."""
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def git_state() -> dict[str, str | bool | None]:
    """Return the commit of this code and whether files differ from it; None if git cannot tell."""

    def git(*args: str) -> str | None:
        try:
            options = {"cwd": Path(__file__).parent, "capture_output": True, "text": True}
            return subprocess.run(("git", *args), check=True, **options).stdout.strip()
        except (OSError, subprocess.CalledProcessError):
            return None

    status = git("status", "--porcelain")
    return {
        "git_commit": git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
    }


def with_prefix(row: dict[str, float], prefix: str) -> dict[str, float]:
    """Return the metrics of a split, without the prefix of their names."""
    return {n.removeprefix(prefix): value for n, value in row.items() if n.startswith(prefix)}


def listed(metrics: dict[str, float]) -> str:
    """Return metrics as text for the console, the loss first."""
    names = sorted(metrics, key=lambda name: name != "loss")
    return ", ".join(f"{name} {metrics[name]:.4f}" for name in names)


class Log:
    """A line per epoch on the screen, in metrics.jsonl and, where it is installed, in TensorBoard.

    It rewrites the files from the history, so that they match the checkpoint.
    """

    def __init__(self, run_dir: Path, history: list[dict[str, float]]) -> None:
        self.lines, self.path = [], run_dir / "metrics.jsonl"
        for old in (run_dir / "tensorboard").glob("events.out.tfevents.*"):  # no callback's
            old.unlink()
        try:
            from tensorboard.summary import Writer

            self.tensorboard = Writer(str(run_dir / "tensorboard"))
        except ImportError:
            self.tensorboard = None
        for row in history:
            self._write(row)

    def _write(self, row: dict[str, float]) -> None:
        self.lines.append(json.dumps(row) + "\n")
        atomic_write_text(self.path, "".join(self.lines))
        if self.tensorboard:
            for name in row.keys() - {"epoch"}:
                self.tensorboard.add_scalar(name, row[name], row["epoch"])

    def add(self, row: dict[str, float], epochs: int) -> None:
        """Add the row of an epoch that is in the checkpoint."""
        self._write(row)
        start = "\r" if sys.stdout.isatty() else ""
        trained = {n: v for n, v in row.items() if not n.startswith("val_") and n not in NO_METRICS}
        text = (
            f"epoch {row['epoch']}/{epochs}: {listed(trained)}; "
            f"validation {listed(with_prefix(row, 'val_'))}; "
            f"{row['examples_per_s']:,.0f} examples/s, {row['data_wait']:.0%} waiting for data"
        )
        print(start + text, flush=True)

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.tensorboard:
            self.tensorboard.close()
