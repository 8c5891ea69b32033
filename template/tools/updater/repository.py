# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The project's git repository: calls of git, and the states in which nothing may be updated.

All names are relative to the project, whose top is the current folder.
"""

from __future__ import annotations

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
    configure(core_safecrlf="false", core_ignoreStat="false")


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
        return Entry(tracked().get(name, "100644"), entry.data)
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


# The states in which nothing may be updated.


def check_repository() -> None:
    """Refuse where git could not show what an update did, or not take it back."""
    if asks("rev-parse", "--is-inside-work-tree") != "true":
        said = subprocess.run(["git", "status"], capture_output=True).stderr.decode()
        if "not a git repository" not in said:
            raise Refused(f"git says: {said.strip()}")
        raise Refused(
            "this folder is in no git repository, and git is what merges and takes back. Start"
            ' one with `git init && git add -A && git commit -m "Before the update"`'
        )


IN_PROGRESS = {  # a file or folder in .git, and the command whose end it awaits
    "rebase-apply/applying": "am",
    "rebase-apply": "rebase",
    "rebase-merge": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}


def check_state(last: dict | None, locked: bool = False) -> None:
    """Refuse a tree that is not as its last commit left it.

    `last` is the journal of the last update; `locked` says that this process holds index.lock.
    """
    if asks("rev-parse", "--verify", "HEAD^{commit}") is None:
        raise Refused('commit first: `git add -A && git commit -m "Before the update"`')
    if last and not last["done"]:
        since = "" if last["head"] == head() else " What it had written was committed since."
        raise Refused(f"an update was stopped in the middle.{since} Take it back with {ABORT}")
    if not locked and (lock := in_git_folder("index.lock")).exists():
        raise Refused(f"another git command is at work, or was killed: then delete {lock}")
    for name, what in IN_PROGRESS.items():
        if in_git_folder(name).exists():
            raise Refused(f"a {what} is in progress: finish it with `git {what} --continue`")
    pending = last and last["head"] == head() and any(is_as(i, "after") for i in last["files"])
    back = f", or take the last update back with {ABORT}" if pending else ""
    if unmerged := git("diff", "--name-only", "--diff-filter=U", "-z", "--relative"):
        raise Refused(
            "\n".join(["these files have conflicts:", *sorted(set(split(unmerged)))])
            + "\nEdit the conflicts away (`git diff` shows them), `git add` each file, and commit"
            + back
        )
    if lines := split(git("status", "--porcelain", "-z", "--untracked-files=all", "--", ".")):
        more = [f"  ... and {len(lines) - 5} more"] if len(lines) > 5 else []
        commit = "Commit them (`git add -A && git commit`) or `git stash -u`"
        commit = "Look at `git diff HEAD` and commit the last update" if pending else commit
        raise Refused(
            "\n".join(["the tree has changes that are not committed:", *lines[:5], *more])
            + f"\n{commit}{back}, then {AGAIN} again"
        )
    if asks("symbolic-ref", "--quiet", "HEAD") is None:
        raise Refused(
            "HEAD is detached, so a commit would belong to no branch: `git switch -c"
            " update-template`, or go to your branch"
        )


def check_hidden(names: set[str]) -> None:
    """Refuse where git would not show what the update does to one of these files."""
    for name, flag in sorted(hidden().items()):
        if name in names:
            sparse = asks("config", "--bool", "core.sparseCheckout") == "true"
            remedy = f"`git update-index --no-{flag} -- {name}`"
            if flag == "skip-worktree" and sparse and not os.path.lexists(name):
                remedy = "`git sparse-checkout disable`"
            raise Refused(
                f"the update concerns {name}, whose changes git does not show, because it is marked"
                f" {flag}: {remedy}, look at `git diff`, then {AGAIN} again"
            )


def alone() -> object:
    """A lock that no other update of this project gets until this process ends."""
    try:
        return locked(journal().with_name(f"{journal().name}.lock"), wait=False)
    except OSError:
        raise Refused("another update of this project is at work") from None


def locked(path: Path, wait: bool) -> object:
    """A lock that no other process gets until this object goes; OSError if it is taken."""
    handle = path.open("w")
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    return handle
