# Managed by gpu-ml-template: copier update merges fixes into this file.
"""From a folder of images to a data set."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..config import UserError
from ..images import Examined, ImageReader, Resize, full_scale
from ..pipeline import Arrays, Dataset, Split
from .check import check_images
from .find import Found, ImageFile, count, find_images, printable
from .overview import overview
from .pixel_cache import PixelCache, open_cache

CACHE = Path(".cache/images")
"""Where checks and decoded images are kept, in the project's folder. git ignores it."""
HELD_OUT = 0.15
"""Share of a class that becomes the validation split, and of that which becomes the test split."""
MOST_LISTED = 100


@dataclass(frozen=True)
class ImageFiles:
    """Reads examples of an image folder: images uint8 (n, size, size, 3), class numbers int32."""

    root: Path
    names: list[str]
    """Paths below the root."""
    labels: np.ndarray
    read_image: ImageReader
    cache: PixelCache | None = None
    first_row: int = 0
    """Row of the first example in the cache."""

    def __call__(self, indices: np.ndarray) -> Arrays:
        """Return the examples at the given indices; UserError if a file cannot be read."""
        size = self.read_image.size
        images = np.empty((len(indices), size, size, 3), "uint8")
        rows = self.first_row + indices
        missing = range(len(rows)) if self.cache is None else self.cache.read(rows, images)
        for i in missing:
            images[i] = self.read_image(self.root / self.names[indices[i]])
            if self.cache is not None:
                self.cache.put(rows[i], images[i])
        return images, self.labels[indices]


def load_image_folder(
    root: Path,
    size: int,
    resize: Resize = "fit",
    skip_bad: bool = False,
    cache: bool = False,
    cache_dir: Path = CACHE,
) -> Dataset:
    """Return the images below `root` as a data set of RGB images of size x size pixels.

    `root` holds a folder per class, or the folders train, val (or validation) and test with one
    per class in each. A split that is missing is made of 15 % of each class, by a hash of the file
    names: no seed moves an image, and few move when some are added.

    All files are checked before, those that are new or changed by decoding them. With `skip_bad`
    those that cannot be read are left out. `resize` is fit (pad), crop or stretch. `cache` keeps
    decoded images in one file in `cache_dir`, from the second epoch on. Raises UserError if there
    are too few classes or images, or if files cannot be read.
    """
    found = find_images(root)
    examined = check_images(root, found.files, cache_dir)
    bad = [file for file in found.files if examined[file.name].error]
    lines = found.left_out()
    if bad:
        report_bad(root, bad, examined, len(found.files), skip_bad)
        lines.append(f"left out, cannot be read: {count(len(bad), 'image')}")
    good = [file for file in found.files if not examined[file.name].error]
    parts = split_files(root, found, good)
    if found.splits and (made := [name for name in parts if name not in found.splits]):
        lines.append(
            f"no folder for {' and '.join(made)}: {HELD_OUT:.0%} of train/ "
            f"{'becomes it' if len(made) == 1 else 'become each'}, by a hash of the names"
        )
    how, lines_on_range = reader([examined[file.name] for file in good], size, resize)
    lines += [*lines_on_range, overview(found.classes, parts, examined)]
    content = digest(parts, examined)
    kept = open_cache(cache_dir, root, content, len(good), how) if cache else None
    splits, first_row = {}, 0
    for name, files in parts.items():
        splits[name] = as_split(root, files, how, kept, first_row)
        first_row += len(files)
    return Dataset(
        splits["train"],
        splits["validation"],
        splits["test"],
        class_names=found.classes,
        digest=content,
        overview="\n".join(lines),
        read_file=how,
    )


def report_bad(
    root: Path, bad: list[ImageFile], examined: dict[str, Examined], total: int, skip_bad: bool
) -> None:
    """Print the images that cannot be read; UserError unless they are to be left out."""
    for file in bad[:MOST_LISTED]:
        print(f"{printable(file.name)}: {examined[file.name].error}", flush=True)
    if len(bad) > MOST_LISTED:
        print(f"... and {len(bad) - MOST_LISTED:,} more", flush=True)
    if skip_bad:
        return
    program = f"python -m {__name__.rpartition('.')[0]}"
    folder, away = shlex.quote(printable(str(root))), shlex.quote(printable(f"{root}-bad"))
    raise UserError(
        f"{printable(str(root))}: {len(bad):,} of {count(total, 'image')} cannot be read (listed "
        f"above). Move them away with `{program} {folder} --move-bad {away}`, or leave them out "
        "with --skip-bad"
    )


def split_files(root: Path, found: Found, files: list[ImageFile]) -> dict[str, list[ImageFile]]:
    """Return the files of each split; UserError if a class has too few for one of them."""
    parts: dict[str, list[ImageFile]] = {"train": [], "validation": [], "test": []}
    missing = [name for name in ("test", "validation") if name not in found.splits]
    by_class: list[list[ImageFile]] = [[] for _ in found.classes]
    for file in files:
        if file.split in ("", "train"):
            by_class[file.label].append(file)
        else:
            parts[file.split].append(file)
    least = 1 + len(missing)
    for name, of_class in zip(found.classes, by_class, strict=True):
        if len(of_class) < least:
            reason = "; ".join(found.left_out()) if not of_class else ""
            raise UserError(
                f"{root}: the class {printable(name)} holds {count(len(of_class), 'image')} that "
                f"can be read{f' ({reason})' if reason else ''}: a class needs at least {least}, "
                "one for each split, so add some or delete its folder"
            )
        if missing:
            of_class = sorted(of_class, key=lambda file: _hash(file.name))
        held_out = max(1, round(HELD_OUT * len(of_class)))
        for split in missing:
            parts[split] += of_class[:held_out]
            of_class = of_class[held_out:]
        parts["train"] += of_class
    for split in found.splits:
        if not parts[split]:
            raise UserError(f"{root}: the split {split} holds no images: add some, or delete it")
    return parts


def _hash(name: str) -> bytes:
    return hashlib.sha256(os.fsencode(name)).digest()


def reader(examined: list[Examined], size: int, resize: Resize) -> tuple[ImageReader, list[str]]:
    """Return how the images are read, and a line on the range of values of more than 8 bits.

    The range is that of all images together, so that a dark one stays dark.
    """
    white: dict[bool, float | None] = {False: None, True: None}
    lines = []
    for floats, kind in ((False, "16-bit"), (True, "float")):
        values = [e.highest for e in examined if e.highest is not None and e.floats is floats]
        if not values:
            continue
        white[floats] = full_scale(max(values), floats)
        lines.append(
            f"{count(len(values), f'{kind} image')}: values from 0 to {white[floats]:,g} become 0 "
            f"to 255 (the highest is {max(values):,g})"
        )
    return ImageReader(size, resize, white[False], white[True]), lines


def as_split(
    root: Path, files: list[ImageFile], how: ImageReader, cache: PixelCache | None, first_row: int
) -> Split:
    """Return a split that reads the files; `first_row` is the row of the first one in the cache."""
    labels = np.array([file.label for file in files], "int32")
    names = [sys.intern(file.name) for file in files]
    return Split(len(files), ImageFiles(root, names, labels, how, cache, first_row), targets=labels)


def digest(parts: dict[str, list[ImageFile]], examined: dict[str, Examined]) -> str:
    """Return a hash of the splits, names and contents."""
    total = hashlib.sha256()
    for split, files in parts.items():
        for file in files:
            total.update(f"{split} {examined[file.name].digest} ".encode())
            total.update(os.fsencode(file.name) + b"\n")
    return total.hexdigest()
