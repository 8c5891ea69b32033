# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Run directories: their names, what a run was made from, and its log."""

import contextlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from .config import Config, UserError
from .pipeline import Dataset
from .runtime.files import write_text

RUNS = Path("runs")
LOGS = "logs"  # in a run directory: what the workers of `launch` printed
PACKAGES = ("keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy", "scikit-learn")


def new_dir(recipe: str) -> Path:
    """Return a path for a new run, runs/<UTC time>-<recipe>."""
    stem = f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{recipe}"
    names = (stem if n == 1 else f"{stem}-{n}" for n in range(1, 1000))
    return next(RUNS / name for name in names if not (RUNS / name).exists())


def newest_unfinished(recipe: str) -> Path:
    """Return the newest run of a recipe that has a config.json but no metrics.json."""
    unfinished = [
        (read(path.parent)["started"], path.parent)
        for path in RUNS.glob("*/config.json")
        if not path.with_name("metrics.json").exists() and load_config(path.parent).recipe == recipe
    ]
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
        Config.from_json(values["config"])
        return {"dataset": {}, "started": "", "device": "", **values}
    except (ValueError, KeyError, TypeError, UserError) as error:
        raise UserError(
            f"{path} cannot be read: restore it, or start a new run ({error})"
        ) from None


def load_config(run_dir: Path) -> Config:
    """Return the config of a run; UserError if there is none or this version cannot read it."""
    return Config.from_json(read(run_dir)["config"])


def read_history(run_dir: Path) -> list[dict[str, float]]:
    """Return the rows of metrics.jsonl; UserError if there are none that can be read."""
    path = run_dir / "metrics.jsonl"
    try:
        rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        if not rows or not all("val_loss" in row for row in rows):
            raise ValueError("no rows")
        return rows
    except (OSError, ValueError, TypeError):
        raise UserError(f"{path} cannot be read: train --run-dir {run_dir} makes it anew") from None


def check_place(run_dir: Path) -> None:
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


def check_data(run_dir: Path, dataset: Dataset) -> None:
    """Raise UserError if the data is not what the run was started with."""
    if read(run_dir)["dataset"] != dataset.summary():
        raise UserError(
            f"the data has changed since {run_dir} was started: put it back, or start a new run"
        )


def open_dir(run_dir: Path, config: Config, dataset: Dataset, device: str) -> None:
    """Make the run directory, or check that the run in it is of the same config and data."""
    check_place(run_dir)
    if (run_dir / "config.json").exists():
        stored = load_config(run_dir).to_json()
        changed = [name for name, value in config.to_json().items() if stored[name] != value]
        if changed:
            raise UserError(
                f"{run_dir} was started with another {', '.join(changed)}: "
                "resume it as it is, or start a new run"
            )
        check_data(run_dir, dataset)
        return
    (run_dir / "checkpoints").mkdir(parents=True, exist_ok=True)
    made_from = {
        "config": config.to_json(),
        "dataset": dataset.summary(),
        **git_state(),
        "versions": versions(),
        "device": device,
        "started": datetime.now(UTC).isoformat(),
    }
    write_text(run_dir / "config.json", json.dumps(made_from, indent=2) + "\n")


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


class Log:
    """A line per epoch on the screen, in metrics.jsonl and, where it is installed, in TensorBoard.

    The files are made anew from the history, so that they hold what the checkpoint holds.
    """

    def __init__(self, run_dir: Path, history: list[dict[str, float]]) -> None:
        self.lines, self.path = [], run_dir / "metrics.jsonl"
        shutil.rmtree(run_dir / "tensorboard", ignore_errors=True)
        try:
            from tensorboard.summary import Writer

            self.tensorboard = Writer(str(run_dir / "tensorboard"))
        except ImportError:
            self.tensorboard = None
        for row in history:
            self._write(row)

    def _write(self, row: dict[str, float]) -> None:
        self.lines.append(json.dumps(row) + "\n")
        write_text(self.path, "".join(self.lines))
        if self.tensorboard:
            for name in row.keys() - {"epoch"}:
                self.tensorboard.add_scalar(name, row[name], row["epoch"])

    def add(self, row: dict[str, float], epochs: int) -> None:
        """Add the row of an epoch that is in the checkpoint."""
        self._write(row)
        start = "\r" if sys.stdout.isatty() else ""
        text = (
            f"epoch {row['epoch']}/{epochs}: "
            f"loss {row['loss']:.4f}, accuracy {row['accuracy']:.4f}; "
            f"validation loss {row['val_loss']:.4f}, accuracy {row['val_accuracy']:.4f}; "
            f"{row['examples_per_s']:,.0f} examples/s, {row['data_wait']:.0%} waiting for data"
        )
        print(start + text, flush=True)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *exception: object) -> None:
        if self.tensorboard:
            self.tensorboard.close()
