# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Merge notebooks: as text if that gives a notebook, else cell by cell.

Cells that all three versions have, by id, are merged field by field. `git merge-file` then merges
the lists of cells, one line a cell, so it never tears a cell. A merge is clean only if it has every
change of both sides. A conflict has its markers on lines of their own, and each of its sides gives
a notebook.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from itertools import accumulate, pairwise
from os.path import commonprefix
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
    merged = load(text[0]) if text and text[1] else None
    sides = [load(data) for data in (base or b'{"cells": []}', yours, theirs)]
    if not all(sides) or (merged and keeps_all(sides, [merged, merged])):
        torn = text and text[1] and not merged
        return (
            Merge(conflict(lines(yours), lines(theirs), labels), False)
            if torn
            else text and Merge(*text)
        )
    tops = both(*({**side, "cells": []} for side in sides), merge_text)
    parts = merge_cells([side["cells"] for side in sides], merge_text)
    found = [{**top, "cells": sum((part[n] for part in parts), [])} for n, top in enumerate(tops)]
    if not keeps_all(sides, found):
        found, parts = sides[1:], []  # one conflict for all cells
    indent = (re.match(rb"\{\n([ \t]+)", yours) or (b"", b" "))[1].decode()
    if key(found[0]) == key(found[1]):
        return Merge(dump(found[0], indent), True, True)
    result, pending = b"", ([], [])
    for pair in zip(
        *(chunks(found[n], [part[n] for part in parts], indent) for n in (0, 1)), strict=True
    ):
        pending = pending[0] + pair[0], pending[1] + pair[1]
        if pair[0] and pair[0] == pair[1]:
            result, pending = result + conflict(*pending, labels), ([], [])
    return Merge(result + conflict(*pending, labels), False)


def load(data: bytes) -> dict | None:
    """Read a notebook, each source as a list of lines; None for anything else."""

    def unique(pairs: list[tuple[str, object]]) -> dict:
        if len(dict(pairs)) < len(pairs):
            raise ValueError("a key occurs twice")
        return dict(pairs)

    try:
        notebook = json.loads(data.decode(), object_pairs_hook=unique)
        for cell in notebook["cells"]:
            source = cell["source"]
            cell["source"] = (source if isinstance(source, str) else "".join([*source])).splitlines(
                True
            )
        return notebook if isinstance(notebook["cells"], list) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def dump(value: object, indent: str) -> bytes:
    text = json.dumps(value, indent=indent, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")  # half of a surrogate pair, as JSON spells it


def key(value: object) -> str:
    return "" if value is GONE else json.dumps(value, sort_keys=True)


def both(base, yours, theirs, merge_text: MergeText, name: str = "") -> tuple:
    """Merge a value. Return it with conflicts resolved as yours, and as theirs."""
    keys = key(base), key(yours), key(theirs)
    if keys[0] == keys[2] or keys[1] == keys[2] or name == "execution_count":
        return yours, yours
    if keys[0] == keys[1]:
        return theirs, theirs
    if name == "source" and all(isinstance(side, list) for side in (base, yours, theirs)):
        parts = merge_lists([base, yours, theirs], merge_text)
        return tuple(sum((part[n] for part in parts), []) for n in (0, 1))
    if isinstance(yours, dict) and isinstance(theirs, dict):
        sides = base if isinstance(base, dict) else {}, yours, theirs
        pairs = {
            name: both(*(side.get(name, GONE) for side in sides), merge_text, name)
            for name in {**yours, **theirs, **sides[0]}
        }
        return tuple(
            {k: pair[n] for k, pair in pairs.items() if pair[n] is not GONE} for n in (0, 1)
        )
    return yours, theirs


def merge_lists(sides: list[list], merge_text: MergeText) -> list[tuple[list, list]]:
    """Merge lists item by item. Return the parts in order, each resolved as yours, and as theirs."""
    base, yours, theirs = sides
    items = {key(item): item for item in [*base, *theirs, *yours]}
    numbers = {item: n for n, item in enumerate(items)}
    texts = ["".join(f"{numbers[key(item)]}\n" for item in side).encode() for side in sides]
    values, parts, into = [*items.values()], [([], [])], (0, 1)
    marks = {b"<": (0,), b"|": (), b"=": (1,), b">": (0, 1)}  # git may show the base, too
    for line in merge_text(*texts, ("", ""))[0].splitlines():
        if line[:1] in marks:
            into = marks[line[:1]]
            parts += [([], [])] if line[:1] in (b"<", b">") else []
        else:
            for n in into:
                parts[-1][n].append(values[int(line)])
    return parts


def merge_cells(sides: list[list[dict]], merge_text: MergeText) -> list[tuple[list, list]]:
    """Merge the cells of notebooks."""
    sides = [[*cells] for cells in sides]
    for name in shared_ids(sides):
        places = [
            next(n for n, cell in enumerate(cells) if cell_id(cell) == name) for cells in sides
        ]
        base, yours, theirs = (cells[n] for cells, n in zip(sides, places, strict=True))
        pair = both(base, yours, theirs, merge_text)
        sides[1][places[1]], sides[2][places[2]] = pair
        if key(pair[0]) == key(pair[1]):
            sides[0][places[0]] = pair[0]
    return merge_lists(sides, merge_text)


def cell_id(cell: dict) -> str | None:
    return key(cell["id"]) if "id" in cell else None


def shared_ids(sides: list[list[dict]]) -> set[str]:
    """The ids that each version has once."""
    counts = [Counter(map(cell_id, cells)) for cells in sides]
    return {name for name in counts[0] if name and all(count[name] == 1 for count in counts)}


def keeps_all(sides: list[dict], results: list[dict]) -> bool:
    """Whether a merge, resolved as yours and as theirs, has every change, and nothing else."""
    shared = shared_ids([side["cells"] for side in sides])
    base, *own = (contents(side, shared) for side in sides)
    known = traits(sides[1]) | traits(sides[2])
    for n, result in enumerate(results):
        got = contents(result, shared)
        for item in {*base, *own[0], *own[1], *got}:
            whole = own[0][item] + own[1][item] - base[item]  # the changes of both
            if not min(own[n][item], whole) <= got[item] <= max(own[n][item], whole):
                return False
    return all(traits(result) <= known for result in results)


def contents(notebook: dict, shared: set[str]) -> Counter:
    """Count the lines of code and text, outputs, attachments, tags and so on, by cell if shared."""
    found: Counter = Counter()

    def add(value: object, *path: str | None) -> None:
        if isinstance(value, dict) and value:
            for name, part in value.items():
                add(part, *path, name)
        elif path[-1] != "execution_count":
            found.update(
                (path, key(part))
                for part in (value if isinstance(value, list) and value else [value])
            )

    add({**notebook, "cells": []}, "")
    for cell in notebook["cells"]:
        add(cell, name if (name := cell_id(cell)) in shared else None)
    return found


def traits(notebook: dict) -> set[tuple]:
    """What the format of notebooks restricts: fields by type of cell, ids by version, and doubles."""
    ids = Counter(filter(None, map(cell_id, notebook["cells"])))
    fields = {(key(cell.get("cell_type")), name) for cell in notebook["cells"] for name in cell}
    version = key(notebook.get("nbformat_minor"))
    return (
        fields
        | {(version, "id" in cell) for cell in notebook["cells"]}
        | {(name, "twice") for name in ids if ids[name] > 1}
    )


def lines(data: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", data)


def chunks(notebook: dict, parts: list[list[dict]], indent: str) -> list[list[bytes]]:
    """The lines of a notebook: before its cells, of each part, and after."""
    found = lines(dump(notebook, indent))
    start = next(
        n for n, line in enumerate(found, 1) if line.startswith(f'{indent}"cells": ['.encode())
    )
    sizes = (sum(dump(cell, indent).count(b"\n") for cell in part) for part in parts)
    return [found[a:b] for a, b in pairwise([0, *accumulate(sizes, initial=start), None])]


def conflict(yours: list[bytes], theirs: list[bytes], labels: tuple[str, str]) -> bytes:
    """Show two versions of some lines as git does, without the lines that both begin and end with."""
    if yours == theirs:
        return b"".join(yours)
    head = commonprefix([yours, theirs])
    tail = commonprefix([side[len(head) :][::-1] for side in (yours, theirs)])[::-1]
    mine, new = (b"".join(side[len(head) : len(side) - len(tail)]) for side in (yours, theirs))
    mine, new = (text if text.endswith(b"\n") or not text else text + b"\n" for text in (mine, new))
    marked = b"<<<<<<< yours\n%s=======\n%s>>>>>>> %s\n" % (mine, new, labels[1].encode())
    return b"".join([*head, marked, *tail])
