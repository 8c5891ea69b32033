"""What has to become of every path, worked out without the code that is tested.

The base is a fresh copy of the old release, theirs one of the new release, yours the project
before the update. Text is merged by `git merge-file`; every other rule is in these lines. Where
the rules leave a choice (two files look alike by chance), a path has several outcomes.
"""

import subprocess
import tempfile
from pathlib import Path, PurePath
from typing import NamedTuple

from . import locks
from .files import LINK, Entry, alike, unix, windows
from .notebooks import cells_of, faults
from .renames import destinations
from .world import ANSWERS, HOOKS, NEW, OLD, Project, seeded

# What becomes of a path.
UNTOUCHED, FRESH, MERGED = "untouched", "as in a fresh copy", "merged"
BOTH, ALONE, OWN = "the same on both sides", "edited by the user alone", "the user's own"
DELETED, KEPT = "deleted by the user, changed by the template", "edited, deleted by the template"
CONFLICT, BINARY, NOTEBOOK = "text in conflict", "binary or link in conflict", "notebook"
SEEDED, BLOCKED, CELLS = "seeded, and the user's", "its place is taken", "notebook merged by cells"
MOVED, GONE = "moved as it was", "moved away"
FOLLOWED = "merged at the user's new name"
RENAMED_TWICE = "renamed by both, to different names"
STUCK = "stays, since its new place is taken"
IN_CONFLICT = (CONFLICT, BINARY, RENAMED_TWICE)


class Outcome(NamedTuple):
    """What becomes of a path, and why; stages are those of a conflict."""

    what: str
    entry: Entry | None
    stages: tuple[Entry | None, ...] = ()


class Track(NamedTuple):
    """A template's file: its names in the old release, in the project and in the new release."""

    base: str | None
    yours: str
    theirs: str


class Plan(NamedTuple):
    """What may become of each path, the likeliest first; and where each file of the user's goes."""

    outcomes: dict[str, list[Outcome]]
    places: dict[str, tuple[str, str]]  # by the user's name: the base's name, the place


def merge_file(base: bytes, yours: bytes, theirs: bytes) -> tuple[bytes, bool] | None:
    """Return what `git merge-file` makes of it, and if that is clean; None for binary files."""
    with tempfile.TemporaryDirectory() as scratch:
        names = [Path(scratch, name) for name in ("yours", "base", "theirs")]
        for path, data in zip(names, (yours, base, theirs), strict=True):
            path.write_bytes(data)
        labels = ["-L", "yours", "-L", f"template {OLD}", "-L", f"template {NEW}"]
        command = ["git", "merge-file", "-p", *labels]
        done = subprocess.run([*command, *names], capture_output=True)
    return None if done.returncode > 127 else (done.stdout, done.returncode == 0)


def merge(name: str, base: Entry | None, yours: Entry | None, theirs: Entry | None) -> Outcome:
    """What becomes of a managed file."""
    if alike(base, theirs):
        return Outcome(UNTOUCHED if alike(base, yours) else ALONE, yours)
    if alike(yours, theirs):
        return Outcome(BOTH, yours)
    if alike(yours, base):
        return Outcome(FRESH, theirs)
    if yours is None:
        return Outcome(DELETED, None)
    crlf = yours.mode != LINK and windows(yours.data)
    stages = (base, yours, theirs)
    plain = [one and crlf and one._replace(data=unix(one.data)) or one for one in stages]
    if theirs is None:  # newlines alone are no edit
        return Outcome(FRESH, None) if alike(*plain[:2]) else Outcome(KEPT, yours)
    if any(one and one.mode == LINK for one in stages):
        return Outcome(BINARY, yours, stages)
    old, mine, new = (one.data if one else b"" for one in plain)
    if name == HOOKS and base:
        old, mine = locks.follow(old, new, old), locks.follow(old, new, mine)
    merged = merge_text(base, old, mine, new)
    if merged is None:
        return Outcome(BINARY, yours, stages)
    text, clean = merged
    mode = theirs.mode if base and base.mode == yours.mode else yours.mode
    entry = Entry(mode, text.replace(b"\n", b"\r\n") if crlf else text)
    if name.endswith(".ipynb") and (not clean or torn(text, old, mine, new)):
        return Outcome(NOTEBOOK, entry, stages)
    return Outcome(MERGED, entry) if clean else Outcome(CONFLICT, entry, stages)


def merge_text(base: Entry | None, old: bytes, mine: bytes, new: bytes) -> tuple | None:
    if mine == new or base and old == new:
        return mine, True
    return (new, True) if base and mine == old else merge_file(old, mine, new)


def torn(text: bytes, old: bytes, mine: bytes, new: bytes) -> bool:
    """Whether merging notebooks as text has made no notebook, or one that lacks something."""
    sides = (old or b'{"cells": []}', mine, new)
    three = all(cells_of(side) is not None for side in sides)
    return three and bool(faults(text, old, mine, new, unmerged=False))


# Every path.


def tracks(project: Project) -> list[Track]:
    """List the template's files, first those that the old release had."""
    moves, certain = project.renames.moves, project.renames.certain
    found = [Track(name, certain.get(name, name), moves.get(name, name)) for name in project.base]
    had = {track.theirs for track in found}
    return found + [Track(None, name, name) for name in project.theirs if name not in had]


def settle(project: Project, track: Track, yours: Entry | None) -> tuple[str, Outcome]:
    """Say where a template's file goes, and what becomes of it there."""
    base = project.base.get(track.base) if track.base else None
    theirs = project.theirs.get(track.theirs)
    followed = track.base and track.yours != track.base
    place = track.yours if followed else track.theirs
    if place == ANSWERS:  # Copier's own
        return place, Outcome(FRESH, theirs)
    if seeded(track.theirs, project.seeded):
        new = theirs and not base and not yours
        kind = MOVED if yours and place != track.yours else SEEDED
        return place, Outcome(FRESH, theirs) if new else Outcome(kind, yours)
    found = merge(place, base, yours, theirs)
    if yours and track.base and track.yours not in (track.base, track.theirs):
        if track.theirs != track.base:
            return place, Outcome(RENAMED_TWICE, found.entry, (base, yours, theirs))
        if found.what == MERGED:
            return place, found._replace(what=FOLLOWED)
    if place != track.yours and found.what in (UNTOUCHED, ALONE):
        return place, found._replace(what=MOVED if yours else DELETED)
    return place, found


def plan(project: Project) -> Plan:
    """Work out what has to become of every path of the project and of both releases."""
    before, found, places = project.before, {}, {}
    owned = set()
    for track in tracks(project):
        name = track.yours
        free = track.base is None and name in owned  # the file that was here has its own track
        place, outcome = settle(project, track, None if free else before.get(name))
        if free and found[name][0].what != GONE:  # the user gave its name to another file
            kept = found[name]
            blocked = Outcome(BLOCKED, kept[0].entry, kept[0].stages)
            found[name] = [blocked, Outcome(BLOCKED, before[name]), *add_add(project, name)]
            # Both sides may have moved one file there: then it has a base.
            base = project.base[places[name][0]]
            found[name].insert(0, merge(name, base, before[name], project.theirs.get(name)))
            if seeded(name, project.seeded):  # nothing is missing: the place was the user's before
                found[name] = [Outcome(SEEDED, before[name]), kept[0], *found[name]]
            continue
        if track.base and name in before:
            owned.add(name)
            places[name] = (track.base, place)
        found.setdefault(place, [outcome, *leeway(project, track, outcome)])
        if place != name and name in before:
            move(project, found, name, place, outcome)
        elif track.base and place not in (name, track.base) and place in before:
            own = Outcome(OWN, before[place])  # the user deleted the template's file
            both = settle(project, Track(track.base, place, place), before[place])[1]
            blocked = Outcome(BLOCKED, before[place])
            found[place] = [own, both, blocked, *add_add(project, place)]
            places[place] = (track.base, place)
        elif free:
            found[name] = [outcome]
            if name in project.ignored:  # not in git, so it may stay, and keep its name
                found[name].append(Outcome(BLOCKED, before[name]))
    for track in tracks(project):
        if track.base not in (None, track.yours) and track.yours in before:
            follow_folder(project, found, places, track)
    for name in sorted(before.keys() - owned - found.keys()):
        take_along(project, found, places, name)
    look_alike(project, found, places)
    for name, outs in found.items():
        if name in project.ignored and outs[0].stages:  # git could not tell of a conflict
            found[name] = [Outcome(BLOCKED, before[name])]
    block(project, found, places)
    for name in {*project.base, *before, *project.theirs} - found.keys():
        found[name] = [Outcome(GONE, None)]
    return Plan(found, places)


def leeway(project: Project, track: Track, outcome: Outcome) -> list[Outcome]:
    """List what the rules allow as well."""
    yours = project.before.get(track.yours)
    if outcome.what in (MERGED, FOLLOWED) and track.theirs.endswith(".ipynb"):
        base = project.base.get(track.base) if track.base else None
        return [Outcome(NOTEBOOK, outcome.entry, (base, yours, project.theirs[track.theirs]))]
    if track.base and track.yours != track.base and yours and not outcome.entry:
        return [Outcome(KEPT, yours)]  # renamed by the user, deleted by the template
    if track.base is None and track.theirs in project.base and not yours:
        return [Outcome(DELETED, None)]  # deleted by the user, renamed and made again
    return []


def add_add(project: Project, name: str) -> list[Outcome]:
    """What becomes of two files that both sides added under one name."""
    return [merge(name, None, project.before.get(name), project.theirs.get(name))]


def move(project: Project, found: dict, name: str, place: str, outcome: Outcome) -> None:
    """Move a file of the user's to a place, unless another one has it."""
    before = project.before
    if place in before:
        found[name] = [Outcome(STUCK, before[name])]
        found[place] = [Outcome(BLOCKED, before[place])]
        return
    found[place] = [outcome]
    found[name] = [Outcome(GONE, None)]
    if name in project.ignored:  # not in git, so it may stay
        found[name].append(Outcome(STUCK, before[name]))
        found[place] += [Outcome(BLOCKED, None), Outcome(FRESH, project.theirs.get(place))]


def follow_folder(project: Project, found: dict, places: dict, track: Track) -> None:
    """Allow for a file that the user moved into a folder, and that moves on with this folder."""
    name, renames = track.yours, project.renames
    yours, outcome = project.before[name], found[name][0]
    base, theirs = project.base[track.base], project.theirs.get(track.theirs)
    for target in destinations(name, project.base, project.theirs, renames)[0]:
        alone = merge(target, base, yours, theirs)
        alone = alone._replace(what=MOVED) if alone.what in (UNTOUCHED, ALONE) else alone
        found[name] += [Outcome(STUCK, yours), Outcome(GONE, None)]
        found.setdefault(target, [Outcome(OWN, project.before.get(target))])
        found[target] += [outcome, alone, Outcome(BLOCKED, project.before.get(target))]
        places[name] = (track.base, target)


def take_along(project: Project, found: dict, places: dict, name: str) -> None:
    """Move a file of the user's own with its folder."""
    yours = project.before[name]
    found[name] = [Outcome(OWN, yours)]
    if name in project.ignored:
        return
    targets, must = destinations(name, project.base, project.theirs, project.renames)
    for target in targets:
        if target in project.before or target in found:
            theirs = found.get(target, [])
            found[name] += [Outcome(STUCK, yours), Outcome(GONE, None)]
            found[target] = [*theirs, Outcome(BLOCKED, project.before.get(target))]
            found[target] += [merge(target, None, yours, project.theirs.get(target))]
            for source, (_, place) in places.items():
                if place == target and source != place:  # two files want it
                    found[source].append(Outcome(STUCK, project.before[source]))
            places[name] = ("", target)
            continue
        gone, moved = Outcome(GONE, None), Outcome(MOVED, yours)
        found[name] = [gone] if must else [Outcome(OWN, yours), gone]
        found[target] = [moved] if must else [Outcome(OWN, None), moved]
        places[name] = ("", target)


def look_alike(project: Project, found: dict, places: dict) -> None:
    """Allow for files of the user's that git may take for renamed ones of the template."""
    for base, name in project.renames.chance:
        track = Track(base, name, project.renames.moves.get(base, base))
        _, outcome = settle(project, track, project.before[name])
        found.setdefault(name, [Outcome(OWN, project.before[name])]).append(outcome)
        places.setdefault(name, (base, name))


def block(project: Project, found: dict, places: dict) -> None:
    """Leave out the files whose place the user's files take, or two new ones from each other."""
    while True:
        stay = {name for name in project.before if found.get(name, [OWN_STAYS])[0].entry}
        new = {name for name, outs in found.items() if outs[0].entry} - project.before.keys()
        taken = [name for name in new if in_the_way(name, stay | new)]
        for name in taken:
            found[name] = [Outcome(BLOCKED, None)]
            for source, (_, place) in places.items():
                if place == name and source != name:
                    found[source] = [Outcome(STUCK, project.before[source])]
        if not taken:
            break
    # Files that may move, and may need each other's place.
    possible = {name for name, outs in found.items() if any(out.entry for out in outs)}
    new = possible - project.before.keys()
    for name in sorted(name for name in new if in_the_way(name, new)):
        found[name].append(Outcome(BLOCKED, None))
        for source, (_, place) in places.items():
            if place == name and source != name:
                found[source].append(Outcome(STUCK, project.before[source]))


OWN_STAYS = Outcome(OWN, Entry("", b""))


def in_the_way(name: str, others: set[str]) -> bool:
    """Whether other files take the place of a new file."""
    parents = {path.as_posix() for path in PurePath(name).parents}
    below = any(other.startswith(f"{name}/") for other in others)
    return bool(parents & others) or below
