"""The update merges notebooks without losing a cell, an output, an attachment or a tag.

The table has one example of each kind of conflict. The random test judges merges by strings that
only one side has; it knows nothing about how a merge is made.
"""

import copy
import json
import random
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import nbformat
import pytest

sys.path.append(str(Path(__file__).parents[1] / "template/tools"))
from updater.notebooks import merge  # noqa: E402

LABELS = ("template v1.0.0", "template v1.1.0")
BLOCK = re.compile(rb"^<<<<<<< yours\n(.*?)^=======\n(.*?)^>>>>>>> template v1.1.0\n", re.M | re.S)
IMAGE = {"image/png": "iVBORw0KGgo="}
FORMAT = {"attachments", "cell_type", "cells", "code", "data", "display_data", "execution_count"}
FORMAT |= {"id", "image/png", "markdown", "metadata", "name", "nbformat", "nbformat_minor"}
FORMAT |= {"output_type", "outputs", "raw", "source", "stdout", "stream", "tags", "text"}
RANDOM = 150  # examples


@pytest.fixture(scope="module")
def merge_text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("merge")
    subprocess.run(["git", "init", "--quiet", folder], check=True)  # so that git reads settings

    def merge_file(base, yours, theirs, labels):
        for name, data in (("yours", yours), ("base", base), ("theirs", theirs)):
            (folder / name).write_bytes(data)
        command = ["git", "merge-file", "--stdout", "-L", "yours", "-L", labels[0], "-L", labels[1]]
        command += ["yours", "base", "theirs"]
        done = subprocess.run(command, cwd=folder, capture_output=True)
        return None if done.returncode > 127 else (done.stdout, done.returncode == 0)

    return merge_file


@pytest.fixture(scope="module")
def merged(merge_text):
    """A function that merges three versions of a notebook."""
    return lambda base, yours, theirs: merge(base, yours, theirs, LABELS, merge_text)


def cell(source: str, id: str = "", kind: str = "code", **fields) -> dict:
    new = {"cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True)}
    new |= {"id": id} if id else {}
    new |= {"execution_count": None, "outputs": []} if kind == "code" else {}
    return new | fields


def book(*cells: dict, minor: int = 5, indent: int = 1, metadata: dict | None = None) -> bytes:
    """A notebook as Jupyter writes it."""
    notebook = {"cells": cells, "metadata": metadata or {}, "nbformat": 4, "nbformat_minor": minor}
    return dumped(notebook, indent)


def dumped(notebook: dict, indent: int = 1) -> bytes:
    return (json.dumps(notebook, indent=indent, sort_keys=True) + "\n").encode()


def prints(text: str) -> list[dict]:
    return [{"name": "stdout", "output_type": "stream", "text": [f"{text}\n"]}]


def shows(image: str) -> list[dict]:
    return [{"output_type": "display_data", "metadata": {}, "data": {"image/png": image}}]


def kernel(name: str) -> dict:
    return {"kernelspec": {"name": name, "display_name": name}}


A, B, C = cell("a = 1", "a"), cell("b = 1", "b"), cell("c = 1", "c")
NOTE = cell("note", "n", "markdown")
PASTED = cell("note\n![x](attachment:x.png)", "n", "markdown", attachments={"x.png": IMAGE})
FAILED = [{"output_type": "error", "ename": "E", "evalue": "mine", "traceback": ["mine"]}]
LONG = "\n".join("abcdefgh")
TEXT, CELLS, CONFLICT = (True, False), (True, True), (False, False)
KINDS = {  # base, yours, theirs; whether the merge is clean, and made cell by cell
    "both edit different cells": (
        book(A, B, C),
        book(cell("a = 2", "a"), B, C),
        book(A, B, cell("c = 2", "c")),
        TEXT,
    ),
    "an attachment in a text that both edit": (
        book(NOTE, B),
        book(PASTED, cell("b = 2", "b")),
        book(cell("note 2", "n", "markdown"), B),
        CONFLICT,
    ),
    "an attachment in a text that the template edits": (
        book(NOTE, B),
        book({**NOTE, "attachments": {"x.png": IMAGE}}, B),
        book(cell("note 2", "n", "markdown"), B),
        TEXT,
    ),
    "an attachment in a cell that the template deletes": (
        book(NOTE, B),
        book({**NOTE, "attachments": {"x.png": IMAGE}}, B),
        book(B),
        CONFLICT,
    ),
    "a tag in a cell that the template deletes": (
        book(A, B),
        book({**A, "metadata": {"tags": ["mine"]}}, B),
        book(B),
        CONFLICT,
    ),
    "a kernel that both choose": (
        book(A, metadata=kernel("python3")),
        book(A, metadata={**kernel("mine"), "widgets": {"state": "mine"}}),
        book(A, metadata=kernel("theirs")),
        CONFLICT,
    ),
    "no ids": (
        book(cell("a = 1"), cell("b = 1"), minor=4),
        book(cell("a = 1"), cell("mine()"), cell("b = 1"), minor=4),
        book(cell("a = 2"), cell("b = 1"), minor=4),
        TEXT,
    ),
    "ids that Jupyter adds": (
        book(cell("a = 1"), cell("b = 1"), minor=4),
        book(A, cell("mine()", "m"), B),
        book(cell("a = 1"), cell("b = 1"), cell("theirs()"), minor=4),
        CONFLICT,
    ),
    "your notebook is not valid": (
        book(A),
        b'{"cells": [mine',
        book(cell("a = 2", "a")),
        CONFLICT,
    ),
    "a cell that you move and the template edits": (
        book(A, B, C),
        book(C, A, B),
        book(A, B, cell("c = 2", "c")),
        CELLS,
    ),
    "a cell that both move": (book(A, B, C), book(C, A, B), book(A, C, B), CONFLICT),
    "a cell that you delete and the template moves": (
        book(A, B, C, NOTE),
        book(A, B, NOTE),
        book(C, A, B, NOTE),
        CONFLICT,
    ),
    "a cell that both insert, in different places": (
        book(A, B, C, NOTE),
        book(cell("new()", "new"), A, B, C, NOTE),
        book(A, B, C, NOTE, cell("new()", "new")),
        CONFLICT,
    ),
    "cells that both append": (
        book(A),
        book(A, cell("mine()", "m")),
        book(A, cell("theirs()", "t")),
        CONFLICT,
    ),
    "an output and a copied line, in a cell that the template deletes": (
        book(A, B),
        book(A, {**B, "outputs": prints("a = 1")}, cell("a = 1", "m")),
        book(A),
        CONFLICT,
    ),
    "outputs that both have": (
        book(A, B),
        book({**A, "outputs": prints("mine")}, {**B, "outputs": shows("mine")}),
        book(cell("a = 2", "a"), {**B, "outputs": prints("theirs")}),
        CONFLICT,
    ),
    "outputs, and execution counts that both have": (
        book(A, B),
        book({**A, "outputs": prints("mine"), "execution_count": 3}, cell("b = 2", "b")),
        book(cell("a = 2", "a", execution_count=7), B),
        CELLS,
    ),
    "an image in a cell that the template deletes": (
        book(A, B),
        book(A, {**B, "outputs": shows("mine")}),
        book(A),
        CONFLICT,
    ),
    "a traceback in a cell that the template deletes": (
        book(A, B),
        book({**A, "outputs": FAILED, "execution_count": 1}, B),
        book(cell("b = 2", "b")),
        CONFLICT,
    ),
    "a line that both edit": (
        book(cell("a\nb = 1\nc", "a")),
        book(cell("a\nb = 2\nc", "a")),
        book(cell("a\nb = 3\nc", "a")),
        CONFLICT,
    ),
    "different lines of a cell that you move": (
        book(A, B, cell(LONG, "l")),
        book(cell(LONG + "\nmine", "l"), A, B),
        book(A, B, cell("theirs\n" + LONG, "l")),
        CELLS,
    ),
    "a rule of equals signs in a cell that you move": (
        book(A, B, cell("T\n=======\n" + LONG, "l", "markdown")),
        book(cell("T\n=======\n" + LONG + "\nmine", "l", "markdown"), A, B),
        book(A, B, cell("theirs\nT\n=======\n" + LONG, "l", "markdown")),
        CELLS,
    ),
    "ids that occur twice in yours": (
        book(A),
        book(A, A, cell("mine", "a")),
        book(cell("a = 2", "a")),
        TEXT,
    ),
    "another indentation": (
        book(A, B),
        book(A, cell("b = 2", "b"), indent=4),
        book(cell("a = 2", "a"), B),
        CELLS,
    ),
    "another type of cell": (
        book(cell("a", "a", "raw"), B),
        book(cell("a mine", "a", "markdown"), B),
        book(cell("a", "a", "raw"), cell("b = 2", "b")),
        TEXT,
    ),
    "a true that was a 1": (
        book({**A, "metadata": {"x": 1}}, B),
        book(B, {**A, "metadata": {"x": True}}),
        book({**A, "metadata": {"x": 1, "y": 1}}, B),
        CELLS,
    ),
    "half of a surrogate pair": (
        book(A, B),
        book(A, cell("b = '\ud83d'", "b"), indent=4),
        book(cell("a = 'é'", "a"), B),
        CELLS,
    ),
    "two notebooks without a base": (b"", book(A), book(A, B), CONFLICT),
}


@pytest.mark.filterwarnings("ignore:Non-unique cell id")
@pytest.mark.parametrize("kind", KINDS)
def test_it_merges(kind, merged):
    *sides, expected = KINDS[kind]
    result = merged(*sides)
    assert (result.clean, result.by_cells) == expected
    if kind != "your notebook is not valid":
        assert judge(sides, result) == []


A2, B2 = cell("a = 2", "a"), cell("b = 2", "b")
WRONG = {
    "your cell is missing": book(A2, B2),
    "the changes are in the wrong cells": book({**B2, "id": "a"}, {**A2, "id": "b"}, C),
    "there is a change that nobody made": book(A2, B2, C, NOTE),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_text_merge_is_not_taken(wrong, merge_text):
    sides = book(A, B), book(A2, B, C), book(A, B2)

    def merge_wrongly(*versions):
        return (WRONG[wrong], True) if versions[:3] == sides else merge_text(*versions)

    result = merge(*sides, LABELS, merge_wrongly)
    assert not result.clean or result == (book(A2, B2, C), *CELLS)
    assert judge(sides, result) == []


def test_it_keeps_your_layout(merged):
    base, yours, theirs = ([cell("a = 1"), cell("b = 1"), cell("c = 1")] for _ in range(3))
    yours[0] = cell("a = 2")
    theirs[2] = dict(sorted(cell("c = 2").items()))
    layout = {"nbformat": 4, "nbformat_minor": 4, "metadata": {}}
    wanted = json.dumps({**layout, "cells": [yours[0], base[1], theirs[2]]}, indent=4) + "\n"
    mine = json.dumps({**layout, "cells": yours}, indent=4).encode()
    result = merged(book(*base, minor=4), mine, book(*theirs, minor=4))
    assert result == (wanted.encode(), *CELLS)


def test_what_is_not_a_notebook_is_merged_as_text(merged):
    *sides, _ = KINDS["your notebook is not valid"]
    assert picks(merged(*sides).data) == [sides[1] + b"\n", sides[2]]


@pytest.mark.parametrize("end", ["mine", '"nbformat": 4}'])
def test_a_clean_text_merge_that_is_not_a_notebook_becomes_a_conflict(end, merged):
    """Yours has something after its end, or a key twice."""
    yours = book(A, B).decode().rstrip("}\n") + f",\n {end}\n"
    result = merged(book(A, B), yours.encode(), book(cell("a = 2", "a"), B))
    assert not result.clean
    assert picks(result.data) == [yours.encode(), book(cell("a = 2", "a"), B)]


def test_text_that_merges_to_a_key_twice_becomes_a_conflict(merged):
    keys = {f"key {n}": n for n in range(5)}
    versions = keys, {"new": "mine", **keys}, {**keys, "new": "theirs"}
    texts = [json.dumps({"cells": [], "metadata": one}, indent=1) for one in versions]
    result = merged(*(text.encode() for text in texts))
    assert not result.clean
    assert [json.loads(side)["metadata"]["new"] for side in picks(result.data)] == [
        "mine",
        "theirs",
    ]


def test_a_binary_file_is_not_merged(merged):
    assert merged(book(A), b"\0mine", book(B)) is None


def test_git_may_show_the_base_of_conflicts(merged, monkeypatch):
    kinds = "a line that both edit", "outputs that both have", "a cell that both move"
    plain = [merged(*KINDS[kind][:3]) for kind in kinds]
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "merge.conflictStyle")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "diff3")
    for kind, expected in zip(kinds, plain, strict=True):
        data = merged(*KINDS[kind][:3]).data
        without_base = re.sub(rb"^\|{7} .*?(?=^=======$)", b"", data, flags=re.M | re.S)
        assert without_base != data
        assert picks(without_base) == picks(expected.data)


def test_random_notebooks_lose_nothing(merged, tmp_path):
    git = ["git", "-C", tmp_path]
    subprocess.run([*git, "init", "--quiet"], check=True)
    conflicts, outcomes = set(), Counter()
    for seed in range(RANDOM):
        sides = Draw(seed).versions()
        result = merged(*sides)
        assert judge(sides, result) == [], f"seed {seed}"
        outcomes[result.clean, result.by_cells] += 1
        if not result.clean:
            (tmp_path / f"{seed}.ipynb").write_bytes(result.data)
            conflicts.add(f"{seed}.ipynb")
    assert min(outcomes[TEXT], outcomes[CELLS], outcomes[CONFLICT]) > RANDOM / 10
    subprocess.run([*git, "add", "."], check=True)
    done = subprocess.run([*git, "diff", "--cached", "--check"], capture_output=True, text=True)
    assert set(re.findall(r"^(\S+):\d+: leftover conflict marker", done.stdout, re.M)) == conflicts


# The judge.


def picks(data: bytes) -> list[bytes]:
    """A file with your side of each conflict, and with the template's."""
    return [BLOCK.sub(rb"\1", data), BLOCK.sub(rb"\2", data)]


def judge(sides: list[bytes], result) -> list[str]:
    """What a merge has lost, brought back or misplaced."""
    if not result.clean and not BLOCK.search(result.data):
        return ["no markers"]
    base, yours, theirs = (json.loads(side or '{"cells": []}') for side in sides)
    mine, new = (json.loads(side) for side in picks(result.data))
    wrong = misplaced(base, yours, theirs, mine) if result.clean else []
    for found, own, other in ((mine, yours, theirs), (new, theirs, yours)):
        counts = map(strings, (base, own, other, found))
        wrong += lost(*counts, several=result.clean)
        if twice(found) - twice(yours) - twice(theirs):
            wrong.append("an id occurs twice")
        if valid(yours) and valid(theirs) and not valid(found):
            wrong.append("it is not a valid notebook")
    stays = strings(yours).keys() & strings(theirs).keys()
    gone = stays - strings(mine).keys() - strings(new).keys()
    return wrong + [f"{text} is gone" for text in gone if strings(base)[text] < 2]


def lost(base: Counter, own: Counter, other: Counter, found: Counter, several: bool) -> list[str]:
    """Strings that occur too often or not often enough.

    In a conflict, this can tell nothing of a string that occurs several times or that one side has
    moved.
    """
    wrong = []
    for text in {*base, *own, *other, *found}:
        counts = base[text], own[text], other[text]
        if not several and (max(counts) > 1 or counts == (1, 1, 1)):
            continue
        both = own[text] + other[text] - base[text]
        if not min(own[text], both) <= found[text] <= max(own[text], both):
            wrong.append(f"{text}: {counts} became {found[text]}")
    return wrong


def strings(value: object) -> Counter:
    """The strings and keys of a notebook but those of its format; sources line by line."""
    if isinstance(value, dict):
        found = sum(map(strings, value.values()), Counter([*value]))
        return Counter({text: count for text, count in found.items() if text not in FORMAT})
    if isinstance(value, list):
        return sum(map(strings, value), Counter())
    return Counter(value.splitlines() if isinstance(value, str) else [])


def misplaced(base: dict, yours: dict, theirs: dict, result: dict) -> list[str]:
    """Fields that one side alone has changed, and that have not the new value in the same cell."""
    sides = [
        {c["id"]: c for c in book["cells"] if "id" in c} for book in (base, yours, theirs, result)
    ]
    wrong = []
    for id in sides[0].keys() & sides[1].keys() & sides[2].keys():
        old, mine, new, now = (plain(side.get(id, {})) for side in sides)
        for name in {*old, *mine, *new} - {"execution_count"}:
            values = old.get(name), mine.get(name), new.get(name)
            if values[0] in values[1:]:
                wanted = values[2] if values[0] == values[1] else values[1]
                wrong += [] if now.get(name) == wanted else [f"{name} of {id} is {now.get(name)}"]
    return wrong


def twice(notebook: dict) -> set[str]:
    ids = Counter(one["id"] for one in notebook["cells"] if "id" in one)
    return {id for id, count in ids.items() if count > 1}


def plain(cell: dict) -> dict:
    return cell | ({"source": "".join(cell["source"])} if cell else {})


def valid(notebook: dict) -> bool:
    try:
        nbformat.validate(copy.deepcopy(notebook))
    except nbformat.ValidationError:
        return False
    return True


class Draw:
    """Draws three versions of a notebook. Most strings are unique, so a loss shows."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.ids = self.random.random() < 0.75
        self.count = 0

    def versions(self) -> list[bytes]:
        cells = [self.cell("base") for _ in range(self.random.randint(1, 6))]
        base = {"cells": cells, "metadata": kernel("python3"), "nbformat": 4}
        base["nbformat_minor"] = 5 if self.ids else 4
        yours, theirs = (self.edited(base, who) for who in ("yours", "theirs"))
        for one in yours["cells"] if self.random.random() < 0.1 else []:
            one["source"] = "".join(one["source"])
        indent = 4 if self.random.random() < 0.2 else 1
        return [dumped(base), dumped(yours, indent), dumped(theirs)]

    def edited(self, base: dict, who: str) -> dict:
        side = copy.deepcopy(base)
        for _ in range(self.random.randint(1, 4)):
            if not side["cells"]:
                self.insert(side["cells"], 0, who)
            self.random.choice(self.EDITS)(self, side["cells"], self.place(side["cells"]), who)
        if self.random.random() < 0.2:
            side["metadata"] |= (
                kernel(self.text(who)) if self.random.random() < 0.5 else {self.text(who): 1}
            )
        return side

    def place(self, items: list) -> int:
        return self.random.randrange(len(items))

    def text(self, who: str) -> str:
        self.count += 1
        return f"{who}_{self.count}"

    def cell(self, who: str) -> dict:
        lines = [self.random.choice(["import os", "", *[self.text(who)] * 6]) for _ in range(4)]
        kind = self.random.choice(["code", "code", "code", "markdown", "raw"])
        return cell("\n".join(lines), self.text(who) if self.ids else "", kind)

    # The edits.

    def change_line(self, cells: list, n: int, who: str) -> None:
        lines = "".join(cells[n]["source"]).split("\n")
        at = self.place(lines)
        lines[at : at + self.random.randint(0, 1)] = [self.text(who)] * self.random.randint(0, 2)
        cells[n]["source"] = "\n".join(lines).splitlines(keepends=True)

    def run(self, cells: list, n: int, who: str) -> None:
        for one in cells[n:]:
            if one["cell_type"] == "code":
                one["execution_count"] = self.random.randint(1, 99)
                one["outputs"] = prints(self.text(who)) + shows(self.text(who))

    def annotate(self, cells: list, n: int, who: str) -> None:
        metadata = cells[n]["metadata"]
        metadata["tags"] = [*metadata.get("tags", []), self.text(who)]
        if cells[n]["cell_type"] == "markdown":
            cells[n].setdefault("attachments", {})[self.text(who)] = {"image/png": self.text(who)}

    def insert(self, cells: list, n: int, who: str) -> None:
        cells.insert(n, self.cell(who))

    def append_copy(self, cells: list, n: int, who: str) -> None:
        cells.append(copy.deepcopy(cells[n]) | ({"id": self.text(who)} if self.ids else {}))

    def delete(self, cells: list, n: int, who: str) -> None:
        del cells[n]

    def move(self, cells: list, n: int, who: str) -> None:
        one = cells.pop(n)
        cells.insert(self.place([*cells, one]), one)

    def convert(self, cells: list, n: int, who: str) -> None:
        kind = "markdown" if cells[n]["cell_type"] == "code" else "code"
        cells[n] = cell("".join(cells[n]["source"]), cells[n].get("id", ""), kind)

    EDITS = [change_line] * 4 + [run] * 2 + [insert] * 2
    EDITS += [annotate, append_copy, delete, move, convert]
