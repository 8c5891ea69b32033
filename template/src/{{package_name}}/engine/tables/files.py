# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Files of tables: what can be wrong with one is a sentence."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import UserError

if TYPE_CHECKING:
    import polars as pl

DELIMITERS = ",;\t|"


def read_file(path: Path, wanted: Sequence[str], encoding: str) -> pl.DataFrame:
    """Return all columns of a CSV, as texts, or of a Parquet file.

    UserError if the file cannot be read, has no rows, or lacks a wanted column.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file: check the path")
    if path.suffix.lower() in (".xls", ".xlsx", ".ods"):
        raise UserError(f"{path} is a spreadsheet: save it as CSV (UTF-8)")
    is_parquet = path.suffix.lower() in (".parquet", ".pq")
    table = _read_parquet(path) if is_parquet else _read_csv(path, wanted, encoding)
    if missing := [name for name in wanted if name not in table.columns]:
        raise UserError(_no_columns(path, missing, table.columns))
    if not table.height:
        raise UserError(f"{path} has no rows: add some below the headings")
    return table


def _no_columns(path: Path, missing: Sequence[str], found: Sequence[str]) -> str:
    """Return a sentence for columns that a table lacks."""
    known = ", ".join(map(repr, found[:20])) + ", ..." * (len(found) > 20)
    names = ", ".join(map(repr, dict.fromkeys(missing)))
    remedy = "" if len(found) > 1 else "; separate columns by , ; | or tabs"
    return f"{path} has no column {names}, only {known}: add or rename columns{remedy}"


def _read_parquet(path: Path) -> pl.DataFrame:
    import polars as pl

    try:
        return pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is no readable Parquet file ({reason}): write it again") from None


def _read_csv(path: Path, wanted: Sequence[str], encoding: str) -> pl.DataFrame:
    import polars as pl

    text = _decode(path, encoding)
    if not text.strip():
        raise UserError(f"{path} is empty: it needs a line of headings and rows")
    delimiter = find_delimiter(text, wanted)
    headings = _check_lines(path, text, delimiter)
    twice = [name for name, count in Counter(headings).items() if count > 1 and name in wanted]
    if twice:
        raise UserError(f"{path} has several columns {twice[0]!r}: rename or delete all but one")
    try:
        # All as text: guessing types would make "007" a 7, and a 1 a 1.0 next to an empty cell.
        data = io.BytesIO(text.encode())
        table = pl.read_csv(data, separator=delimiter, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as CSV ({reason}): check its quotes") from None
    table = table.rename(lambda name: name.strip() if name.strip() in wanted else name)
    if table.width > 1:  # blank lines
        table = table.filter(~pl.all_horizontal(pl.all().is_null()))
    return table


def _decode(path: Path, encoding: str) -> str:
    """Return the text of a file in UTF-8 or another encoding, without a byte order mark."""
    data = path.read_bytes()
    # A file in another encoding is hardly ever valid UTF-8, while cp1252 decodes UTF-8 to nonsense.
    with contextlib.suppress(UnicodeDecodeError):
        return data.decode("utf-8").removeprefix("\ufeff")
    try:
        return data.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise UserError(
            f"data.py: Python knows no encoding {encoding!r}: use 'utf-8' or 'cp1252'"
        ) from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: line {line} is not encoded in {encoding}: save the file as UTF-8, or give"
            " read_table its encoding, for example encoding='cp1252'"
        ) from None


def find_delimiter(text: str, wanted: Sequence[str]) -> str:
    """Return the delimiter that finds most of the wanted headings, or else most headings."""

    def headings(delimiter: str) -> tuple[int, int]:
        found = _headings(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        return len({*wanted} & {*found}), len(found)

    return max(DELIMITERS, key=headings)


def _headings(lines) -> list[str]:
    """Return the stripped headings, the first line that is not blank."""
    return [name.strip() for name in next((line for line in lines if line), [])]


def _check_lines(path: Path, text: str, delimiter: str) -> list[str]:
    """Return the headings; UserError if a line has more or fewer fields.

    polars fills short lines with missing values, and does not name a line that is too long.
    """
    csv.field_size_limit(2**31 - 1)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        headings = _headings(lines)
        for line in lines:
            if line and len(line) != len(headings):
                raise UserError(
                    f"{path}: line {lines.line_num} has {len(line)} fields, but there are"
                    f" {len(headings)} headings: correct the line, or put quotes around a cell"
                    f" with {delimiter!r} in it"
                )
    except csv.Error as error:
        raise UserError(
            f"{path}: line {lines.line_num}: {error}: check the quotes of this line and of those"
            " before it"
        ) from None
    return headings
