# Managed by gpu-ml-template: copier update merges fixes into this file.
"""A table of runs: their metrics, and where their configs differ. It imports no framework.

Configs are taken as they are stored, so that runs of older code can be compared with new ones.
"""

import json
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Literal

import tyro

from . import runs
from .config import UserError

Sort = Literal["started", "val_loss", "val_accuracy", "test_loss", "test_accuracy", "seconds"]
RESULTS = ("val_loss", "val_accuracy", "test_accuracy")
COLUMNS = ("started", "state", "epochs", "seconds", "val_loss", "val_acc", "test_acc", "run")


def compare(
    run_dirs: tyro.conf.Positional[tuple[Path, ...]] = (),
    sort: Sort = "started",
    as_json: Annotated[bool, tyro.conf.arg(name="json")] = False,
) -> None:
    """List runs with their metrics and, below each, the options that are not the same in all.

    Args:
        run_dirs: Directories of runs (all in runs/).
        sort: What is best comes first: new, accurate, low loss, short training.
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
    found.sort(key=lambda run: run["started"], reverse=True)
    if sort != "started":
        sign = -1 if sort.endswith("accuracy") else 1
        found.sort(key=lambda run: sign * run["metrics"].get(sort, sign * float("inf")))
    if as_json:
        print(json.dumps(found, indent=2))
    elif found:
        print(table(found))
    else:
        print(f"There is no run in {runs.RUNS}/ yet: `nox -s train` makes one.")


def read(run_dir: Path) -> dict:
    """Return what is known of a run, finished or not; UserError if a file of it cannot be read."""
    path = runs.config_file(run_dir)
    try:
        made_from = json.loads(path.read_text("utf-8"))
        dataset, config = made_from.get("dataset", {}), dict(made_from["config"])
        commit = str(made_from.get("git_commit"))[:8] + "+" * bool(made_from.get("git_dirty"))
        path = run_dir / "metrics.jsonl"
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        rows = [json.loads(line) for line in lines]
        metrics = min(rows, key=lambda row: row["val_loss"], default={})  # the best so far
        spent = {}
        if rows and "examples" in dataset and all("examples_per_s" in row for row in rows):
            at_once = config["batch_size"] * config.get("steps_per_execution", 1)
            examples = dataset["examples"]["train"] // at_once * at_once
            spent = {"seconds": sum(examples / row["examples_per_s"] for row in rows)}
        path = run_dir / "metrics.json"
        if finished := path.exists():
            metrics = json.loads(path.read_text("utf-8"))
        metrics = {name: float(metrics[name]) for name in Sort.__args__ if name in metrics} | spent
        return {
            "run_dir": str(run_dir),
            "started": str(made_from.get("started", "")),
            "state": "finished" if finished else "unfinished",
            "epochs": len(rows),
            "metrics": metrics,
            "config": config,
            "commit": commit,  # with a + if files differed from it
            "digest": str(dataset.get("digest", ""))[:8],
        }
    except (OSError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {type(error).__name__}: {error}") from None


def table(found: list[dict]) -> str:
    """Return the runs as lines of text, each with the options that are not the same in all."""
    rows, differ, lines = [COLUMNS, *map(cells, found)], differences(found), []
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    form = "  ".join(f"{{:{side}{size}}}" for side, size in zip("<<>>>>><", wide, strict=True))
    for n, row in enumerate(rows):
        lines.append(form.format(*row).rstrip())
        if n and differ:
            padded = [column[n - 1].ljust(max(map(len, column))) for column in differ]
            text = textwrap.fill("  ".join(padded), 96, break_long_words=False)
            lines.append(textwrap.indent(text, "    "))
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in "\n".join(lines))


def cells(run: dict) -> tuple[str, ...]:
    """Return the texts of a run's line."""
    metrics, folder = run["metrics"], Path(run["run_dir"])
    return (
        run["started"][5:16].replace("T", " ") or "-",
        run["state"],
        f"{run['epochs']}/{run['config'].get('epochs', '-')}",
        f"{metrics['seconds']:.0f}" if "seconds" in metrics else "-",
        *(f"{metrics[name]:.4f}" if name in metrics else "-" for name in RESULTS),
        folder.name if folder.parent == runs.RUNS else str(folder),
    )


def differences(found: list[dict]) -> list[tuple[str, ...]]:
    """Return, for each option that is not the same in all runs, `option=value` of each run."""
    options = [run["config"] | {key: run[key] for key in ("commit", "digest")} for run in found]
    names = dict.fromkeys(name for values in options for name in values)
    columns = [tuple(f"{name}={values.get(name, '-')}" for values in options) for name in names]
    return [column for column in columns if len(set(column)) > 1]
