# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Bring a project's locks to the template's, and the pins of its hooks along with them.

The template's pins were tested together, so they win. Packages that you added keep your pins, and
so does a hook whose version is neither the template's nor that of your own locks.
"""

import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from .files import Entry, unix

LOCKS = tuple(f"requirements/{name}.txt" for name in ("cpu", "gpu", "dev", "scale", "audit"))
HOOKS = ".pre-commit-config.yaml"  # pins its tools at the versions in the locks
LINK = "120000"
LATER = "the locks hold the template's pins and yours; finish them with `nox -s lock`"
PIN = re.compile(rb"([\w.-]+)==([\w.!+*-]+)")
LOCKED = re.compile(rb"^([\w.-]+)(?:\[[^]\n]*\])?==([\w.!+-]+)", re.MULTILINE)
# A comment; or a requirement or option, which continues after a backslash and in indented lines.
LINE = re.compile(rb"^[ \t]*#.*|^.*\S.*(?:(?<=\\)\n.*|\n[ \t]+.*)*", re.MULTILINE)
PACKAGE = re.compile(rb"\s*([A-Za-z0-9][\w.-]*)\s*(?:[\[(=<>!~;@\\#]|\Z)")
Pins = set[tuple[bytes, bytes]]  # name and version
Render = Mapping[str, Entry]
Read = Callable[[str], Entry | None]
Result = Callable[[str], bytes]


class Forwarded(NamedTuple):
    """The files that change, by name, and what is left to do ("" for nothing)."""

    files: dict[str, bytes]
    todo: str


def follow(config: bytes, own_locks: Iterable[bytes], base: bytes, theirs: bytes) -> bytes:
    """Return hook settings with the pins that the template moved, so that the merge sees no edit.

    `base` and `theirs` are the template's old and new settings. A pin moves if its version is that
    of `base` or of one of your locks. Any other version is yours and stays.
    """
    old, new = versions(PIN.findall(base)), versions(PIN.findall(theirs))
    moved = {name: pins for name, pins in new.items() if pins != old.get(name, pins)}
    return repin(config, locked(own_locks).union(PIN.findall(base)), moved)


def own_pins(config: bytes, own_locks: Iterable[bytes], base: bytes) -> Pins:
    """Return the pins of hook settings that neither your locks nor the template's settings have."""
    return set(PIN.findall(config)) - locked(own_locks).union(PIN.findall(base))


def forward(old: Render, new: Render, yours: Read, result: Result) -> Forwarded:
    """Return the locks that you still have, and HOOKS, for the template's new version.

    `old` and `new` are the renders, `yours` reads a file as it is, and `result` returns its bytes
    after the merge. A changed lock has your newlines. Only an unfinished one keeps your comments
    and options, so the caller names a backup where yours was not the template's old lock.
    The caller leaves HOOKS out if it is in conflict.
    """
    here = {name: mine for name in LOCKS if is_file(mine := yours(name)) and is_file(new.get(name))}
    if all(new[name] == old.get(name) for name in here):
        return Forwarded({}, "")
    seeds = locks = {name: new[name].data for name in here}
    try:
        wish, todo = ranges(result("pyproject.toml")), ""
    except ValueError:
        wish, todo = None, "resolve pyproject.toml, then `nox -s lock`"
    if "pyproject.toml" not in new or wish != ranges(new["pyproject.toml"].data):
        parts = {name: with_yours(here[name], old.get(name), new[name]) for name in here}
        seeds = {name: pins for name, (_, pins) in parts.items()}
        made, todo = ({}, todo) if todo else lock_again(seeds, new, yours, result)
        locks = made or {name: others + pins for name, (others, pins) in parts.items()}
    files = {name: like(here[name], data) for name, data in locks.items()}
    files = {name: data for name, data in files.items() if data != here[name].data}
    # After the merge, a pin that follows has the version of your locks or of the seeds.
    own_locks, config = [mine.data for mine in here.values()], result(HOOKS)
    own = own_pins(data_of(yours(HOOKS)), own_locks, data_of(old.get(HOOKS)))
    moved = versions(pin for data in locks.values() for pin in LOCKED.findall(data))
    pinned = repin(config, locked([*own_locks, *seeds.values()]) - own, moved)
    return Forwarded(files if pinned == config else {**files, HOOKS: pinned}, todo)


def lock_again(
    seeds: Mapping[str, bytes], new: Render, yours: Read, result: Result
) -> tuple[dict[str, bytes], str]:
    """Let the project's tools/lock.py make the locks for your ranges; return what is left to do.

    The hook settings stay out of it: `forward` knows which of their pins are yours.
    """
    tool, its = yours("tools/lock.py"), new.get("tools/lock.py")
    if not (is_file(tool) and is_file(its) and tool.data == its.data):
        return {}, LATER  # the template's new code does not run before you have seen it
    if not os.environ.get("UV"):
        return {}, f"uv is missing; {LATER}"
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in {**seeds, "pyproject.toml": result("pyproject.toml")}.items():
            Path(scratch, name).parent.mkdir(exist_ok=True)
            Path(scratch, name).write_bytes(data)
        command = [sys.executable, "-I", "-B", "tools/lock.py", scratch]
        code = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
        made = {name: Path(scratch, name).read_bytes() for name in seeds}
    if code < 0 or (code == 0 and not all(made.values())):
        return {}, f"tools/lock.py was stopped; {LATER}"
    return ({}, f"uv could not resolve your ranges (see above); {LATER}") if code else (made, "")


def with_yours(mine: Entry, base: Entry | None, new: Entry) -> tuple[bytes, bytes]:
    """Return the template's new lock with what you added: first comments and options, then pins."""
    mine, before, theirs = (split(data_of(lock)) for lock in (mine, base, new))
    added = {name: mine[name] for name in mine.keys() - before.keys() - theirs.keys()}
    pins = sorted({**theirs, **added}.items())
    known = {*before.get(b"", ()), *theirs.get(b"", ())}
    others = [line for line in mine.get(b"", ()) if line not in known]
    others = theirs.get(b"", []) + [line for line in others if not line.startswith(b"# digest: ")]
    return b"".join(others), b"".join(line for name, lines in pins if name for line in lines)


def split(lock: bytes) -> dict[bytes, list[bytes]]:
    """Return the lines of a lock with their hashes, by package; comments and options under b""."""
    found: dict[bytes, list[bytes]] = {}
    for line in LINE.findall(lock.replace(b"\r\n", b"\n")):
        package = PACKAGE.match(line)
        name = re.sub(rb"[-_.]+", b"-", package[1]).lower() if package else b""
        # A backslash at the end of a cut-off lock would pull in the next requirement.
        found.setdefault(name, []).append(re.sub(rb"[\\\s]+\Z", b"", line) + b"\n")
    return found


def ranges(pyproject: bytes) -> object:
    """Return what the locks are made from. Raises ValueError if the file is no valid TOML."""
    settings = tomllib.loads(pyproject.decode())
    project, tool = settings.get("project", {}), settings.get("tool", {})
    if not isinstance(project, dict) or not isinstance(tool, dict):
        raise ValueError("[project] and [tool] have to be tables")
    keys = ("requires-python", "dependencies", "optional-dependencies")
    return [project.get(key) for key in keys], settings.get("dependency-groups"), tool.get("uv")


def locked(locks: Iterable[bytes]) -> Pins:
    return {pin for lock in locks for pin in LOCKED.findall(lock)}


def versions(pins: Iterable[tuple[bytes, bytes]]) -> dict[bytes, list[bytes]]:
    """Return the versions by package: a lock may pin several, for different systems."""
    found: dict[bytes, list[bytes]] = {}
    for name, version in pins:
        found.setdefault(name, []).append(version)
    return found


def repin(config: bytes, old: Pins, new: Mapping[bytes, list[bytes]]) -> bytes:
    """Return hook settings in which the old pins have the new versions."""

    def pin(hit: re.Match[bytes]) -> bytes:
        name, version = hit.groups()
        moves = (name, version) in old and version not in new.get(name, [version])
        return b"%s==%s" % (name, new[name][-1]) if moves else hit[0]

    return PIN.sub(pin, config)


def is_file(entry: Entry | None) -> bool:
    return entry is not None and entry.mode != LINK


def data_of(entry: Entry | None) -> bytes:
    return entry.data if entry else b""


def like(mine: Entry, lock: bytes) -> bytes:
    """Return a lock with the newlines of your version."""
    return lock if unix(mine) == mine else re.sub(rb"\r?\n", b"\r\n", lock)
