"""Notebooks: how to make and edit one, and what of it an update may not lose."""

import json
from collections import Counter

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


def leaves(data: bytes) -> Counter[tuple[str, str]]:
    """Count what a notebook says: lines of code, text and outputs, attachments and metadata."""
    found: Counter[tuple[str, str]] = Counter()

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
        walk("cell", one)
    if cells_of(data) is not None:
        walk("metadata", json.loads(data).get("metadata", {}))
    return found


def missing(merged: bytes, base: bytes, side: bytes, other: bytes) -> list[tuple[str, str]]:
    """List what one side added to a notebook, and the merged one lacks."""
    has, old, mine, new = (leaves(one) for one in (merged, base, side, other))
    return [
        leaf
        for leaf, count in mine.items()
        if count > old[leaf] and has[leaf] < count + min(0, new[leaf] - old[leaf])
    ]
