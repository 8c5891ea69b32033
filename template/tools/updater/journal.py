# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Doing what was planned, and taking it back.

Both versions of every file stand in a journal in .git before the first one is touched. Your file is
moved there, not copied: what an editor still writes to it is not lost. Git's own index.lock is held
until all is staged, so no commit of another program comes in between.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import NoReturn

from .checks import check_filters, check_places, check_state
from .files import LINK, Entry, Refused, digest, read
from .index import index_lock, reset, stage
from .merge import Change
from .repository import (
    ABORT,
    AGAIN,
    JOURNAL,
    head,
    is_as,
    journal,
    keeps_modes,
    now,
    yours,
)

STOPS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def read_journal() -> dict | None:
    try:
        return json.loads((journal() / "state.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # cut off, with the power
        raise Refused(
            f"an update was stopped, and its journal in {journal()} is damaged. `git stash -u`"
            " brings back what git has; what only the disk had is in before/ there. Then delete"
            " that folder"
        ) from None


def write_state(state: dict, folder: Path) -> None:
    (folder / "state.json.new").write_text(json.dumps(state), "utf-8")
    (folder / "state.json.new").replace(folder / "state.json")


@functools.cache
def aside() -> Path:
    """A folder in .git for what nothing else holds."""
    day = time.strftime("%Y-%m-%d")
    return Path(tempfile.mkdtemp(prefix=f"{JOURNAL}-aside-{day}-", dir=journal().parent))


def apply(changes: list[Change], answers_file: str) -> list[str]:
    """Do what was planned; on any failure, all is as it was. Return what git ignores of it."""
    after: dict[str, Entry | None] = {one.source: None for one in changes if one.source}
    after |= {one.name: one.after for one in changes}
    # Deletions first; last the answers file, which says what the project is at.
    after = dict(sorted(after.items(), key=lambda item: (bool(item[1]), item[0] == answers_file)))
    check_places({*after})
    check_filters(after, {one.name: one.source for one in changes if one.source and one.after})
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)  # for the moment that the rest takes
    with index_lock():
        check_state(read_journal(), locked=True)  # again: an editor may have saved meanwhile
        try:
            sources = {one.name: one.source or one.name for one in changes}
            state = write_journal(after, sources)
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


def write_journal(after: dict[str, Entry | None], sources: dict[str, str]) -> dict:
    """Lay the new version of every file beside what is known of the old one.

    `sources` says where your version of a file is now, whose permissions the new one gets.
    """
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
            lay(entry, fresh / "after" / str(n), sources[name])
    state = {"head": head(), "done": False, "files": files}
    write_state(state, fresh)
    fresh.rename(journal())
    return state


def lay(entry: Entry, path: Path, like: str) -> None:
    """Write a file of the journal, with the permissions of your version."""
    if entry.mode == LINK:
        os.symlink(os.fsdecode(entry.data), path)
        return
    path.write_bytes(entry.data)
    if yours(like) and not os.path.islink(like):
        shutil.copymode(like, path)
    mode = path.stat().st_mode & ~0o111
    try:
        path.chmod(mode | (mode & 0o444) >> 2 if entry.mode == "100755" else mode)
    except PermissionError:
        if keeps_modes():
            raise


def changed(name: str) -> Refused:
    return Refused(f"{name} changed while the update worked: {AGAIN} again")


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
        mode_only = taken and is_as(info, "after")  # where core.fileMode is false
        if is_as(info, "before") and not mode_only:
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
