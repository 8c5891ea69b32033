# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The states in which nothing is updated: one sentence each, with the remedy."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from .files import LINK, Entry, Refused
from .repository import ABORT, AGAIN, asks, git, head, hidden, in_git_folder, is_as, joined, split

IN_PROGRESS = {  # a file or folder in .git, and the command whose end it awaits
    "rebase-apply/applying": "am",
    "rebase-apply": "rebase",
    "rebase-merge": "rebase",
    "MERGE_HEAD": "merge",
    "CHERRY_PICK_HEAD": "cherry-pick",
    "REVERT_HEAD": "revert",
}


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


def check_places(names: set[str]) -> None:
    """Refuse what the file system would refuse in the middle."""
    for name in sorted(names):
        path = Path(name)
        if path.is_file() and not path.is_symlink() and not path.stat().st_mode & 0o200:
            raise Refused(f"{path} is read-only: `chmod u+w {shlex.quote(name)}`")
        parent = next(folder for folder in path.parents if folder.is_dir())
        if not os.access(parent, os.W_OK):
            raise Refused(f"the folder {parent.absolute()} is read-only: change its permissions")


def check_filters(after: dict[str, Entry | None], sources: dict[str, str]) -> None:
    """Refuse where git's filter would make another file of this one in the next clone."""
    files = {name: entry for name, entry in after.items() if entry and entry.mode != LINK}
    asked = joined([*files, *sources.values()])
    listing = split(git("check-attr", "-z", "--stdin", "filter", data=asked))
    drivers = {name: driver for name, _, driver in zip(*[iter(listing)] * 3, strict=True)}
    for name, source in sources.items():
        if name in files and drivers[source] not in ("unspecified", "unset", drivers[name]):
            raise Refused(
                f"{source} goes to {name}, where git's filter {drivers[source]} does not apply, so"
                " git would get it as it is on the disk: name both in .gitattributes, commit, then"
                f" {AGAIN} again"
            )
    for name, driver in drivers.items():
        if name not in files:
            continue
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
