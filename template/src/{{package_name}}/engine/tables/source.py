# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Tables in files: a CSV or Parquet file becomes a data set of three splits."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..config import UserError
from ..pipeline import Dataset
from .columns import Columns, cells, key_of, numbers, spread, texts, vocabulary
from .files import read_file

if TYPE_CHECKING:
    import polars as pl

HELD_OUT = 0.15
"""Share of the rows in the test split, and in the validation split."""


def read_table(
    path: Path | str,
    *,
    target: str,
    classes: bool = False,
    numeric: Sequence[str] = (),
    categorical: Sequence[str] = (),
    text: Sequence[str] = (),
    id: str | None = None,
    encoding: str = "utf-8",
    most_known: int = 10_000,
    length: int = 64,
) -> Dataset:
    """Return the rows of a CSV or Parquet file, split 70/15/15.

    Inputs are a dict with an array per column, see `Columns.encode`. The target is a number,
    float32 (n,), or with `classes` a class number, int32 (n,). Other columns are not used.

    A hash of the used cells decides on the split, or of the column `id`: no seed moves a row, and
    rows with the same cells, or the same id, are in the same split. Medians, standard deviations
    and vocabularies are those of the training split; a category or word has to occur twice in it.

    Args:
        path: The file. A CSV has a line of headings and is separated by , ; | or tabs.
        target: Column to predict.
        classes: Whether the target is a class; otherwise it is a number.
        numeric: Columns of numbers, missing ones included.
        categorical: Columns of categories.
        text: Columns of texts.
        id: Column whose equal values stay together, for example a patient.
        encoding: Encoding of a CSV that is not UTF-8.
        most_known: Largest number of categories or words of a column.
        length: Words of a text that the model reads.
    """
    path, inputs = Path(path), [*numeric, *categorical, *text]
    check_names(inputs, target)
    table = read_file(path, [*inputs, target, *([id] if id else [])], encoding)
    read_target = read_classes if classes else read_numbers
    class_names, targets = read_target(path, table, target)
    values = [numbers(table, name, str(path)).tolist() for name in numeric]  # 1.50 is 1.5
    values += [cells(table, name).to_list() for name in (*categorical, *text)]
    values += [cells(table, target).to_list() if classes else targets.tolist()]
    rows = ["\x1f".join(map(str, row)) for row in zip(*values, strict=True)]
    parts = split(path, ids(path, table, id) if id else rows)
    train, of_train = table[parts[0]], targets[parts[0]]
    if classes:
        check_rare(path, target, class_names, of_train)
    columns = Columns(
        numeric={name: median_and_spread(path, table, name, parts[0]) for name in numeric},
        categorical={
            name: known(path, name, (cell for cell in cells(train, name) if cell), most_known)
            for name in categorical
        },
        text={
            name: known(path, name, itertools.chain(*texts(train, name)), most_known)
            for name in text
        },
        length=length,
        target_scale=[] if classes else [float(of_train.mean(dtype="float64")), spread(of_train)],
        encoding=encoding,
    )
    arrays = columns.encode(table, str(path))
    splits = (({k: array[part] for k, array in arrays.items()}, targets[part]) for part in parts)
    return Dataset(
        *splits,
        class_names=class_names,
        digest=hashlib.sha256("\x1e".join([*inputs, target, *rows]).encode()).hexdigest(),
        preprocessing={"table": columns.to_json()},
    )


def check_names(inputs: Sequence[str], target: str) -> None:
    """Raise UserError unless there are inputs, each named once, with keys that differ."""
    if not inputs:
        raise UserError("data.py: read_table needs columns: name numeric, categorical or text ones")
    if target in inputs:
        raise UserError(f"data.py: {target!r} is target and input of read_table: leave out one")
    names: dict[str, str] = {}
    for name in inputs:
        if other := names.get(key_of(name)):
            raise UserError(
                f"data.py: read_table has {other!r} and {name!r} as inputs: name a column once, and"
                " rename one if they differ in spaces or punctuation only"
            )
        names[key_of(name)] = name


def ids(path: Path, table: pl.DataFrame, name: str) -> list[str]:
    """Return the id of each row; UserError if one is missing."""
    found = cells(table, name)
    refuse_missing(path, name, found.is_null().to_numpy())
    return found.to_list()


def split(path: Path, keys: Sequence[str]) -> list[np.ndarray]:
    """Return the rows of the train, validation and test split, chosen by a hash of their keys."""
    digests = (hashlib.blake2b(key.encode(), digest_size=8).digest() for key in keys)
    share = np.fromiter((int.from_bytes(digest) for digest in digests), "float64") / 2**64
    parts = [share >= 2 * HELD_OUT, share < HELD_OUT, (share >= HELD_OUT) & (share < 2 * HELD_OUT)]
    for part, name in zip(parts, ("training", "validation", "test"), strict=True):
        if not part.any():
            raise UserError(
                f"{path}: none of its {len(keys)} rows is in the {name} split: add rows; if many"
                " are the same, give read_table a column that tells them apart as id"
            )
    return [np.flatnonzero(part) for part in parts]


def read_classes(
    path: Path, table: pl.DataFrame, target: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the class names, and the class number of each row, int32 (n,).

    UserError if the class of a row is missing, or if there is only one.
    """
    found = cells(table, target).to_list()
    refuse_missing(path, target, np.array([cell is None for cell in found]))
    names = sorted(set(found))
    if len(names) < 2:
        raise UserError(f"{path}: {target} has only the class {names[0]!r}: add rows of another")
    with contextlib.suppress(ValueError):
        names.sort(key=float)
    number = {name: i for i, name in enumerate(names)}
    return tuple(names), np.array([number[cell] for cell in found], "int32")


def check_rare(path: Path, target: str, names: Sequence[str], train: np.ndarray) -> None:
    """Raise UserError if the training split lacks a class."""
    if rare := [name for i, name in enumerate(names) if i not in train]:
        raise UserError(
            f"{path}: the training split has no row of the class {rare[0]!r}, of {len(names)}"
            f" classes of {target}: add rows of it, or delete it; if {target} is a number, leave"
            " out classes=True"
        )


def read_numbers(
    path: Path, table: pl.DataFrame, target: str
) -> tuple[tuple[str, ...], np.ndarray]:
    """Return no class names, and the target of each row, float32 (n,).

    UserError if a target is missing or no number.
    """
    try:
        targets = numbers(table, target, str(path))
    except UserError as error:
        raise UserError(f"{error}; if it is a class, add classes=True in data.py") from None
    refuse_missing(path, target, np.isnan(targets))
    return (), targets.astype("float32")


def refuse_missing(path: Path, target: str, missing: np.ndarray) -> None:
    """Raise UserError if a column that has to be complete is not."""
    if missing.any():
        raise UserError(
            f"{path}: {target} is missing in {missing.sum():,} of {len(missing):,} rows, first in"
            f" row {missing.argmax() + 1}: fill it in, or delete these rows"
        )


def median_and_spread(path: Path, table: pl.DataFrame, name: str, train: np.ndarray) -> list[float]:
    """Return median and standard deviation of some rows; UserError if they have no number."""
    values = numbers(table, name, str(path))[train]
    if np.isnan(values).all():
        raise UserError(
            f"{path}: {name} is empty in all rows of the training split: leave it out of numeric"
        )
    return [float(np.nanmedian(values)), spread(values)]


def known(path: Path, name: str, values: Iterable[str], most: int) -> list[str]:
    """Return the vocabulary of a column; UserError if it is empty."""
    found = vocabulary(values, most)
    if not found:
        raise UserError(
            f"{path}: no value of {name} occurs twice in the training split (or all are missing):"
            " leave the column out, or list it under numeric or text if it is one"
        )
    return found
