# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The project's git repository: calls of git, and the states in which nothing may be updated.

All names are relative to the project, whose top is the current folder.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
import re
import subprocess
from pathlib import Path

from .files import LINK, Entry, Refused, digest, read

AGAIN = "nox -s update"
ABORT = f"`{AGAIN} -- --abort`"
JOURNAL = "gpu-ml-template-update"  # in .git: what --abort needs
SUBMODULE = "160000"  # git's mode of one


def git(*args: str | Path, data: bytes | None = None, ok: tuple = (0,), **env: str) -> bytes:
    """Run git and return what it prints; a failure is told in git's own words."""
    done = subprocess.run(
        ["git", *args], input=data, capture_output=True, env={**os.environ, **env}
    )
    if done.returncode not in ok:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise Refused(f"git failed: {said}")
    return done.stdout


def asks(*args: str) -> str | None:
    """What git answers to a question, or None if it says no."""
    done = subprocess.run(["git", *args], capture_output=True)
    return None if done.returncode else os.fsdecode(done.stdout).rstrip("\n")


def split(listing: bytes) -> list[str]:
    return [os.fsdecode(item) for item in listing.split(b"\0") if item]


def joined(names: list[str]) -> bytes:
    return b"\0".join(map(os.fsencode, names))


def configure(**settings: str) -> None:
    """Set git's settings, with _ for the dot, for every git that starts from here."""
    for key, value in settings.items():
        count = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
        os.environ[f"GIT_CONFIG_KEY_{count}"] = key.replace("_", ".", 1)
        os.environ[f"GIT_CONFIG_VALUE_{count}"] = value
        os.environ["GIT_CONFIG_COUNT"] = str(count + 1)


def prepare() -> None:
    """Let git do here what it does in every clone, and run no hook."""
    found = re.search(r"(\d+)\.(\d+)", asks("--version") or "")
    if not found or (int(found[1]), int(found[2])) < (2, 31):
        raise Refused("git is too old: this needs git 2.31 or newer")
    # A git hook that calls this has set git to its own repository, index and so on.
    for name in (asks("rev-parse", "--local-env-vars") or "").split():
        if not name.startswith("GIT_CONFIG"):
            os.environ.pop(name, None)
    configure(core_hooksPath=os.devnull, core_fsmonitor="false")
    configure(core_safecrlf="false", core_ignoreStat="false", log_showSignature="false")


def head() -> str:
    return git("rev-parse", "HEAD").decode().strip()


@functools.cache
def prefix() -> str:
    """The project's folder in its repository: "" or "path/to/it/"."""
    return asks("rev-parse", "--show-prefix") or ""


def in_git_folder(name: str) -> Path:
    return Path(os.fsdecode(git("rev-parse", "--git-path", name)).rstrip("\n")).absolute()


@functools.cache
def journal() -> Path:
    """The folder for --abort; each project in a repository has its own."""
    return in_git_folder(JOURNAL + (f"-{digest(prefix())[:8]}" if prefix() else ""))


# What git has of the project.


@functools.cache
def tracked() -> dict[str, str]:
    """What git has of this folder, with its modes."""
    lines = git("ls-files", "--stage", "-z").split(b"\0")
    return {os.fsdecode(line.split(b"\t", 1)[1]): line[:6].decode() for line in lines if line}


def hidden() -> dict[str, str]:
    """Files whose changes git does not show, and the flag that makes it so."""
    flags = {"S": "skip-worktree", "s": "skip-worktree"}
    lines = [(line[0], line[2:]) for line in split(git("ls-files", "-v", "-z"))]
    return {
        name: flags.get(tag, "assume-unchanged")
        for tag, name in lines
        if tag in flags or tag.islower()
    }


@functools.cache
def keeps_modes() -> bool:
    return asks("config", "--bool", "core.fileMode") != "false"


def now(name: str) -> Entry | None:
    """A file of the project as it is now; git's mode where the disk has none."""
    entry = read(Path(), name)
    if entry and entry.mode != LINK and not keeps_modes():
        mode = tracked().get(name, LINK)  # in a conflict, the template's file may be a link
        return Entry(mode, entry.data) if mode.startswith("100") else entry
    return entry


@functools.cache
def yours(name: str) -> Entry | None:
    """The same as it was when the update first looked at it."""
    return now(name)


def is_as(info: dict, side: str) -> bool:
    """Whether a path is as it was before the last update, or as that made it."""
    entry, known = now(info["name"]), info.get(side)
    if not entry or not known:
        return not entry and not known
    comparable = keeps_modes() or LINK in (entry.mode, known[0])
    return digest(entry.data) == known[1] and (entry.mode == known[0] or not comparable)


def alone() -> object:
    """A lock that no other update of this project gets until this process ends."""
    try:
        return locked(journal().with_name(f"{journal().name}.lock"), wait=False)
    except BlockingIOError:
        raise Refused("another update of this project is at work") from None


def locked(path: Path, wait: bool) -> object:
    """A lock that no other process gets until this object goes; OSError if it is taken."""
    handle = path.open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise  # else this disk has no locks; git's index.lock remains
    return handle
