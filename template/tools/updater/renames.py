# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Names that changed: the template's renames, answers that are part of a name, and yours.

The template declares its renames in renames.txt, since two distant versions of a file may have too
little in common to be recognised. Yours are in the history of the project.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from .files import LINK, Refused
from .repository import SUBMODULE, asks, git, split, tracked, yours
from .template import Template

MANY = 2000  # files of the user's own


class Names(NamedTuple):
    """What one file is called in the old version, here, and in the new version; where it goes."""

    base: str | None
    yours: str
    theirs: str | None
    goal: str
    contested: bool = False  # renamed on both sides, and differently


def declared(text: str) -> list[tuple[str, str]]:
    """The lines of renames.txt, `OLD -> NEW`, the oldest first."""
    found = []
    for line in map(str.strip, text.splitlines()):
        if line and not line.startswith("#"):
            sides = [side.strip() for side in line.split(" -> ")]
            parts = [part for side in sides for part in side.removesuffix("/").lower().split("/")]
            if len(sides) != 2 or {*parts} & {"", ".", "..", ".git"}:
                raise Refused(
                    f"the template's renames.txt has a line {line!r}, and not OLD -> NEW, two names"
                    " in a project: tell its maintainers"
                )
            found.append((sides[0], sides[1]))
    return found


class Renames:
    """The template's renames from one version to another, with a project's answers."""

    def __init__(self, template: Template):
        self.old, self.new = template.old, template.new
        old, new = template.old_answers, template.new_answers
        lines = declared(template.renames)
        self.lines = [(fill(left, old), fill(right, old)) for left, right in lines]
        self.rights = [fill(right, new) for _, right in lines]
        both = [key for key in old if key in new and not key.startswith("_")]
        changed = [(old[key], new[key]) for key in both if old[key] != new[key]]
        self.answers = [pair for pair in changed if all(isinstance(s, str) and s for s in pair)]

    def follow(self, name: str) -> str:
        """A name of the old version after all lines, with the old answers."""
        for left, right in self.lines:
            if left.endswith("/") and name.startswith(left):
                name = right + name[len(left) :]
            elif name == left:
                name = right
        return name

    def variants(self, name: str) -> list[str]:
        """A name with the answers that have changed, one by one and all of them."""
        found, together = [name], name
        for old, new in self.answers:
            together = together.replace(old, new)
            found.append(name.replace(old, new))
        return [*found, together]

    def new_name(self, name: str) -> str:
        """What the new version calls a file of the old one; the same name if it has no other."""
        target = self.follow(name)
        if target == name and name in self.new:
            return name
        for one in self.variants(target):
            if one != name and one in self.new and (one not in self.old or self.leaves(one)):
                return one
        return name

    def leaves(self, name: str) -> bool:
        """Whether a name becomes free, since its file gets a new one."""
        place = self.follow(name)
        return place != name and place in self.new and place not in self.old

    def earlier_names(self, name: str) -> list[str]:
        """A name and those that older versions had for the file: yours may be known by them."""
        older = [left for left, _ in self.lines if not left.endswith("/")]
        return [name, *(left for left in older if self.follow(left) == self.follow(name))]

    def own_place(self, name: str) -> str:
        """Where a file of the user's own goes: along with its folder, if that moved as a whole."""

        def folders(one: str) -> set[str]:
            return {f"{path}/" for path in Path(one).parents[:-1]}

        def has(files: dict, *some: str) -> bool:
            return any(one.startswith(some) for one in files)

        old, place = name, ""  # the name after the lines so far, with the old answers and the new
        for (left, right), new_right in zip(self.lines, self.rights, strict=True):
            if left.endswith("/") and old.startswith(left):
                old, place = right + old[len(left) :], new_right + old[len(left) :]
        if place:
            left, right = folders(name) - folders(place), folders(place) - folders(name)
            came, went = tuple(right), tuple(left)
            if any(
                one.startswith(went) and self.new_name(one).startswith(came) for one in self.old
            ):  # else it is an old story
                return place
        for parent in sorted(folders(name)):
            if has(self.old, parent) and not has(self.new, parent):
                for one in self.variants(parent):
                    if one != parent and has(self.new, one):
                        return one + name[len(parent) :]
        return name


def fill(name: str, answers: dict) -> str:
    """A name with the answers in the place of {{question}}."""
    return re.sub(r"{{ *(\w+) *}}", lambda hit: str(answers.get(hit[1], hit[0])), name)


def pair(template: Template, renames: Renames) -> list[Names]:
    """The names of every file that the template has or had, and where the user's are."""
    here = moved_by_user(template, renames)
    found: list[Names] = []
    taken: set[str] = set()
    for base in template.old:
        theirs = renames.new_name(base)
        place = here.get(base, base)
        if theirs not in template.new or theirs in taken:
            # A rename that the template does not declare, but that the user has made as well.
            theirs = place if place in template.new and place not in taken else None
        taken.add(theirs)
        goal, contested = place, False
        if place == base:
            goal = theirs or base
        elif place != theirs:
            goal = renames.own_place(place)
            by_line = any(renames.follow(base) == right for _, right in renames.lines)
            contested = theirs not in (None, base) and (goal == place or by_line)
        found.append(Names(base, place, theirs, goal, contested))
    found += [Names(None, name, name, name) for name in template.new if name not in taken]
    return found


# The user's renames.


def moved_by_user(template: Template, renames: Renames) -> dict[str, str]:
    """Where files are that the user has renamed, by their old names."""
    lost = [name for name in template.old if yours(name) is None]
    found: dict[str, str] = {}
    unknown = []
    for name in lost:
        places = [trace(known) for known in renames.earlier_names(name)]
        for place in filter(None, places):
            if place not in template.old and place not in found.values():
                found[name] = place
                break
        if places == [None] * len(places):  # its history is not here
            unknown.append(name)
    own = [name for name in own_files(template) if name not in found.values()]
    goals = {renames.new_name(name) for name in unknown} - {*unknown}
    own += [name for name in goals if name in tracked() and name not in own]
    alike = similar({name: template.old[name] for name in unknown}, own)
    # What a link of the user's hides is not lost, but it may be what another file resembles.
    gone = {name for name in alike if os.path.isdir(name) or not os.path.lexists(name)}
    return {name: place for name, place in alike.items() if name in gone} | found


def trace(name: str) -> str | None:
    """Where the history of the project says that a file went.

    Return "" if it was deleted, and None if the history does not know it.
    """
    seen = {name}
    while True:
        last = ["log", "-1", "--no-merges", "--diff-filter=D", "--format=%H", "--", f"./{name}"]
        commit = asks("--literal-pathspecs", *last)
        if not commit:
            return None if seen == {name} else ""
        show = ["show", "--format=", "--name-status", "--relative", "--diff-filter=R", "-M", "-z"]
        items = split(git(*show, "--no-rename-empty", commit))
        went = {old: new for _, old, new in zip(*[iter(items)] * 3, strict=True)}
        name = went.get(name, "")
        if not name or name in seen:
            return ""
        if yours(name) is not None and name in tracked():
            return name
        seen.add(name)


def own_files(template: Template) -> list[str]:
    """The tracked files that the template neither has nor had."""
    both = template.old.keys() | template.new.keys()
    return [name for name, mode in tracked().items() if name not in both and mode != SUBMODULE]


def similar(lost: dict, own: list[str]) -> dict[str, str]:
    """The user's files that resemble lost ones by half, as git judges it."""
    if len(own) > MANY:  # a data set in git, say: it would take minutes
        kinds = {Path(name).suffix for name in lost}
        own = [name for name in own if Path(name).suffix in kinds]
    entries = {name: entry for name in own if (entry := yours(name)) and entry.mode != LINK}
    entries = {name: entry for name, entry in entries.items() if len(entry.data) < 1_000_000}
    if not lost or not entries:
        return {}
    with tempfile.TemporaryDirectory() as scratch:
        for side, files in (("a", lost), ("b", entries)):
            for name, entry in files.items():
                path = Path(scratch, side, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(entry.data)
        compare = ["git", "diff", "--no-index", "--name-status", "-z", "-M", "--no-rename-empty"]
        done = subprocess.run(
            [*compare, "--diff-filter=R", "a", "b"], cwd=scratch, capture_output=True
        )
    items = split(done.stdout)
    return {old[2:]: new[2:] for _, old, new in zip(*[iter(items)] * 3, strict=True)}
