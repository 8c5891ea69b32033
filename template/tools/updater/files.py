# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Files as git sees them."""

from typing import NamedTuple


class Entry(NamedTuple):
    """A file or link: git's mode, and its bytes as they are on the disk."""

    mode: str
    data: bytes


def unix(entry: Entry | None) -> Entry | None:
    """Return the entry with Unix newlines if all of its newlines are Windows'."""
    data = entry.data if entry else b""
    if b"\0" in data or b"\r\r\n" in data or not 0 < data.count(b"\r\n") == data.count(b"\n"):
        return entry
    return Entry(entry.mode, data.replace(b"\r\n", b"\n"))
