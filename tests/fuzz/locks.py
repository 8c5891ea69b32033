"""What becomes of the pins: those of the lock, and those of the pre-commit settings."""

import importlib.util
import os
import re
import shutil
import tomllib

from .files import LINK, Entry, Files, alike, unix
from .world import HOOKS, LOCK, OWN_PIN, TOOL, Project

PIN = re.compile(rb"(?<![\w.:-])([\w.-]+)==([^\s,\]]+)")
Pins = dict[bytes, bytes]


def pins(text: bytes) -> Pins:
    return dict(PIN.findall(text))


def with_pins(text: bytes, old: set[tuple[bytes, bytes]], new: Pins) -> bytes:
    """Set those of these old pins that are in a text to their new versions."""

    def pin(hit: re.Match) -> bytes:
        name, version = hit.groups()
        return b"%s==%s" % (name, new.get(name, version) if hit.groups() in old else version)

    return PIN.sub(pin, text)


def follow(base: bytes, theirs: bytes, text: bytes) -> bytes:
    """Move the pins of the template's hooks as the new release does; all others are an edit."""
    return with_pins(text, set(PIN.findall(base)), pins(theirs))


def dependencies(files: Files) -> object:
    try:
        return tomllib.loads(files["pyproject.toml"].data.decode())
    except (KeyError, ValueError):
        return None


def moves(project: Project) -> bool:
    """Whether the template brings another lock than it brought."""
    base, yours, theirs = project.sides(LOCK)
    return bool(yours and theirs and yours.mode != LINK and not alike(base, theirs))


def fits(project: Project, after: Files) -> bool:
    """Whether the template's lock is right as it is, since the dependencies are the template's."""
    wish = dependencies(project.theirs)
    return wish is not None and dependencies(after) == wish


def made_again(project: Project, after: Files) -> bool:
    """Whether the project's own tool can make the lock, which the template has not changed."""
    tool, wish = project.before.get(TOOL), dependencies(after)
    if not tool or not alike(tool, project.theirs.get(TOOL)) or not has_uv():
        return False
    asked = wish.get("project", {}).get("dependencies") if isinstance(wish, dict) else None
    return bool(asked) and isinstance(asked, list)


def has_uv() -> bool:
    found = os.environ.get("UV") or shutil.which("uv") or importlib.util.find_spec("uv")
    return bool(found)


def left(project: Project, after: Files) -> bool:
    """Whether the lock is left to the user."""
    return moves(project) and not fits(project, after) and not made_again(project, after)


def lock_is_right(project: Project, now: Entry | None, after: Files) -> bool:
    """The template's pins win; packages of the user's stay where the dependencies are theirs."""
    base, yours, theirs = project.sides(LOCK)
    if not moves(project):
        return alike(now, yours if base or yours else theirs)
    if not now or now.mode != yours.mode:
        return False
    if fits(project, after):
        return unix(now.data) == unix(theirs.data)
    old, mine, new = (pins(one.data if one else b"") for one in (base, yours, theirs))
    wanted = {**{name: pin for name, pin in mine.items() if name not in old}, **new}
    if made_again(project, after):
        wish = dependencies(after)["project"]["dependencies"]
        wanted = {**{str(name).encode(): b"9" for name in wish}, **wanted}
    return pins(now.data) == wanted


def hooks_are_right(
    project: Project, merged: Entry | None, now: Entry | None, after: Files
) -> bool:
    """The hooks are merged; a lock that is made again sets the template's tools, and no others."""
    if alike(merged, now):
        return True
    theirs, lock, own = project.theirs.get(HOOKS), after.get(LOCK), project.before.get(HOOKS)
    if not (merged and now and theirs and lock and own) or merged.mode != now.mode:
        return False
    known = [files[LOCK].data for files in (project.before, project.theirs) if LOCK in files]
    locked = {one for text in known for one in PIN.findall(text)} - mine(project)
    return moves(project) and now.data == with_pins(merged.data, locked, pins(lock.data))


def mine(project: Project) -> set[tuple[bytes, bytes]]:
    """The pins of the user's hooks that are neither the template's nor those of the user's lock."""
    texts = [one.data for one in (project.base.get(HOOKS), project.before.get(LOCK)) if one]
    return set(PIN.findall(project.before[HOOKS].data)) - set(PIN.findall(b"\n".join(texts)))


def lost_pin(before: Files, after: Files) -> bool:
    """Whether the pin of the user's own hook is gone."""
    mine, now = before.get(HOOKS), after.get(HOOKS)
    return bool(mine and now and OWN_PIN.encode() in mine.data and OWN_PIN.encode() not in now.data)
