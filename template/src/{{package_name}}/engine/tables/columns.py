# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The columns of a table that a model uses, and how their cells become arrays."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import UserError
from ..pipeline import Dataset

if TYPE_CHECKING:
    import polars as pl

MISSING = ("", "na", "n/a", "nan", "null", "?")
"""Cells without a value, in lower case and without spaces around them."""
EMPTY, UNKNOWN, KNOWN = 0, 1, 2
"""Numbers of categories and words: no value, one that is not in the vocabulary, the first known."""


@dataclass(frozen=True)
class Columns:
    """Columns with what was learned of them from the training split; a run's config.json has it.

    Inputs have a key per column, its name in letters that all frameworks and exports take.
    """

    numeric: dict[str, list[float]]
    """Median and standard deviation by column."""
    categorical: dict[str, list[str]]
    """Categories by column; the first one has the number 2."""
    text: dict[str, list[str]]
    """Words by column; the first one has the number 2."""
    length: int
    """Words of a text that the model reads."""
    target_scale: list[float]
    """Mean and standard deviation of the target; empty if it is a class."""
    encoding: str
    """Encoding of CSV files that are not UTF-8."""

    @classmethod
    def of(cls, dataset: Dataset) -> Columns:
        """Return the columns of a data set; UserError if it is not one of `read_table`."""
        if values := dataset.preprocessing.get("table"):
            return cls(**values)
        raise UserError("data.py: the data set is no table: return read_table(...) from load")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return dataclasses.asdict(self)

    @property
    def names(self) -> list[str]:
        """Names of the input columns, in the order of the model's inputs."""
        return [*self.numeric, *self.categorical, *self.text]

    def encode(self, table: pl.DataFrame, source: str) -> dict[str, np.ndarray]:
        """Return the inputs of a model: an array per column, by its key.

        Numbers are float32 (n, 1) and NaN where they are missing. Categories are int32 (n, 1),
        texts are int32 (n, length): 0 is no value, 1 is any value that is not in the vocabulary.
        UserError, which begins with `source`, if a cell cannot be used.
        """
        found: dict[str, np.ndarray] = {}
        for name in self.numeric:
            found[key_of(name)] = numbers(table, name, source)[:, None].astype("float32")
        for name, known in self.categorical.items():
            number = {value: i for i, value in enumerate(known, start=KNOWN)} | {None: EMPTY}
            codes = [number.get(cell, UNKNOWN) for cell in cells(table, name)]
            found[key_of(name)] = np.array(codes, "int32")[:, None]
        for name, known in self.text.items():
            number = {word: i for i, word in enumerate(known, start=KNOWN)}
            rows = np.zeros((table.height, self.length), "int32")
            for row, text in zip(rows, texts(table, name), strict=True):
                codes = [number.get(word, UNKNOWN) for word in text[: self.length]] or [UNKNOWN]
                row[: len(codes)] = codes
            found[key_of(name)] = rows
        return found


def key_of(name: str) -> str:
    """Return the key of a column: its name, with `_` for what is no letter, digit or `_`.

    A name with letters beyond ASCII, which not all exports take, gets a hash of them at its end.
    """
    key = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    if not name.isascii():
        key += f"_{hashlib.blake2b(name.encode(), digest_size=3).hexdigest()}"
    return key if key[:1].isalpha() else f"column_{key}".rstrip("_")


def cells(table: pl.DataFrame, name: str) -> pl.Series:
    """Return a column as texts without spaces around them, None where a value is missing."""
    import polars as pl

    column = table[name]
    whole = column.dtype.is_float() and (column.drop_nulls() % 1 == 0).all()
    texts = (column.cast(pl.Int64, strict=False) if whole else column).cast(pl.String)
    texts = texts.str.strip_chars()
    return texts.set(texts.str.to_lowercase().is_in(MISSING), None)


def numbers(table: pl.DataFrame, name: str, source: str) -> np.ndarray:
    """Return a column as float64 (n,), NaN where a value is missing.

    UserError if a cell is no number, or is too large for float32.
    """
    import polars as pl

    found = cells(table, name)
    values = found.cast(pl.Float64, strict=False).to_numpy().astype("float64")
    limit = np.finfo("float32").max
    bad = np.flatnonzero(found.is_not_null().to_numpy() & ~(np.abs(values) <= limit))
    if len(bad):
        cell = found[int(bad[0])]
        comma = " with a decimal point" * bool(re.fullmatch(r"[+-]?\d*,\d+", cell))
        others = f" ({len(bad):,} such cells)" * (len(bad) > 1)
        raise UserError(
            f"{source}: row {bad[0] + 1}: {name} is {cell[:40]!r}, which is no number{others}:"
            f" write it{comma or ' as a number, or leave the cell empty'}"
        )
    return values


def texts(table: pl.DataFrame, name: str) -> Iterable[list[str]]:
    """Yield the words of each text of a column, in lower case."""
    for text in cells(table, name):
        yield re.findall(r"\w+", (text or "").lower())


def spread(values: np.ndarray) -> float:
    """Return the standard deviation without missing values; 1 if all values are the same."""
    return float(np.nanstd(values, dtype="float64")) or 1.0


def vocabulary(values: Iterable[str], most: int) -> list[str]:
    """Return the values that occur at least twice, at most `most`, the most frequent ones first."""
    counts = Counter(values).items()
    ranked = sorted(counts, key=lambda item: (-item[1], item[0]))
    return [value for value, count in ranked if count > 1][:most]
