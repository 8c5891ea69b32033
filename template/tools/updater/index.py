# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Git's index: its lock, and what the update stages."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from .files import LINK, Entry, Refused
from .repository import git, head, in_git_folder, joined, journal, prefix, split, tracked


def clear_lock() -> None:
    """Remove the index.lock of an update of this project that was killed; call this alone()."""
    path = in_git_folder("index.lock")
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == os.fsencode(journal()):
            path.unlink()


@contextlib.contextmanager
def index_lock() -> Iterator[None]:
    """Git's own lock: until the end no other command changes the index or makes a commit."""
    path = in_git_folder("index.lock")
    try:
        with path.open("xb") as lock:
            lock.write(os.fsencode(journal()))
    except FileExistsError:
        raise Refused(
            f"another git command is at work, or was killed: then delete {path}"
        ) from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def own_index() -> Iterator[dict[str, str]]:
    """Git's environment for work on a copy of the index, which takes its place at the end."""
    own = journal() / "index"
    shutil.copyfile(in_git_folder("index"), own)
    yield {"GIT_INDEX_FILE": str(own)}
    own.replace(in_git_folder("index"))


def stage(after: dict[str, Entry | None], conflicts: dict[str, tuple]) -> list[str]:
    """Add what is clean to git's index, and conflicts as git's own; return what git ignores."""
    nothing = b"0 " + b"0" * len(head())
    with own_index() as env:
        asked = joined([f"./{name}" for name in after])  # or git takes :x.yml for magic
        listing = git("check-ignore", "-z", "--stdin", data=asked, ok=(0, 1), **env)
        ignored = [name for one in split(listing) if after[name := one[2:]]]
        deleted, added = [], []
        for name, entry in after.items():
            if entry is None or name in conflicts:
                deleted.append(b"%s\t%s" % (nothing, in_index(name)))
            for number, one in enumerate(conflicts.get(name, ()), 1):
                if one:
                    blob = git("hash-object", "-w", "--stdin", "--no-filters", data=one.data)
                    added.append(line(one.mode, blob, in_index(name), number))
        clean = [name for name, entry in after.items() if entry and name not in conflicts]
        added += blobs([name for name in clean if name not in ignored], after)
        data = b"\0".join([*deleted, *added, b""])
        git("update-index", "-z", "--index-info", data=data, **env)
        git("update-index", "-q", "--refresh", ok=(0, 1), **env)
    return ignored


def in_index(name: str) -> bytes:
    return os.fsencode(prefix() + name)


def line(mode: str, blob: bytes, name: bytes, number: int = 0) -> bytes:
    """A line for `git update-index --index-info`."""
    return b"%s %s %d\t%s" % (mode.encode(), blob.strip(), number, name)


def blobs(names: list[str], after: dict[str, Entry | None]) -> list[bytes]:
    """The lines for files as they are on the disk now, after git's filters."""
    lines = []
    for name in names:
        entry = after[name]
        raw = ["--no-filters"] if entry.mode == LINK else [f"--path={name}"]
        blob = git("hash-object", "-w", "--stdin", *raw, data=entry.data)
        lines.append(line(entry.mode, blob, in_index(name)))
    return lines


def reset(names: set[str]) -> None:
    """Bring git's index back to the last commit, for these files."""
    tracked.cache_clear()
    in_head = split(git("ls-tree", "-r", "-z", "--name-only", "HEAD"))
    if known := sorted(names & {*tracked(), *in_head}):
        with own_index() as env:
            listed = ["--pathspec-from-file=-", "--pathspec-file-nul"]
            env["GIT_LITERAL_PATHSPECS"] = "1"
            git("reset", "--quiet", *listed, data=joined(known), **env)
