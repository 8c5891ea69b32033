# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Merge notebooks: as text if that gives a notebook, else cell by cell.

Cells that all three versions have, by id, are merged field by field. `git merge-file` then merges
the lists of cells, one line a cell, so it never tears a cell. A merge is clean only if it has all
changes of both sides. Otherwise the file has ordinary conflict markers, and either side of them is
a notebook.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

MergeText = Callable[[bytes, bytes, bytes, tuple[str, str]], "tuple[bytes, bool] | None"]
GONE = object()  # the value of a key that is not there


class Merge(NamedTuple):
    data: bytes
    clean: bool
    by_cells: bool = False


def merge(
    base: bytes, yours: bytes, theirs: bytes, labels: tuple[str, str], merge_text: MergeText
) -> Merge | None:
    """Merge a notebook; the base is empty if both sides added it. Return None for binary files."""
    text = merge_text(base, yours, theirs, labels)
    if text is None:
        return None
    merged = load(text[0]) if text[1] else None
    sides = [load(data) for data in (base or b'{"cells": []}', yours, theirs)]
    if not all(sides):
        torn = text[1] and not merged
        return Merge(*(merge_text(b"", yours, theirs, labels) if torn else text))
    if merged and keeps_all(sides, merged, merged):
        return Merge(*text)
    fields = merge_values(*({**side, "cells": []} for side in sides), merge_text)
    cells = merge_cells([side["cells"] for side in sides], merge_text)
    found = [{**fields[n], "cells": cells[n]} for n in (0, 1)]
    if not keeps_all(sides, *found):
        found = sides[1:]
    indent = (re.match(rb"\{\n([ \t]+)", yours) or (b"", b" "))[1].decode()
    mine, new = (dump(side, indent) for side in found)
    if mine == new:
        return Merge(mine, clean=True, by_cells=True)
    return Merge(*merge_text(b"", mine, new, labels))  # without a base, all differences conflict


def load(data: bytes) -> dict | None:
    """Read a notebook, each source as a list of lines. Return None for anything else."""

    def unique(pairs: list[tuple[str, object]]) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    try:
        notebook = json.loads(data.decode(), object_pairs_hook=unique)
        for cell in notebook["cells"]:
            if not all(isinstance(cell.get(name, ""), str) for name in ("id", "cell_type")):
                return None
            cell["source"] = "".join([*cell["source"]]).splitlines(keepends=True)
        return notebook if isinstance(notebook["cells"], list) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def dump(notebook: dict, indent: str) -> bytes:
    text = json.dumps(notebook, indent=indent, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # JSON can hold half of a surrogate pair


def key(value: object) -> str:
    return "" if value is GONE else json.dumps(value, sort_keys=True)


def merge_values(base, yours, theirs, merge_text: MergeText, name: str = "") -> tuple:
    """Merge a field; return the result with your side of each conflict, and with theirs."""
    keys = [key(value) for value in (base, yours, theirs)]
    if keys[2] in keys[:2] or name == "execution_count":
        return yours, yours
    if keys[0] == keys[1]:
        return theirs, theirs
    if isinstance(yours, dict) and isinstance(theirs, dict):
        sides = base if isinstance(base, dict) else {}, yours, theirs
        pairs = {
            name: merge_values(*(side.get(name, GONE) for side in sides), merge_text, name)
            for name in {**yours, **theirs}
        }
        return tuple({k: v[n] for k, v in pairs.items() if v[n] is not GONE} for n in (0, 1))
    if name == "source" and all(isinstance(side, list) for side in (base, yours, theirs)):
        return merge_lists([base, yours, theirs], merge_text)
    return yours, theirs


def merge_lists(sides: list[list], merge_text: MergeText) -> tuple[list, list]:
    """Merge item by item; return the result with your side of each conflict, and with theirs."""
    items = {key(item): item for side in (sides[0], sides[2], sides[1]) for item in side}
    numbers = {name: n for n, name in enumerate(items)}
    texts = ["".join(f"{numbers[key(item)]}\n" for item in side).encode() for side in sides]
    values, results, into = list(items.values()), ([], []), (0, 1)
    marks = {b"<": (0,), b"|": (), b"=": (1,), b">": (0, 1)}  # merge.conflictStyle can add |||||||
    for line in merge_text(*texts, ("", ""))[0].splitlines():
        into = marks.get(line[:1], into)
        for n in into if line.isdigit() else ():
            results[n].append(values[int(line)])
    return results


def merge_cells(sides: list[list[dict]], merge_text: MergeText) -> tuple[list, list]:
    sides = [cells.copy() for cells in sides]
    places = [{cell.get("id"): n for n, cell in enumerate(cells)} for cells in sides]
    for name in shared_ids(sides):
        at = [place[name] for place in places]
        old, *new = (cells[n] for cells, n in zip(sides, at, strict=True))
        new = merge_values(old, *new, merge_text)
        sides[1][at[1]], sides[2][at[2]] = new
        if key(new[0]) == key(new[1]):
            sides[0][at[0]] = new[0]  # so that git sees the same line in all three
    return merge_lists(sides, merge_text)


def shared_ids(sides: list[list[dict]]) -> set[str]:
    """The ids that each version has exactly once."""
    counts = [Counter(cell.get("id") for cell in cells) for cells in sides]
    return {name for name in counts[0] if name and all(count[name] == 1 for count in counts)}


def keeps_all(sides: list[dict], *results: dict) -> bool:
    """Whether a merge, with either side of its conflicts, has all changes and no others."""
    shared = shared_ids([side["cells"] for side in sides])
    base, *changed = (contents(side, shared) for side in sides)
    for result, own in zip(results, changed, strict=True):
        got = contents(result, shared)
        for item in {*base, *changed[0], *changed[1], *got}:
            whole = changed[0][item] + changed[1][item] - base[item]
            if not min(own[item], whole) <= got[item] <= max(own[item], whole):
                return False
    known = traits(sides[1]) | traits(sides[2])
    return all(traits(result) <= known for result in results)


def contents(notebook: dict, shared: set[str]) -> Counter:
    """Count source lines, outputs, tags and all other values, by cell if its id is shared."""
    found: Counter = Counter()

    def count(value: object, *path: str | None) -> None:
        if value and isinstance(value, dict):
            for name in value.keys() - {"execution_count"}:
                count(value[name], *path, name)
        else:
            items = value if value and isinstance(value, list) else [value]
            found.update((path, key(item)) for item in items)

    count({**notebook, "cells": []}, "notebook")
    for cell in notebook["cells"]:
        count(cell, cell["id"] if cell.get("id") in shared else None)
    return found


def traits(notebook: dict) -> set:
    """The sorts of cells, and the ids that occur twice: a merge must not make new ones."""
    cells, minor = notebook["cells"], key(notebook.get("nbformat_minor"))
    ids = Counter(cell["id"] for cell in cells if "id" in cell)
    sorts = {(minor, cell.get("cell_type"), *sorted(cell)) for cell in cells}
    return sorts | {name for name, count in ids.items() if count > 1}
