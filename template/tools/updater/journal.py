# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Doing what was planned, and taking it back.

Both versions of every file stand in a journal in .git before the first one is touched. Your file is
moved there, not copied: what an editor still writes to it is not lost. Git's own index.lock is held
until all is staged, so no commit of another program comes in between.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import shlex
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from .files import LINK, Entry, Refused, digest, read
from .merge import Change
from .repository import (
    ABORT,
    AGAIN,
    JOURNAL,
    asks,
    check_state,
    git,
    head,
    in_git_folder,
    is_as,
    joined,
    journal,
    now,
    prefix,
    split,
    tracked,
    yours,
)

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_journal() -> dict | None:
    try:
        return json.loads((journal() / "state.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # cut off, with the power
        return {"head": "", "done": True, "files": []}


def write_state(state: dict, folder: Path) -> None:
    (folder / "state.json.new").write_text(json.dumps(state), "utf-8")
    (folder / "state.json.new").replace(folder / "state.json")


@functools.cache
def aside() -> Path:
    """A folder in .git for what nothing else holds."""
    day = time.strftime("%Y-%m-%d")
    return Path(tempfile.mkdtemp(prefix=f"{JOURNAL}-aside-{day}-", dir=journal().parent))


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


def apply(changes: list[Change], answers_file: str) -> list[str]:
    """Do what was planned; on any failure, all is as it was. Return what git ignores of it."""
    after: dict[str, Entry | None] = {one.source: None for one in changes if one.source}
    after |= {one.name: one.after for one in changes}
    # Deletions first; last the answers file, which says what the project is at.
    after = dict(sorted(after.items(), key=lambda item: (bool(item[1]), item[0] == answers_file)))
    check_places({*after})
    check_filters(after)
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # for the moment that the rest takes
    with index_lock():
        check_state(read_journal(), locked=True)  # again: an editor may have saved meanwhile
        try:
            state = write_journal(after)
        except OSError as error:
            shutil.rmtree(journal().with_name(f"{journal().name}.new"), ignore_errors=True)
            raise Refused(f"{error}; nothing was changed. Make room, then {AGAIN} again") from None
        try:
            for n, name in enumerate(after):
                exchange(n, name, after[name])
            ignored = stage(after, {one.name: one.stages for one in changes if one.stages})
            for n, name in enumerate(after):
                check_before(n, name)
            write_state({**state, "done": True}, journal())
        except BaseException as error:
            roll_back(state, error)
    return ignored


def roll_back(state: dict, error: BaseException) -> NoReturn:
    try:
        for note in restore(state, undo=False):
            print(note)
    except OSError as worse:
        raise Refused(f"{error}; the way back met {worse}. Then: {ABORT}") from None
    if isinstance(error, OSError):
        raise Refused(f"{error}; all is as it was before") from None
    raise error


def write_journal(after: dict[str, Entry | None]) -> dict:
    """Lay the new version of every file beside what is known of the old one."""
    shutil.rmtree(journal(), ignore_errors=True)
    fresh = journal().with_name(f"{journal().name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    for side in ("before", "after"):
        (fresh / side).mkdir(parents=True)
    files = []
    for n, (name, entry) in enumerate(after.items()):
        if now(name) != yours(name):
            raise changed(name)
        sides = {"before": yours(name), "after": entry}
        files.append({side: [e.mode, digest(e.data)] for side, e in sides.items() if e})
        files[-1]["name"] = name
        if entry:
            lay(entry, fresh / "after" / str(n), yours(name) and name)
    state = {"head": head(), "done": False, "files": files}
    write_state(state, fresh)
    fresh.rename(journal())
    return state


def lay(entry: Entry, path: Path, like: str | None) -> None:
    """Write a file of the journal, with the permissions of yours."""
    if entry.mode == LINK:
        os.symlink(os.fsdecode(entry.data), path)
        return
    path.write_bytes(entry.data)
    if like and not os.path.islink(like):
        shutil.copymode(like, path)
    mode = path.stat().st_mode & ~0o111
    path.chmod(mode | (mode & 0o444) >> 2 if entry.mode == "100755" else mode)


def changed(name: str) -> Refused:
    return Refused(f"{name} changed while the update worked: {AGAIN} again")


def check_places(names: set[str]) -> None:
    """Refuse what the file system would refuse in the middle."""
    for name in sorted(names):
        path = Path(name)
        if path.is_file() and not path.is_symlink() and not path.stat().st_mode & 0o200:
            raise Refused(f"{path} is read-only: `chmod u+w {shlex.quote(name)}`")
        parent = next(folder for folder in path.parents if folder.is_dir())
        if not os.access(parent, os.W_OK):
            raise Refused(f"the folder {parent.absolute()} is read-only: change its permissions")


def check_filters(after: dict[str, Entry | None]) -> None:
    """Refuse where git's filter would make another file of this one in the next clone."""
    files = {name: entry for name, entry in after.items() if entry and entry.mode != LINK}
    listing = split(git("check-attr", "-z", "--stdin", "filter", data=joined([*files])))
    for name, _, driver in zip(*[iter(listing)] * 3, strict=True):
        if asks("config", f"filter.{driver}.smudge"):
            data = files[name].data
            blob = git("hash-object", "-w", "--stdin", "--no-filters", data=data).decode().strip()
            found = git("cat-file", "--filters", f"--path={name}", blob)
            if found.replace(b"\r\n", b"\n") != data.replace(b"\r\n", b"\n"):
                raise Refused(
                    f"git's filter {driver} changes {name} on its way to the disk, so what the"
                    " update writes would not be what a clone gets: take the file out of the"
                    f" filter in .gitattributes, commit, then {AGAIN} again"
                )


def exchange(n: int, name: str, entry: Entry | None) -> None:
    """Move your file into the journal, look at it once more, and put the new one in its place."""
    if yours(name):
        move(Path(name), journal() / "before" / str(n))
        check_before(n, name)
        prune(name)
    if entry:
        place(journal() / "after" / str(n), name)


def check_before(n: int, name: str) -> None:
    """Refuse where somebody has written to your file since the update first looked at it."""
    kept = read(journal() / "before", str(n))
    if (kept and kept.data) != (yours(name) and yours(name).data):
        raise changed(name)


def place(source: Path, name: str) -> None:
    """Put a file of the journal in a place that is free: in one step, and with no room needed."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():  # and empty, but for empty folders
        for root, _, _ in os.walk(path, topdown=False):
            os.rmdir(root)
    try:
        os.link(source, path, follow_symlinks=False)
        source.unlink()
    except FileExistsError:
        raise changed(name) from None
    except OSError:  # on another disk, or on one without hard links
        if os.path.lexists(path):
            raise changed(name) from None
        move(source, path)


def move(source: Path, path: Path) -> None:
    """Rename a file, to another disk if need be; what is there already gives way."""
    try:
        os.replace(source, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        beside = path.with_name(f".{path.name}.{os.getpid()}~")
        try:
            shutil.copy2(source, beside, follow_symlinks=False)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
        source.unlink()


def prune(name: str) -> None:
    """Delete the folders that a file which has gone leaves empty."""
    for folder in list(Path(name).parents)[:-1]:
        try:
            folder.rmdir()
        except OSError:
            return


# Git's index.


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


# Taking it back.


def restore(state: dict, undo: bool) -> list[str]:
    """Bring back every file; return what there is to know about work done since the update.

    `undo` says that a person wants it back as it was. Else the update failed, and what somebody has
    saved in the meantime stays in its place.
    """
    notes = []

    def save(source: Path, name: str, why: str) -> None:
        (aside() / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, aside() / name)
        notes.append(f"{why} {aside() / name}")

    for n, info in reversed(list(enumerate(state["files"]))):
        name, before = info["name"], journal() / "before" / str(n)
        taken = os.path.lexists(before)
        if is_as(info, "before"):
            if "before" not in info:
                prune(name)  # it is away; its folders may be there
            continue
        if any(path.is_symlink() or path.is_file() for path in Path(name).parents):
            if taken:
                save(before, name, f"{name} cannot go back to its place, and is in")
            continue
        if os.path.isdir(name) and not os.path.islink(name):
            if taken:
                save(Path(name), name, "this folder is new since the update, and is in")
        elif os.path.lexists(name) and not is_as(info, "after"):
            if not undo:
                if taken:
                    save(before, name, f"{name} was saved while the update worked; before that:")
                continue
            save(Path(name), name, "edited since the update: that text is in")
        elif os.path.lexists(name):
            os.unlink(name)
        if taken:
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            move(before, Path(name))
        else:
            prune(name)
    reset({info["name"] for info in state["files"]})
    shutil.rmtree(journal())
    return notes


def reset(names: set[str]) -> None:
    """Bring git's index back to the last commit, for these files."""
    tracked.cache_clear()
    in_head = split(git("ls-tree", "-r", "-z", "--name-only", "HEAD"))
    if known := sorted(names & {*tracked(), *in_head}):
        with own_index() as env:
            listed = ["--pathspec-from-file=-", "--pathspec-file-nul"]
            env["GIT_LITERAL_PATHSPECS"] = "1"
            git("reset", "--quiet", *listed, data=joined(known), **env)


def abort() -> int:
    """Take the last update back, whether it was stopped in the middle or is complete."""
    state = read_journal()
    if state is None:
        raise Refused("there is no update to take back")
    if state["done"] and state["head"] != head():
        raise Refused(
            "there is a commit since the update. If that is the update, `git revert HEAD` takes it"
            f" back; what was before it is also in {journal() / 'before'}"
        )
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # for the moment that it takes
    with index_lock():
        for note in restore(state, undo=True):
            print(note)
    print("The update is taken back: all is as it was before.")
    return 0
