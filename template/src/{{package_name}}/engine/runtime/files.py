# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Atomic file writes, folder locks, and the limit on open files."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from ..config import UserError

try:
    import fcntl
    import resource
except ImportError:  # Windows
    fcntl = resource = None


@contextlib.contextmanager
def atomic_write(path: Path) -> Generator[Path]:
    """Give a path to write to, whose file takes the place of `path` once all of it is on the disk.

    If writing fails, the file that was there stays. An OSError without a path gets this one.
    """
    part = path.with_name(f".part-{path.name}")
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)
        raise


def atomic_write_text(path: Path, text: str) -> None:
    """Write a text file; it is whole or not there."""
    with atomic_write(path) as part:
        part.write_text(text, "utf-8", newline="\n")


def make_writable(folder: Path) -> None:
    """Make a folder if it is not there; UserError unless files can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(
            f"{folder} cannot be written to: {error.strerror}: make it a folder in which "
            "you may write; in a container, mount one there"
        ) from None


@contextlib.contextmanager
def lock_directory(folder: Path) -> Generator[None]:
    """Keep other processes out of a folder; the lock ends with the process, however it ends."""
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UserError(
                    f"another process trains in {folder}: wait for it, or use another --run-dir"
                ) from None
        yield
    finally:
        os.close(handle)


def raise_open_file_limit() -> None:
    """Let this process have as many files open as the system allows; many start at 1,024."""
    if resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1 << 20  # enough, and few for the programs that close all numbers one by one
    if hard != resource.RLIM_INFINITY:
        most = min(hard, most)
    for wish in (most, 10_240):  # macOS says that there is no limit, and may take no more than this
        if soft == resource.RLIM_INFINITY or wish <= soft:
            return
        with contextlib.suppress(OSError, ValueError):
            return resource.setrlimit(resource.RLIMIT_NOFILE, (wish, hard))


def explain_os_error(error: OSError) -> str:
    """Return one sentence for an error of the file system."""
    if not error.errno:
        return str(error)
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space, then resume the run" if error.errno in full else "check the path"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        remedy = "check who may write there, or choose another place with --run-dir"
    return f"{error.filename or 'a file'}: {error.strerror}: {remedy}"
