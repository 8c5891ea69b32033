# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The check of an image folder: every file is decoded once, and only again when it has changed."""

from __future__ import annotations

import collections
import contextlib
import hashlib
import itertools
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import astuple
from pathlib import Path

from ..images import Examined, examine
from ..runtime.files import atomic_write_text
from .find import ImageFile, count

VERSION = 1
"""Of the cache; another one is not read."""
AHEAD = 256
"""Files that wait for a thread at a time."""


def check_images(root: Path, files: list[ImageFile], cache: Path) -> dict[str, Examined]:
    """Return what is known of each file, by name; read those that `cache` does not know.

    `cache` is a folder. A file is known if path, size and time of its last change are the same.
    What cannot be kept there is said in a line, and read again the next time.
    """
    path = cache / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]}.json"
    kept = read_cache(path)
    known: dict[str, Examined] = {}
    for file in files:
        size, mtime, examined = kept.get(file.name, (None, None, None))
        if examined and (size, mtime) == (file.size, file.mtime):
            known[file.name] = examined
    missing = [file for file in files if file.name not in known]
    if not missing:
        return known
    try:
        for file, examined in _examine_all(root, missing):
            known[file.name] = examined
    finally:  # also when it is interrupted, so that the next start goes on from here
        write_cache(path, files, known)
    return known


def read_cache(path: Path) -> dict[str, tuple[int, int, Examined]]:
    """Return size, time and result by name; nothing if the cache is missing or unreadable."""
    try:
        values = json.loads(path.read_text("utf-8"))
        if values["version"] != [VERSION, pillow_version()]:
            return {}
        return {n: (size, time, Examined(*rest)) for n, (size, time, *rest) in values["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def write_cache(path: Path, files: list[ImageFile], known: dict[str, Examined]) -> None:
    """Write what is known of the good files; a line says so if that is not possible."""
    entries = [
        [file.name, [file.size, file.mtime, *astuple(known[file.name])]]
        for file in files
        if file.name in known and not known[file.name].error  # bad ones are few: read them again
    ]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {"version": [VERSION, pillow_version()], "files": entries}
        own = path.with_name(f"{os.getpid()}-{path.name}")  # other processes write theirs
        atomic_write_text(own, json.dumps(values))
        os.replace(own, path)
    except OSError as error:
        print(
            f"the check is not kept, so the next start repeats it: {path}: {error.strerror}",
            flush=True,
        )


def pillow_version() -> str:
    """Return Pillow's version: another one may decode other pixels."""
    import PIL

    return PIL.__version__


def _examine_all(root: Path, files: list[ImageFile]) -> Iterator[tuple[ImageFile, Examined]]:
    """Yield each file with what is found in it, and show the progress."""
    began = time.perf_counter()
    with Progress(len(files)) as progress, ThreadPoolExecutor(_threads()) as pool:
        waiting = iter(files)
        running: collections.deque[tuple[ImageFile, Future[Examined]]] = collections.deque()
        try:
            while True:
                for file in itertools.islice(waiting, AHEAD - len(running)):
                    running.append((file, pool.submit(examine, root / file.name)))
                if not running:
                    break
                file, future = running.popleft()
                yield file, future.result()
                progress.step()
        finally:
            for _, future in running:
                future.cancel()
    seconds = time.perf_counter() - began
    print(f"checked {count(len(files), 'image')} in {seconds:.1f} s", flush=True)


def _threads() -> int:
    with contextlib.suppress(AttributeError):  # macOS
        return max(2, len(os.sched_getaffinity(0)))
    return max(2, os.cpu_count() or 1)


class Progress:
    """A line that counts: in place on a terminal, else each half minute."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.shown = total, 0, time.perf_counter()
        self.terminal = sys.stdout.isatty()

    def step(self) -> None:
        self.done += 1
        now = time.perf_counter()
        if now - self.shown < (0.2 if self.terminal else 30):
            return
        self.shown = now
        text = f"checking images: {self.done:,} of {self.total:,}"
        print(f"\r{text}" if self.terminal else text, end="" if self.terminal else "\n", flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.terminal:
            print("\r\033[K", end="", flush=True)
