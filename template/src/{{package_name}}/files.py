# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Files that are whole or not there, and folders that one process works in at a time."""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from .config import UserError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
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


def write_text(path: Path, text: str) -> None:
    """Write a text file; it is whole or not there."""
    with replacing(path) as part:
        part.write_text(text, "utf-8", newline="\n")


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
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


def explain(error: OSError) -> str:
    """Return one sentence for an error of the file system."""
    if not error.errno:
        return str(error)
    full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    remedy = "free some space, then resume the run" if error.errno in full else "check the path"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        remedy = "check who may write there, or choose another place with --run-dir"
    return f"{error.filename or 'a file'}: {error.strerror}: {remedy}"
