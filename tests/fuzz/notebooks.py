"""Notebooks: how to make and edit one, and what of it an update may not lose."""

import json
import re
from collections import Counter
from collections.abc import Collection

IMAGE = "iVBORw0KGgo="


def notebook(*sources: str) -> bytes:
    cells = [cell(f"cell-{n}", source) for n, source in enumerate(sources)]
    return dump({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def illustrated(*sources: str) -> bytes:
    """Make a notebook whose first cell is text with an attached image and a tag."""
    whole = json.loads(notebook(*sources))
    text = {"cell_type": "markdown", "id": "text", "source": ["# Check\n", "![](a.png)\n", "same"]}
    text["attachments"] = {"a.png": {"image/png": IMAGE}}
    text["metadata"] = {"tags": ["intro"]}
    whole["cells"].insert(0, text)
    return dump(whole)


def cell(name: str, source: str) -> dict:
    new = {"cell_type": "code", "execution_count": None, "id": name, "metadata": {}}
    return {**new, "outputs": [], "source": source.splitlines(keepends=True)}


def dump(notebook: dict, indent: int = 1) -> bytes:
    return json.dumps(notebook, indent=indent, ensure_ascii=False).encode() + b"\n"


def cells_of(data: bytes) -> list[dict] | None:
    """Return the cells of a notebook, or None if the data is no notebook."""
    try:
        cells = json.loads(data)["cells"]
    except (ValueError, KeyError, TypeError):
        return None
    return cells if isinstance(cells, list) else None


def edit_notebook(data: bytes, what: str, at: int, text: str) -> bytes:
    found = cells_of(data)
    if found is None:
        return data
    whole = json.loads(data)
    cells = whole["cells"]
    if what == "insert":
        cells.insert(at % (len(cells) + 1), cell("".join(filter(str.isalnum, text)), text))
    elif what == "kernel":
        whole["metadata"]["kernel"] = text
    elif cells:
        edit_cell(cells, cells[at % len(cells)], what, at, text)
    return dump(whole, indent=4 if what == "indent" else 1)


def edit_cell(cells: list[dict], one: dict, what: str, at: int, text: str) -> None:
    if what == "drop":
        cells.remove(one)
    elif what == "source":
        one["source"] = text.splitlines(keepends=True)
    elif what == "repeat":  # a line once more
        one["source"] = [*one["source"][:1], *one["source"]]
    elif what == "tag":
        one["metadata"].setdefault("tags", []).append(text.splitlines()[0])
    elif what == "attach" and one["cell_type"] == "markdown":
        one.setdefault("attachments", {})[f"{text[:4]}.png"] = {"image/png": IMAGE + text[:4]}
    elif what == "run" and one["cell_type"] == "code":
        one["execution_count"] = at + 1
        one["outputs"] = [{"name": "stdout", "output_type": "stream", "text": [f"{text}\n"]}]


Leaves = Counter[tuple[str, str]]


def ids(data: bytes) -> set[str]:
    """Return the ids that one cell each has."""
    counts = Counter(one["id"] for one in cells_of(data) or [] if isinstance(one.get("id"), str))
    return {name for name, count in counts.items() if count == 1}


def leaves(data: bytes, shared: Collection[str] = ()) -> Leaves:
    """Count what a notebook says: lines of code, text and outputs, attachments and metadata.

    What a shared cell says is counted for this cell alone.
    """
    found: Leaves = Counter()

    def walk(place: str, node: object) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key not in ("execution_count", "id", "nbformat", "nbformat_minor"):
                    walk(f"{place}/{key}", value)
        elif isinstance(node, list) and place.rsplit("/")[-1] in ("source", "text"):
            found.update((place, line) for line in "".join(node).splitlines() if line)
        elif isinstance(node, list):
            for value in node:
                walk(place, value)
        else:
            found.update((place, line) for line in str(node).splitlines() if line)

    for one in cells_of(data) or []:
        walk(f"cell {one['id']}" if one.get("id") in shared else "cell", one)
    if cells_of(data) is not None:
        walk("metadata", json.loads(data).get("metadata", {}))
    return found


def missing(merged: bytes, base: bytes, side: bytes, other: bytes) -> list[tuple[str, str]]:
    """List what one side added to a notebook, and the merged one lacks or has elsewhere."""
    shared = ids(base) & ids(side) & ids(other)
    has, old, mine, new = (leaves(one, shared) for one in (merged, base, side, other))
    return [
        leaf
        for leaf, count in mine.items()
        if count > old[leaf] and has[leaf] < count + min(0, new[leaf] - old[leaf])
    ]


def sides_of(marked: bytes) -> list[bytes]:
    """Resolve a file with conflict markers: once as the user has it, once as the template."""
    found: list[list[bytes]] = [[], []]
    into = (0, 1)
    marks = {b"<<<<<<< ": (0,), b"=======": (1,), b">>>>>>> ": (0, 1)}
    for line in marked.splitlines(keepends=True):
        mark = line.rstrip(b"\r\n") if line.startswith(b"=======") else line[:8]
        if mark in marks:
            into = marks[mark]
            continue
        for n in into:
            found[n].append(line)
    return [b"".join(lines) for lines in found]


def faults(merged: bytes, base: bytes, yours: bytes, theirs: bytes, unmerged: bool) -> list:
    """List what is wrong with a notebook that both sides changed.

    A clean one has what both added. In conflict, each side of the markers has what that side added.
    """
    if not unmerged:
        if cells_of(merged) is None:
            return ["no notebook"]
        return missing(merged, base, yours, theirs) + missing(merged, base, theirs, yours)
    if not re.search(rb"^<<<<<<< ", merged, re.MULTILINE):
        return ["no line begins with <<<<<<<"]
    mine, new = sides_of(merged)
    if any(cells_of(one) is None for one in (base or b'{"cells": []}', yours, theirs)):
        pairs = ((mine, yours), (new, theirs))
        return [
            side for side, whole in pairs if set(whole.split()) - set(side.split() + base.split())
        ]
    if cells_of(mine) is None or cells_of(new) is None:
        return ["a side of the markers is no notebook"]
    return missing(mine, base, yours, base) + missing(new, base, theirs, base)
