# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Prediction: the best model of a run on new files, with the preprocessing of its task."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import project, runs, signature
from .config import UserError
from .evaluate import load_model
from .runtime.files import atomic_write
from .tables.columns import Columns
from .tables.files import read_file
from .task import Task

TABLE_ROWS = 1024
"""Rows of a table that are predicted as one batch."""


@dataclass(frozen=True)
class Prediction:
    """What a model says of one file, or of one row of a table."""

    file: Path
    result: dict[str, Any]
    """As `describe` of the task returns it, for example class and probability."""
    error: str = ""
    """Why there is no result, if the file cannot be used."""
    row: int | None = None
    """Row of a table, from 1."""


def predict(run_dir: Path | str, files: Sequence[Path | str]) -> Iterator[Prediction]:
    """Yield the predictions of a finished run's best model for files, in their order.

    A folder stands for all files below it. If the run learned from a table, each file is one, with
    a prediction per row. The data set is not needed. UserError if the run is not
    finished; a file that cannot be used has an `error` instead of a result.
    """
    run_dir = Path(run_dir)
    runs.check_finished(run_dir)
    paths = list(expand(map(Path, files)))
    task, model = load(run_dir)
    if "table" in task.dataset.preprocessing:
        for path in paths:
            yield from predict_table(task, model, path)
        return
    size = task.config.batch_size
    for start in range(0, len(paths), size):
        yield from predict_batch(task, model, paths[start : start + size])


def load_run(run_dir: Path | str) -> tuple[Task, keras.Model]:
    """Return the task of a finished run with its data set, and its best model."""
    task = project.make_task(runs.load_config(Path(run_dir)))
    return task, load_model(Path(run_dir), task)


def load(run_dir: Path | str) -> tuple[Task, keras.Model]:
    """Return task and best model of a finished run; the data set is read only if they need it."""
    run_dir = Path(run_dir)
    config = runs.load_config(run_dir)
    try:
        task = project.create_task(config, signature.without_data(runs.read(run_dir)))
        return task, load_model(run_dir, task)
    except signature.NoData:
        task = project.make_task(config)
        return task, load_model(run_dir, task)


def expand(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield files, and all files below folders except hidden ones, sorted."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
            yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


def predict_batch(task: Task, model: keras.Model, paths: Sequence[Path]) -> Iterator[Prediction]:
    """Yield the predictions for some files, computed as one batch."""
    inputs: list[Any] = []
    errors: list[str] = []  # one per path, empty if it was read
    for path in paths:
        try:
            if not path.exists():
                raise UserError(f"{path}: no such file")
            inputs.append(task.load_input(path))
            errors.append("")
        except NotImplementedError as error:
            raise UserError(f"task.py: {error}") from None
        except UserError as error:
            errors.append(str(error))
        except OSError as error:
            errors.append(f"{path}: {error.strerror or error}")
    outputs = outputs_of(model, inputs)
    for path, error in zip(paths, errors, strict=True):
        yield Prediction(path, {} if error else task.describe(next(outputs)), error)


def predict_table(task: Task, model: keras.Model, path: Path) -> Iterator[Prediction]:
    """Yield the prediction for each row of a CSV or Parquet file with the columns of the run."""
    columns = Columns.of(task.dataset)
    try:
        table = read_file(path, columns.names, columns.encoding)
        inputs = columns.encode(table, str(path))
    except UserError as error:
        yield Prediction(path, {}, str(error))
        return
    for start in range(0, table.height, TABLE_ROWS):
        batch = {key: array[start : start + TABLE_ROWS] for key, array in inputs.items()}
        outputs = rows_of(model, batch, len(next(iter(batch.values()))))
        for row, output in enumerate(outputs, start=start + 1):
            yield Prediction(path, task.describe(output), row=row)


def outputs_of(model: keras.Model, inputs: list[Any]) -> Iterator[Any]:
    """Yield the model's output for each input, without batch axis, as NumPy arrays."""
    if not inputs:
        return
    yield from rows_of(
        model, keras.tree.map_structure(lambda *leaves: np.stack(leaves), *inputs), len(inputs)
    )


def rows_of(model: keras.Model, batch: Any, size: int) -> Iterator[Any]:
    """Yield the model's output for each example of a batch, without batch axis."""
    outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, model.predict_on_batch(batch))
    for row in range(size):
        yield keras.tree.map_structure(lambda array, row=row: array[row], outputs)


def as_text(prediction: Prediction) -> str:
    """Return a prediction as a line for people; dicts and lists only if there is nothing else."""
    result = prediction.result
    values = (f"{name} {shown(value)}" for name, value in (scalars(result) or result).items())
    row = f" row {prediction.row}" if prediction.row else ""
    return f"{prediction.file}{row}: {', '.join(values)}"


def scalars(result: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are no dicts and no lists."""
    return {name: value for name, value in result.items() if not isinstance(value, (dict, list))}


def shown(value: Any) -> str:
    """Return a value as text, numbers with four digits."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} {shown(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(shown, value)) + "]"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def print_predictions(run_dir: Path, files: Sequence[Path], as_json: bool) -> int:
    """Print a line per file, and what cannot be used on stderr; return how many failed.

    A file that came from a folder does not count as failed, unless nothing could be used.
    """
    given, failed, done = {Path(file) for file in files}, 0, 0
    for one in predict(run_dir, files):
        if one.error and list(given) == [one.file]:
            raise UserError(one.error)
        if one.error:
            print(f"left out: {one.error}", file=sys.stderr)
            failed += one.file in given
        else:
            done += 1
            line = {"file": str(one.file), **({"row": one.row} if one.row else {}), **one.result}
            print(json.dumps(line) if as_json else as_text(one), flush=True)
    if not done:
        raise UserError("no file could be used, see above" if failed else "there are no files")
    return failed


def write_table(run_dir: Path, file: Path, output: Path) -> int:
    """Write a table with its predictions as a CSV, and return its number of rows.

    Each value of the task's `describe` that is no dict and no list is a column, `predicted_` and
    its name; if it has no others, they are JSON. All other columns stay as they are. UserError, and
    nothing written, if the run did not learn from a table, or if the file cannot be used.
    """
    import polars as pl

    if output.exists() and file.exists() and output.samefile(file):
        raise UserError(f"{output} is the table to predict: give --output another name")
    preprocessing = runs.read(run_dir)["dataset"].get("preprocessing", {})
    if "table" not in preprocessing:
        raise UserError(f"{run_dir} did not learn from a table: leave out --output, use --json")
    columns = Columns(**preprocessing["table"])
    table = read_file(file, columns.names, columns.encoding)
    found = list(predict(run_dir, [file]))
    if errors := [one.error for one in found if one.error]:
        raise UserError(errors[0])
    results = [
        scalars(one.result) or {name: json.dumps(value) for name, value in one.result.items()}
        for one in found
    ]
    added = pl.DataFrame(results, infer_schema_length=None)
    added = added.rename({name: f"predicted_{name}" for name in added.columns})
    try:
        with atomic_write(output) as part, part.open("wb") as csv:
            table.with_columns(added).write_csv(csv)
    except pl.exceptions.PolarsError as error:
        raise UserError(f"{file} cannot be written as CSV ({error}): use --json") from None
    return table.height
