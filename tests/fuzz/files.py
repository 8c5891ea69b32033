"""The files of a folder, as the examples and their judgement see them."""

import os
import shutil
import stat
from pathlib import Path
from typing import NamedTuple

LINK = "120000"  # git's mode of a symbolic link


class Entry(NamedTuple):
    """A file or link: git's mode, its bytes, and its permissions on the disk."""

    mode: str
    data: bytes
    permissions: int = 0

    def same(self, other: "Entry | None") -> bool:
        return other is not None and self[:2] == other[:2]


Files = dict[str, Entry]


def alike(one: Entry | None, other: Entry | None) -> bool:
    """Whether both have the same mode and bytes, or both are missing."""
    return other is None if one is None else one.same(other)


def unix(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def windows(data: bytes) -> bool:
    """Whether these are text lines that all end as Windows' do."""
    odd = b"\0" in data or b"\r\r\n" in data
    return not odd and 0 < data.count(b"\n") == data.count(b"\r\n")


def write(path: Path, data: bytes) -> None:
    clear(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def clear(path: Path) -> None:
    """Make room for a file: replace files by folders and folders by files, as people do."""
    for parent in path.parents:
        if parent.is_symlink() and not parent.is_dir() or parent.is_file():
            parent.unlink()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def snapshot(folder: Path) -> Files:
    """Read every file and link of a folder, but for git's own."""
    files = {}
    for root, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        for name in names + [name for name in folders if Path(root, name).is_symlink()]:
            path = Path(root, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                entry = Entry(LINK, os.fsencode(os.readlink(path)))
            else:
                git_mode = "100755" if mode & 0o100 else "100644"
                entry = Entry(git_mode, path.read_bytes(), stat.S_IMODE(mode))
            files[path.relative_to(folder).as_posix()] = entry
    return files
