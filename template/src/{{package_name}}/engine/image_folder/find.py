# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The files of an image folder: the images with class and split, and what is left out."""

from __future__ import annotations

import collections
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from stat import S_ISDIR, S_ISREG
from typing import NamedTuple

from ..config import UserError
from ..images import readable_suffixes

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""Names of folders that are splits, in lower case, and the splits that they are."""
LITTER = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"}
"""Names, in lower case, that systems leave behind; so are all that start with a dot."""
HINTS = {".heic": "pillow-heif", ".heif": "pillow-heif", ".jxl": "pillow-jxl-plugin"}
"""Suffixes of images that Pillow reads with a package."""


class ImageFile(NamedTuple):
    """An image below the root of an image folder."""

    name: str
    """Path below the root."""
    size: int
    """In bytes."""
    mtime: int
    """Time of the last change, in nanoseconds."""
    label: int
    """Number of its class."""
    split: str
    """train, validation or test; empty if its folder does not say."""


@dataclass
class Found:
    """What is in an image folder."""

    classes: tuple[str, ...]
    files: list[ImageFile] = field(default_factory=list)
    """In the order of their names."""
    splits: tuple[str, ...] = ()
    """Splits that have folders of their own."""
    skipped: collections.Counter[str] = field(default_factory=collections.Counter)
    """Number of files that are no images, by suffix."""
    odd: list[str] = field(default_factory=list)
    """Names of images that are no regular files, such as links to nowhere."""
    loose: int = 0
    """Number of images that lie in no class folder."""

    def left_out(self) -> list[str]:
        """Return a line for each kind of files that are left out."""
        lines = []
        if self.skipped:
            kinds = [f"{n:,} {suffix}" for suffix, n in self.skipped.most_common(12)]
            lines.append(f"left out, no images that Pillow reads: {', '.join(kinds)}")
        for suffix in sorted(self.skipped.keys() & HINTS.keys()):
            package = HINTS[suffix]
            lines.append(f"to read {suffix}: install {package}, and register it in data.py")
        if self.odd:
            lines.append(
                f"left out, links to nowhere or no regular files: {some(self.odd, len(self.odd))}"
            )
        if self.loose:
            lines.append(f"left out, outside the class folders: {count(self.loose, 'image')}")
        return lines


def find_images(root: Path) -> Found:
    """Return the images below `root`: <class>/..., or train/<class>/... and so on.

    Raises UserError if there are fewer than two classes, or if classes and splits are mixed.
    """
    folders = _subfolders(root)
    splits = _split_folders(root, folders)
    if not splits:
        found = Found(tuple(folders))
        _check_classes(root, found)
        for label, name in enumerate(folders):
            _add(found, root, name, label, "")
    else:
        inside = {folder: _subfolders(root / folder) for folder in splits}
        of_train = [folder for folder, split in splits.items() if split == "train"]
        found = Found(tuple(inside[of_train[0]]), splits=tuple(splits.values()))
        _check_classes(root / of_train[0], found)
        for folder, split in splits.items():
            if unknown := sorted(set(inside[folder]) - set(found.classes)):
                raise UserError(
                    f"{root / folder} has the class {unknown[0]}, which {of_train[0]} does not "
                    "have: give both the same class folders"
                )
            for name in inside[folder]:
                _add(found, root, f"{folder}/{name}", found.classes.index(name), split)
    for folder in ("", *splits):
        found.loose += sum(_is_image(entry) for entry in _entries(root / folder))
    found.files.sort()
    return found


def count(number: int, what: str) -> str:
    """Return a number with its noun, for example `1 image` and `2,000 images`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def some(names: list[str], total: int, most: int = 3) -> str:
    """Return a few names, and how many there are beside them."""
    shown = ", ".join(map(printable, names[:most]))
    return f"{shown} and {total - most:,} more" if total > most else shown


def printable(name: str) -> str:
    """Return a path as text that any terminal can show, even if its bytes are no text."""
    return name.encode("utf-8", "backslashreplace").decode()


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return what is in a folder, by name, without litter; UserError if it cannot be listed."""
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"{printable(str(folder))} cannot be listed ({error.strerror}): make it a folder that"
            " you may read"
        ) from None
    return [e for e in found if e.name[0] != "." and e.name.lower() not in LITTER]


def _subfolders(folder: Path) -> list[str]:
    return [entry.name for entry in _entries(folder) if entry.is_dir()]


def _is_image(entry: os.DirEntry[str]) -> bool:
    return _suffix(entry.name) in readable_suffixes() and entry.is_file()


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _split_folders(root: Path, folders: list[str]) -> dict[str, str]:
    """Return the folders that are splits, and the splits that they are; none if all are classes.

    A folder named `train` that holds images itself is a class.
    """
    splits = {
        name: SPLITS[name.lower()]
        for name in folders
        if name.lower() in SPLITS
        and _subfolders(root / name)
        and not any(map(_is_image, _entries(root / name)))
    }
    if not splits:
        return {}
    if others := [name for name in folders if name not in splits]:
        raise UserError(
            f"{root} holds splits ({', '.join(splits)}) and other folders ({', '.join(others)}): "
            "keep either train/, val/ and test/ there, or one folder per class"
        )
    if len(set(splits.values())) < len(splits):
        raise UserError(
            f"{root} holds {', '.join(splits)}, two of which are one split: keep one of them"
        )
    if "train" not in splits.values():
        raise UserError(f"{root} holds {', '.join(splits)}, but no train/: add it")
    return splits


def _check_classes(root: Path, found: Found) -> None:
    if len(found.classes) < 2:
        raise UserError(
            f"{root} holds {count(len(found.classes), 'class folder')}: put images into two or "
            f"more, {root}/<class>/*.jpg (or *.png and others)"
        )


def _add(found: Found, root: Path, name: str, label: int, split: str) -> None:
    """Add what is below a class folder, `name` below `root`, to what was found."""
    for path, entry in _walk(root, name, set()):
        suffix = _suffix(entry.name)
        if suffix not in readable_suffixes():
            found.skipped[suffix or "without a suffix"] += 1
            continue
        try:
            stat = entry.stat()
        except OSError:
            found.odd.append(path)
            continue
        if S_ISREG(stat.st_mode):
            found.files.append(ImageFile(path, stat.st_size, stat.st_mtime_ns, label, split))
        else:
            found.odd.append(path)


def _walk(root: Path, name: str, above: set) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Yield path and entry of all below a folder but folders; links to a folder above end there."""
    stat = os.stat(root / name)
    if not S_ISDIR(stat.st_mode) or (stat.st_dev, stat.st_ino) in above:
        return
    above = above | {(stat.st_dev, stat.st_ino)}
    for entry in _entries(root / name):
        path = f"{name}/{entry.name}"
        if entry.is_dir():
            yield from _walk(root, path, above)
        else:
            yield path, entry
