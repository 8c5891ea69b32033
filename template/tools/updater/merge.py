# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The three-way merge of one file: the template's old one, yours, the template's new one."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from . import notebooks
from .files import LINK, Entry, Refused, crlf, unix


class Change(NamedTuple):
    """What the update does to a path, and why."""

    name: str
    what: str  # one of WORDS; kept and blocked do nothing
    after: Entry | None
    why: str = ""
    stages: tuple[Entry | None, ...] = ()  # of a conflict: base, yours, theirs
    source: str = ""  # where yours was, if the file moves
    backup: bool = False  # whether yours has to be found after the update


WORDS = ("updated", "added", "deleted", "merged", "moved", "kept", "blocked", "conflict")


def merge_text(
    base: bytes, yours: bytes, theirs: bytes, labels: tuple[str, str]
) -> tuple[bytes, bool] | None:
    """The merged bytes and whether they are clean; None for what git takes for binary."""
    with tempfile.TemporaryDirectory() as scratch:
        names = [Path(scratch, name) for name in ("yours", "base", "theirs")]
        for path, data in zip(names, (yours, base, theirs), strict=True):
            path.write_bytes(data)
        command = ["git", "merge-file", "--stdout", "-L", "yours", "-L", labels[0], "-L", labels[1]]
        done = subprocess.run([*command, *names], capture_output=True)
    if b"binary" in done.stderr:
        return None
    if not 0 <= done.returncode <= 127:
        said = done.stderr.decode(errors="replace").strip()
        raise Refused(f"git merge-file was stopped ({said or done.returncode}): free some memory")
    return done.stdout, done.returncode == 0


def settle(
    name: str,
    base: Entry | None,
    ours: Entry | None,
    theirs: Entry | None,
    labels: tuple[str, str],
) -> Change | None:
    """What becomes of a managed file; None if it is to stay as it is, without a word."""
    if theirs == base or ours == theirs:
        return None
    if ours == base:
        what = "updated" if ours and theirs else "added" if theirs else "deleted"
        return Change(name, what, theirs)
    if ours is None:
        return Change(name, "kept", None, "it is not there, so it stays away")
    if theirs is None:
        if unix(ours) == unix(base):  # newlines are no edit
            return Change(name, "deleted", None)
        return Change(name, "kept", ours, "yours; the template has it no longer")
    return combine(name, base, ours, theirs, labels)


def combine(
    name: str, base: Entry | None, ours: Entry, theirs: Entry, labels: tuple[str, str]
) -> Change | None:
    """The merge of a file that both sides have changed or added."""
    stages, plain = (base, ours, theirs), unix(ours)
    windows = plain != ours
    base, theirs = (unix(base), unix(theirs)) if windows else (base, theirs)
    merged, why = None, ""
    if not any(one and one.mode == LINK for one in stages):
        data = base.data if base else b""
        if plain.data == theirs.data or (base and base.data == theirs.data):
            merged = plain.data, True  # only the modes differ
        elif base and plain.data == data:
            merged = theirs.data, True
        elif name.endswith(".ipynb"):
            found = notebooks.merge(data, plain.data, theirs.data, labels, merge_text)
            merged, why = found and found[:2], "cell by cell" if found and found.by_cells else ""
        else:
            merged = merge_text(data, plain.data, theirs.data, labels)
    if merged is None:
        why = f"cannot be merged; yours stays, `git checkout --theirs -- {shlex.quote(name)}` takes"
        return Change(name, "conflict", ours, f"{why} the template's", stages)
    text, clean = merged
    mode = theirs.mode if base and ours.mode == base.mode else ours.mode
    after = Entry(mode, crlf(text) if windows else text)
    if not clean:
        return Change(name, "conflict", after, why, stages)
    what = "updated" if plain.data == (base and base.data) else "merged"
    return None if after == ours else Change(name, what, after, why)
