"""Which file of the old release is which of the project, and which of the new release.

The template's renames are those that the example drew. The user's are drawn as well; `git diff -M`
only says which of them git can see, and which other files look alike by chance.
"""

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import NamedTuple

from .files import Files

Lines = list[tuple[str, str]]  # of renames.txt, with {name} for the answer
Answers = dict[str, str]


def fill(name: str, answers: Answers) -> str:
    return name.replace("{name}", answers["name"])


def final(lines: Lines, name: str, old: Answers, new: Answers) -> str | None:
    """Follow a file of the old release through renames.txt; None if no line is about it."""
    found = None
    for left, right in lines:
        here, side = (name, fill(left, old)) if found is None else (found, left)
        if here == side:
            found = right
        elif side.endswith("/") and here.startswith(side):
            found = right + here[len(side) :]
    return None if found is None else fill(found, new)


def by_lines(base: Files, theirs: Files, lines: Lines, old: Answers, new: Answers) -> dict:
    """Map the names that renames.txt moves between these two releases."""
    found = {name: final(lines, name, old, new) for name in base}
    return {
        name: target
        for name, target in found.items()
        if target and target != name and target not in base and target in theirs
    }


def by_answers(base: Files, theirs: Files, old: Answers, new: Answers) -> dict[str, str]:
    """Map the names that hold an answer, and move as the answer changes."""
    found = {name: name.replace(old["name"], new["name"]) for name in base}
    return {
        name: target
        for name, target in found.items()
        if target not in base and target in theirs and name not in theirs
    }


class Renames(NamedTuple):
    """Names of the old release, with the name that each has elsewhere."""

    lines: dict[str, str] = {}  # new names by renames.txt
    answers: dict[str, str] = {}  # new names by an answer
    folders: tuple[tuple[str, str], ...] = ()  # filled folder lines
    answer: tuple[str, str] = ("", "")  # the old name and the new one
    certain: dict[str, str] = {}  # the user's names, drawn and seen by git
    chance: frozenset[tuple[str, str]] = frozenset()  # pairs of files that look alike

    @property
    def moves(self) -> dict[str, str]:
        """The new names of the template's files."""
        return self.answers | self.lines


def templates(base: Files, theirs: Files, lines: Lines, old: Answers, data: Answers) -> Renames:
    """Find what the template renamed between two releases."""
    new = old | data
    folders = [(fill(a, old), fill(b, new)) for a, b in lines if a.endswith("/")]
    named = by_lines(base, theirs, lines, old, new)
    answer = (old["name"], new["name"])
    return Renames(named, by_answers(base, theirs, old, new), tuple(folders), answer)


def destinations(
    name: str, base: Iterable[str], theirs: Iterable[str], renames: Renames
) -> tuple[list[str], bool]:
    """Where a file of the user's may move with its folder, and whether it must."""
    found, must = [], False
    for left, right in renames.folders:
        inside = [one for one in base if one.startswith(left)]
        if name.startswith(left) and any(one in renames.lines for one in inside):
            found.append(right + name[len(left) :])
            must = must or all(renames.lines.get(one) == right + one[len(left) :] for one in inside)
    for parent in list(PurePath(name).parents)[:-1]:
        left = f"{parent.as_posix()}/"
        right = left.replace(*renames.answer)
        if right == left or not any(one.startswith(right) for one in theirs):
            continue
        found.append(right + name[len(left) :])
        inside = [one for one in base if one.startswith(left)]
        whole = all(renames.moves.get(one) == right + one[len(left) :] for one in inside)
        must = must or bool(inside) and whole
    found = list(dict.fromkeys(found))
    return found, must and len(found) == 1


# What git sees of the user's renames.


class History:
    """The renames that somebody made, as the example makes them."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}  # by the first name

    def note(self, source: str, target: str) -> None:
        first = next((old for old, now in self.names.items() if now == source), source)
        self.names = {old: now for old, now in self.names.items() if now != target}
        self.names[first] = target


def alike_pairs(old: Files, new: Files) -> dict[str, str]:
    """Pair the names of two trees as `git diff -M` does."""
    with tempfile.TemporaryDirectory() as scratch:
        git(scratch, "init", "--quiet", "--bare")
        git(scratch, "fast-import", "--quiet", data=stream(("old", old), ("new", new)))
        return pairs(git(scratch, *DIFF, "old", "new"))


def stream(*trees: tuple[str, Files]) -> bytes:
    """Tell `git fast-import` of a commit for each of these trees."""
    found = []
    for branch, files in trees:
        found += [b"commit refs/heads/%s\ncommitter A <a> 0 +0000\ndata 0\n" % branch.encode()]
        for name, one in files.items():
            quoted = os.fsencode(name).replace(b"\\", b"\\\\").replace(b'"', b'\\"')
            found.append(b'M %s inline "%s"\n' % (one.mode.encode(), quoted))
            found.append(b"data %d\n%s\n" % (len(one.data), one.data))
    return b"".join(found)


DIFF = ("diff-tree", "-r", "-M50%", "-l0", "--name-status", "-z", "--relative", "--no-commit-id")


def pairs(said: bytes) -> dict[str, str]:
    """Read the renames from what `git diff --name-status -z` says."""
    parts, found = iter(os.fsdecode(said).split("\0")), {}
    for state in parts:
        if state:
            source = next(parts)
            if state[0] == "R":
                found[source] = next(parts)
    return found


def walk(folder: Path) -> dict[str, str]:
    """Follow the renames in a project's commits, as git sees each."""
    commits, seen = git(folder, "rev-list", "--reverse", "HEAD").decode().split(), History()
    for one in commits[1:]:
        here = pairs(git(folder, *DIFF, one))
        before = dict(seen.names)
        for source, target in here.items():
            first = next((old for old, now in before.items() if now == source), source)
            seen.names[first] = target
    return seen.names


def git(folder: str | Path, *args: str, data: bytes = b"") -> bytes:
    return subprocess.run(
        ["git", *args], cwd=folder, input=data, check=True, capture_output=True
    ).stdout


def users(
    folder: Path, base: Files, tracked: Files, drawn: dict[str, str], known: set[str]
) -> tuple[dict[str, str], frozenset[tuple[str, str]]]:
    """Split the user's renames into those that git must see, and pairs that look alike.

    A file whose name is known for another file of the template may be left out of the pairs.
    """
    gone = [name for name in base if name not in tracked]
    told, whole = walk(folder), alike_pairs(base, tracked)
    own = alike_pairs(
        {name: base[name] for name in gone},
        {name: one for name, one in tracked.items() if name not in known},
    )
    certain = {}
    for name in gone:
        target, seen = drawn.get(name), told.get(name, whole.get(name))
        if target and target == seen and target in tracked and target not in base:
            certain[name] = target
    taken = {*certain.values(), *base}
    chance = {
        (name, target)
        for seen in (told, whole, own, drawn)
        for name, target in seen.items()
        if name in gone and name not in certain and target in tracked and target not in taken
    }
    return certain, frozenset(chance)
