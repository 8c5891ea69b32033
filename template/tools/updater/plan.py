# Managed by gpu-ml-template: copier update merges fixes into this file.
"""What the update does to every path that the template has, or had."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from . import locks
from .files import Entry, unix
from .merge import Change, combine, settle
from .renames import Names, Renames, own_files, pair
from .repository import SUBMODULE, git, head, prefix, split, tracked, yours
from .template import Template


def plan(template: Template, answers_file: str) -> list[Change]:
    """The changes to all files, sorted by name."""
    renames = Renames(template)
    named = pair(template, renames)
    leaving = {names.yours for names in named if names.base and names.base != names.theirs}
    changes = []
    for names in named:
        moves_away = names.base is None and names.yours in leaving  # another file of this name
        ours = None if moves_away else yours(names.yours)
        if change := decide(template, names, ours):
            changes.append(with_answers(change, template, answers_file))
    taken = {names.yours for names in named}
    changes += [one for one in move_own(template, renames, taken) if one]
    return sorted(block(changes), key=lambda change: change.name)


def decide(template: Template, names: Names, ours: Entry | None) -> Change | None:
    """What becomes of one file, wherever it is and goes."""
    base, theirs = template.old.get(names.base), template.new.get(names.theirs)
    seeded = template.seeded(names.theirs or names.base)
    if seeded:
        change = settle_seeded(names.goal, base, ours, theirs)
    else:
        change = merge_one(template, names.goal, base, ours, theirs)
    if names.contested and not seeded:
        why = f"you renamed it, and the template renamed it to {names.theirs}"
        after = change.after if change else ours
        change = Change(names.goal, "conflict", after, why, (base, ours, theirs))
        if names.goal != names.yours:
            change = change._replace(source=names.yours)
    elif ours and names.goal != names.yours:
        change = change or Change(names.goal, "moved", ours)
        what = "moved" if change.what == "kept" else change.what
        change = change._replace(what=what, source=names.yours)
    elif change and ours and names.theirs not in (None, names.goal) and not change.why:
        change = change._replace(why=f"{names.theirs} in the template")
    if change and change.source and change.source not in tracked():
        why = f"your {change.source} is not in git, and its new place might be"
        return Change(names.goal, "blocked", None, why)
    if change and change.what == "conflict" and names.yours not in tracked():
        why = "yours is not in git; the template has such a file too"
        return Change(names.goal, "blocked", None, why)
    return change


def settle_seeded(
    name: str, base: Entry | None, ours: Entry | None, theirs: Entry | None
) -> Change | None:
    """What becomes of a file that is the user's from the start."""
    if theirs and not base and not ours:
        return Change(name, "added", theirs)
    if base and theirs and base != theirs and ours and name not in locks.LOCKS:
        return Change(
            name, "kept", ours, "yours from the start; the template starts with another one now"
        )
    return None


def merge_one(
    template: Template, name: str, base: Entry | None, ours: Entry | None, theirs: Entry | None
) -> Change | None:
    """What becomes of a managed file: as text, as a notebook, or as hook settings with pins."""
    labels = tuple(f"template {v}" for v in (template.old_version, template.new_version))
    change = settle(name, base, ours, theirs, labels)
    if name != locks.HOOKS or not (change and base and ours and theirs and ours != base):
        return change
    # Pins that only followed the locks are no edits.
    own_locks = [entry.data for lock in locks.LOCKS if (entry := yours(lock))]
    plain = [
        Entry(one.mode, locks.follow(one.data, own_locks, base.data, theirs.data))
        for one in (base, ours)
    ]
    change = combine(name, *plain, theirs, labels) or Change(name, "merged", plain[1])
    if change.stages:
        change = change._replace(stages=(base, ours, theirs))
    return None if change.after == ours else change


def with_answers(change: Change, template: Template, answers_file: str) -> Change:
    """The answers file as Copier needs it: it is the template's, whatever did not merge."""
    ours = change.name == answers_file and yours(answers_file)
    if ours and change.what in ("conflict", "kept", "blocked"):
        return Change(answers_file, "updated", template.new[answers_file], backup=True)
    return change


def move_own(template: Template, renames: Renames, taken: set[str]) -> Iterator[Change]:
    """The user's own files in folders that have moved as a whole."""
    for name in own_files(template):
        place = renames.own_place(name)
        if place != name and name not in taken and (entry := yours(name)):
            yield Change(place, "moved", entry, "yours, with its folder", source=name)
    if not (renames.lines or renames.answers):
        return
    listing = git("ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--directory")
    for name in split(listing):
        if renames.own_place(name) != name and "__pycache__" not in name:
            yield Change(name, "kept", None, "git ignores it, so it stays; its folder has moved")


def with_locks(template: Template, changes: list[Change]) -> tuple[list[Change], str]:
    """The changes with the locks brought forward, and what is left to do."""
    after = {change.name: change for change in changes}

    def result(name: str) -> bytes:
        entry = after[name].after if name in after else yours(name)
        return entry.data if entry else b""

    found = locks.forward(template.old, template.new, yours, result)
    for name, data in found.files.items():
        was = after.get(name) or Change(name, "updated", yours(name))
        if was.what == "conflict" or not was.after:
            continue
        backup = name in locks.LOCKS and unix(yours(name)) != template.old.get(name)
        after[name] = was._replace(after=Entry(was.after.mode, data), backup=backup)
    return list(after.values()), found.todo


# What has no place.


def block(changes: list[Change]) -> list[Change]:
    """The same, without what has no place because something of the user's is in the way."""
    while True:
        active = [change for change in changes if change.what not in ("kept", "blocked")]
        going = {change.name for change in active if change.after is None}
        going |= {change.source for change in active if change.source}
        coming = Counter(change.name for change in active if change.after)
        arriving = {one.name for one in active if one.after and arrives(one)}
        blocked = {}
        for n, change in enumerate(changes):
            if change.what in ("kept", "blocked") or change.after is None:
                continue
            obstacle = change.name if coming[change.name] > 1 else in_the_way(change, going)
            if obstacle := obstacle or nested(change.name, arriving):
                why = f"{obstacle} is in the way"
                blocked[n] = Change(change.name, "blocked", None, why)
        if not blocked:
            return changes
        changes = [blocked.get(n, change) for n, change in enumerate(changes)]


def arrives(change: Change) -> bool:
    """Return whether a change adds a file to a path that had no file of the template."""
    return bool(change.source) or change.what == "added"


def nested(name: str, arriving: set[str]) -> str | None:
    """Return another new file that is inside this path, or that this path is inside of."""
    if name not in arriving:
        return None
    parents = {path.as_posix() for path in Path(name).parents}
    inside = (one for one in sorted(arriving) if one in parents or one.startswith(f"{name}/"))
    return next(inside, None)


def in_the_way(change: Change, going: set[str]) -> str | None:
    """The file or folder of the user that takes the place of a change; None if it is free."""
    name = change.name
    for parent in [path.as_posix() for path in Path(name).parents][-2::-1]:
        if parent in tracked() and parent not in going:
            return parent  # a submodule, or a file that is not on the disk
        if os.path.islink(parent) or (os.path.exists(parent) and not os.path.isdir(parent)):
            return None if parent in going else parent
        if os.path.lexists(f"{parent}/.git"):
            return parent  # a repository of its own
    if tracked().get(name) == SUBMODULE:
        return name
    if arrives(change):
        for one in tracked():  # a submodule, or a file that is not on the disk
            if one.startswith(f"{name}/") and one not in going:
                return one
    if os.path.isdir(name) and not os.path.islink(name):
        for root, folders, files in os.walk(name):
            links = [one for one in folders if os.path.islink(os.path.join(root, one))]
            for one in files + links:
                if (path := Path(root, one).as_posix()) not in going:
                    return path
    elif arrives(change) and os.path.lexists(name) and name not in going:
        return name
    return None


# Where yours is found.


def in_history(name: str) -> str:
    """The command that shows your version of a file; "" if git does not have it as it is."""
    ours = yours(name)
    done = subprocess.run(["git", "cat-file", "blob", f"HEAD:./{name}"], capture_output=True)
    if done.returncode == 0 and unix(Entry("", done.stdout)) == unix(Entry("", ours.data)):
        return f"git show {head()[:12]}:{shlex.quote(prefix() + name)}"
    return ""
