# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Files and links as they are on the disk."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

LINK = "120000"  # git's mode of a symbolic link; files have 100644 or 100755


class Refused(Exception):
    """Why nothing was changed, with the remedy."""


class Entry(NamedTuple):
    """A file or link: git's mode, and its bytes as they are on the disk."""

    mode: str
    data: bytes


def digest(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def read(folder: Path, name: str) -> Entry | None:
    """A file as it is on the disk; None for nothing, a folder, and what lies behind a link."""
    path = folder / name
    if any((folder / parent).is_symlink() for parent in Path(name).parents):
        return None
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return Entry(LINK, os.fsencode(os.readlink(path)))
    if not stat.S_ISREG(mode):
        return None
    return Entry("100755" if mode & 0o100 else "100644", path.read_bytes())


def tree(folder: Path) -> dict[str, Entry]:
    """Everything in a rendered folder, by name."""
    names = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        names += [Path(root, name).relative_to(folder).as_posix() for name in files + links]
    return {name: entry for name in sorted(names) if (entry := read(folder, name))}


def unix(entry: Entry | None) -> Entry | None:
    """The same with plain newlines, where all of them are Windows'."""
    data = entry.data if entry else b""
    if b"\0" in data or b"\r\r\n" in data or not 0 < data.count(b"\r\n") == data.count(b"\n"):
        return entry
    return Entry(entry.mode, data.replace(b"\r\n", b"\n"))


def crlf(text: bytes) -> bytes:
    return re.sub(rb"\r?\n", b"\r\n", text)
