# Managed by gpu-ml-template: copier update merges fixes into this file.
"""A table of runs: their metrics, and where their configs differ. It imports no framework.

Configs are taken as they are stored, so that runs of older code, and of other tasks, can be
compared with new ones.
"""

import json
import math
import re
import sys
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from . import runs
from .batch_size import training_batch_size
from .config import UserError
from .report.format import loss_last, number

LOWER_IS_BETTER = re.compile(r"(.*_)?(loss|error|mae|mse|rmse|mase)|seconds")
MOST_TEST_METRICS = 3


@dataclass(frozen=True)
class Run:
    """What is known of a run, finished or not."""

    run_dir: str
    started: str
    """UTC time in ISO format; empty if it is not known."""
    state: str
    """`finished` or `unfinished`."""
    epochs: int
    """Number of finished epochs."""
    metrics: dict[str, float]
    """Those of metrics.json, or of the best epoch so far; `seconds`, the time spent on training."""
    task: dict[str, str]
    """name, monitor and mode of its task."""
    config: dict[str, Any]
    commit: str
    """Git commit, with a + if files differed from it."""
    digest: str
    """Of the data."""


def compare(
    run_dirs: tyro.conf.Positional[tuple[Path, ...]] = (),
    metrics: tuple[str, ...] = (),
    sort: str = "started",
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """List runs with their metrics and, below each, the options that are not the same in all.

    Args:
        run_dirs: Directories of runs (all in runs/).
        metrics: Metrics to show (the monitored one and up to three of the test split).
        sort: A metric, the best first; `started`, the newest first; or `seconds`, the shortest.
        as_json: Print all options and metrics of each run as JSON.
    """
    found = []
    for run_dir in run_dirs or [path.parent for path in runs.RUNS.glob("*/config.json")]:
        try:
            found.append(read(run_dir))
        except UserError as error:
            print(f"left out: {error}", file=sys.stderr)
    if run_dirs and not found:
        raise UserError("no run is left to list")
    known = dict.fromkeys(name for run in found for name in run.metrics)
    for name in (*metrics, *([sort] if sort not in ("started", "seconds") else [])):
        if found and name not in known:
            raise UserError(f"no run has the metric {name}: choose from {', '.join(sorted(known))}")
    found.sort(key=lambda run: run.started, reverse=True)
    if sort != "started":
        sign = 1 if lower_is_better(sort, found) else -1
        found.sort(key=lambda run: sign * run.metrics.get(sort, sign * math.inf))
    if as_json:
        print(json.dumps([strict(asdict(run)) for run in found], indent=2, allow_nan=False))
    elif found:
        print(table(found, metrics or shown(found)))
    else:
        print(f"There is no run in {runs.RUNS}/ yet: `nox -s train` makes one.")


def best_run(recipe: str) -> Path:
    """Return the directory of the finished run of a recipe with the best monitored metric.

    Runs that monitor another metric than the newest one are left out. UserError if there is none.
    """
    found = [read(path.parent) for path in runs.RUNS.glob("*/metrics.json")]
    found = [run for run in found if run.config.get("recipe") == recipe]
    if not found:
        raise UserError(f"no finished run of {recipe} in {runs.RUNS}/: nox -s train -- {recipe}")
    newest = max(found, key=lambda run: run.started)
    monitor, sign = newest.task["monitor"], 1 if newest.task["mode"] == "min" else -1
    alike = [run for run in found if monitor in run.metrics]
    return Path(min(alike, key=lambda run: sign * run.metrics[monitor]).run_dir)


def read(run_dir: Path) -> Run:
    """Return what is known of a run; UserError if a file of it cannot be read."""
    path = runs.config_file(run_dir)
    try:
        made_from = json.loads(path.read_text("utf-8"))
        dataset, config = made_from.get("dataset", {}), dict(made_from["config"])
        task = {"name": "", "monitor": "val_loss", "mode": "min", **made_from.get("task", {})}
        commit = str(made_from.get("git_commit"))[:8] + "+" * bool(made_from.get("git_dirty"))
        path = run_dir / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines]
        metrics = best(rows, task["monitor"], task["mode"])
        spent = {}
        if rows and "examples" in dataset and all("examples_per_s" in row for row in rows):
            train = dataset["examples"]["train"]
            executed = config.get("steps_per_execution", 1)
            at_once = training_batch_size(config["batch_size"], train, executed) * executed
            examples = train // at_once * at_once
            spent = {"seconds": sum(examples / row["examples_per_s"] for row in rows)}
        path = run_dir / "metrics.json"
        if finished := path.exists():
            metrics = dict(json.loads(path.read_text("utf-8")))
        metrics = {name: as_number(value) for name, value in metrics.items()}
        return Run(
            run_dir=str(run_dir),
            started=str(made_from.get("started", "")),
            state="finished" if finished else "unfinished",
            epochs=len(rows),
            metrics={name: x for name, x in metrics.items() if math.isfinite(x)} | spent,
            task=task,
            config=config,
            commit=commit,
            digest=str(dataset.get("digest", ""))[:8],
        )
    except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {type(error).__name__}: {error}") from None


def best(rows: list[dict[str, float]], monitor: str, mode: str) -> dict[str, float]:
    """Return the validation metrics of the best epoch so far; {} if there is none."""
    sign = -1 if mode == "max" else 1

    def rank(row: dict[str, float]) -> float:
        value = sign * as_number(row[monitor])
        return math.inf if math.isnan(value) else value

    row = min(rows, key=rank, default={})
    return {name: value for name, value in row.items() if name.startswith("val_")}


def as_number(value: float | None) -> float:
    """Return the value of a metric, NaN for null; ValueError if it is no number."""
    if value is None:
        return math.nan
    return value if isinstance(value, int | float) else float(value)


def strict(value: Any) -> Any:
    """Return a value that JSON's standard allows: null for NaN and infinities."""
    if isinstance(value, dict):
        return {name: strict(part) for name, part in value.items()}
    if isinstance(value, list):
        return [strict(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def lower_is_better(name: str, found: list[Run]) -> bool:
    """Whether the lower value of a metric is the better one: by the runs' tasks, else by name."""
    plain = re.sub("^(val|test)_", "", name)
    for run in found:
        if plain == run.task["monitor"].removeprefix("val_"):
            return run.task["mode"] != "max"
    return bool(LOWER_IS_BETTER.fullmatch(plain))


def shown(found: list[Run]) -> list[str]:
    """Return the metrics to show: those that the tasks monitor, and some of the test split."""
    monitored = dict.fromkeys(run.task["monitor"] for run in found)
    names = dict.fromkeys(name for run in found for name in run.metrics)
    test = loss_last(name for name in names if name.startswith("test_"))
    return [*monitored, *test[:MOST_TEST_METRICS]]


def table(found: list[Run], metrics: list[str] | tuple[str, ...]) -> str:
    """Return the runs as lines of text, each with the options that are not the same in all.

    No line depends on the width of the terminal, so that programs can read it.
    """
    head = ("started", "state", "epochs", "seconds", *metrics, "run")
    rows, differ, lines = [head, *(cells(run, metrics) for run in found)], differences(found), []
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = "<<>>" + ">" * len(metrics) + "<"
    form = "  ".join(f"{{:{side}{size}}}" for side, size in zip(sides, wide, strict=True))
    for n, row in enumerate(rows):
        lines.append(form.format(*row).rstrip())
        if n and differ:
            padded = [column[n - 1].ljust(max(map(len, column))) for column in differ]
            text = textwrap.fill("  ".join(padded), 96, break_long_words=False)
            lines.append(textwrap.indent(text, "    "))
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in "\n".join(lines))


def cells(run: Run, metrics: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Return the texts of a run's line."""
    folder = Path(run.run_dir)
    return (
        run.started[5:16].replace("T", " ") or "-",
        run.state,
        f"{run.epochs}/{run.config.get('epochs', '-')}",
        f"{run.metrics['seconds']:.0f}" if "seconds" in run.metrics else "-",
        *(number(run.metrics[name]) if name in run.metrics else "-" for name in metrics),
        folder.name if folder.parent == runs.RUNS else str(folder),
    )


def differences(found: list[Run]) -> list[tuple[str, ...]]:
    """Return, for each option that is not the same in all runs, `option=value` of each run."""
    options = []
    for run in found:
        source = {"commit": run.commit, "digest": run.digest}
        options.append({"task": run.task["name"] or "-"} | run.config | source)
    names = dict.fromkeys(name for values in options for name in values)
    columns = [tuple(f"{name}={values.get(name, '-')}" for values in options) for name in names]
    return [column for column in columns if len(set(column)) > 1]
