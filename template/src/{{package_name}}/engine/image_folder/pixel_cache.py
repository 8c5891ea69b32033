# Managed by gpu-ml-template: copier update merges fixes into this file.
"""A cache of decoded images: one file on the disk, filled as they are read for the first time."""

from __future__ import annotations

import hashlib
import math
import os
from pathlib import Path

import numpy as np

from ..images import ImageReader
from .check import pillow_version

SUFFIX = ".pixels"
SAVED_TIMES = 10
"""How often, in the first epoch, the file records which images it holds."""


class PixelCache:
    """Decoded images of a data set, uint8 (n, size, size, 3), in a file mapped into memory.

    The system keeps as much of it in memory as there is room for. Behind the images the file has a
    byte per image that says whether it is there. That byte is written after the image is on the
    disk, so the file is right whenever a process or the machine stops.
    """

    def __init__(self, path: Path, count: int, size: int) -> None:
        """Open the cache, or make it, with room for all images; OSError if that is not possible."""
        shape = (count, size, size, 3)
        pixels = math.prod(shape)
        reserve(path, pixels + count)
        self._pixels = np.memmap(path, "uint8", "r+", shape=shape)
        self._saved = np.memmap(path, "uint8", "r+", offset=pixels, shape=(count,))
        self._held = self._saved != 0
        self._new = 0

    def read(self, rows: np.ndarray, images: np.ndarray) -> list[int]:
        """Write the images of `rows`, int (n,), to `images`, uint8 (n, size, size, 3).

        Returns the positions of those that are not there yet.
        """
        held = self._held[rows]
        if held.all():
            np.take(self._pixels, rows, axis=0, out=images, mode="clip")
        else:
            images[held] = self._pixels[rows[held]]
        return np.flatnonzero(~held).tolist()

    def put(self, row: int, image: np.ndarray) -> None:
        """Keep an image. Several threads and processes may do so at once."""
        self._pixels[row] = image
        self._held[row] = True
        self._new += 1
        if self._new >= len(self._held) / SAVED_TIMES or self._held.all():
            self.save()

    def save(self) -> None:
        """Record which images the file holds."""
        self._new = 0
        held = self._held.copy()
        self._pixels.flush()
        self._saved[held] = 1
        self._saved.flush()


def open_cache(
    folder: Path, root: Path, digest: str, count: int, reader: ImageReader
) -> PixelCache | None:
    """Return the cache of a data set; print a line and return None if the disk does not allow it.

    Its name has a hash of the images' content, of how they are read, and of Pillow's version.
    Caches of the same folder with another hash are deleted.
    """
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    content = hashlib.sha256(repr((digest, reader, pillow_version())).encode()).hexdigest()[:16]
    path = folder / f"{place}-{content}{SUFFIX}"
    size = count * reader.size**2 * 3
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{place}-*{SUFFIX}"):
            if old != path:
                old.unlink(missing_ok=True)  # a process that uses it keeps its open file
        cache = PixelCache(path, count, reader.size)
    except OSError as error:
        print(
            f"no cache of decoded images ({size / 1e9:.2f} GB): {path}: {error.strerror}: the "
            "training goes on without it",
            flush=True,
        )
        return None
    print(f"cache of decoded images: {path} ({size / 1e9:.2f} GB)", flush=True)
    return cache


def reserve(path: Path, size: int) -> None:
    """Make a file of `size` bytes, all of which the disk has room for; OSError if it has not.

    Writing to a part of a mapped file that has no place on the disk would end the process.
    """
    if path.exists() and path.stat().st_size == size:
        return
    part = path.with_name(f"{os.getpid()}-{path.name}")
    try:
        with part.open("wb") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:  # macOS and Windows
                zeros = bytes(1 << 20)
                for start in range(0, size, len(zeros)):
                    file.write(zeros[: size - start])
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
