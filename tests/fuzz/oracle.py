"""What has to hold after an update, worked out without the code that is tested.

The base is a fresh copy of the old release, theirs one of the new release, yours the project
before the update. Text is merged by `git merge-file`; every other rule is in these lines.
"""

import hashlib
import os
import re
import shlex
import subprocess
import tempfile
import tomllib
from collections import Counter
from pathlib import Path, PurePath
from typing import NamedTuple

import yaml

from .world import ANSWERS, LINK, LOCK, NEW, OLD, Entry, Files, Project, cells_of, snapshot, windows

EXAMPLES: Counter[str] = Counter()  # for the record
FILES: Counter[str] = Counter()  # in all of them


# What becomes of a path.
UNTOUCHED, FRESH, MERGED = "untouched", "as in a fresh copy", "merged"
BOTH, ALONE, OWN = "the same on both sides", "edited by the user alone", "the user's own"
DELETED, KEPT = "deleted by the user, changed by the template", "edited, deleted by the template"
CONFLICT, BINARY, NOTEBOOK = "text in conflict", "binary or link in conflict", "notebook"
SEEDED, BLOCKED, CELLS = "seeded, and the user's", "its place is taken", "notebook merged by cells"
IN_CONFLICT = (CONFLICT, BINARY)


class Outcome(NamedTuple):
    """What becomes of a path, and why; stages are those of a conflict."""

    what: str
    entry: Entry | None
    stages: tuple[Entry | None, ...] = ()


def unix(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")


def alike(one: Entry | None, other: Entry | None) -> bool:
    """The same mode and bytes."""
    return other is None if one is None else one.same(other)


def merge_file(base: bytes, yours: bytes, theirs: bytes) -> tuple[bytes, bool] | None:
    """What `git merge-file` makes of it, and whether that is clean; None for binary files."""
    with tempfile.TemporaryDirectory() as scratch:
        names = [Path(scratch, name) for name in ("yours", "base", "theirs")]
        for path, data in zip(names, (yours, base, theirs), strict=True):
            path.write_bytes(data)
        labels = ["-L", "yours", "-L", f"template {OLD}", "-L", f"template {NEW}"]
        command = ["git", "merge-file", "-p", *labels]
        done = subprocess.run([*command, *names], capture_output=True)
    return None if done.returncode > 127 else (done.stdout, done.returncode == 0)


def merge(name: str, base: Entry | None, yours: Entry | None, theirs: Entry | None) -> Outcome:
    """What becomes of a managed file."""
    if alike(base, theirs):
        return Outcome(UNTOUCHED if alike(base, yours) else ALONE, yours)
    if alike(yours, theirs):
        return Outcome(BOTH, yours)
    if alike(yours, base):
        return Outcome(FRESH, theirs)
    if yours is None:
        return Outcome(DELETED, None)
    crlf = yours.mode != LINK and windows(yours.data)
    stages = (base, yours, theirs)
    plain = [one and crlf and one._replace(data=unix(one.data)) or one for one in stages]
    if theirs is None:  # newlines alone are no edit
        return Outcome(FRESH, None) if alike(*plain[:2]) else Outcome(KEPT, yours)
    if any(one and one.mode == LINK for one in stages):
        return Outcome(BINARY, yours, stages)
    old, mine, new = (one.data if one else b"" for one in plain)
    clean = True
    if mine == new or base and old == new:
        text = mine
    elif base and mine == old:
        text = new
    else:
        merged = merge_file(old, mine, new)
        if merged is None:
            return Outcome(BINARY, yours, stages)
        text, clean = merged
    mode = theirs.mode if base and base.mode == yours.mode else yours.mode
    entry = Entry(mode, text.replace(b"\n", b"\r\n") if crlf else text)
    if name.endswith(".ipynb") and broken(clean, text, (old, mine, new)):
        return Outcome(NOTEBOOK, entry, stages)
    return Outcome(MERGED, entry) if clean else Outcome(CONFLICT, entry, stages)


def broken(clean: bool, text: bytes, sides: tuple[bytes, ...]) -> bool:
    """Whether merging the text of notebooks has not made a notebook."""
    return not clean or cells_of(text) is None and all(cells_of(side) is not None for side in sides)


def seeded(name: str, project: Project) -> bool:
    return any(PurePath(name).match(pattern) for pattern in project.seeded)


def outcomes(project: Project) -> dict[str, Outcome]:
    """What has to become of every path of the project and of both releases."""
    found = {}
    for name in sorted({*project.base, *project.before, *project.theirs}):
        base, yours, theirs = project.sides(name)
        if name == ANSWERS:  # Copier's own
            found[name] = Outcome(FRESH, theirs)
        elif seeded(name, project):
            new = theirs and not base and not yours
            found[name] = Outcome(FRESH, theirs) if new else Outcome(SEEDED, yours)
        elif base or theirs:
            found[name] = merge(name, base, yours, theirs)
        else:
            found[name] = Outcome(OWN, yours)
        if name in project.ignored and found[name].stages:  # git could not tell of a conflict
            found[name] = Outcome(BLOCKED, yours)
    stay = {name for name in project.before if found[name].entry}
    for name, outcome in found.items():
        if outcome.entry and name not in project.before and in_the_way(name, stay):
            found[name] = Outcome(BLOCKED, None)
    return found


def in_the_way(name: str, stay: set[str]) -> bool:
    """Whether files of the user's take the place of a new file."""
    parents = {path.as_posix() for path in PurePath(name).parents}
    below = any(other.startswith(f"{name}/") for other in stay)
    return bool(parents & stay) or below


# The judgement: each function returns what is wrong, in words.


def judge(project: Project, done: subprocess.CompletedProcess) -> list[str]:
    """Everything about an update that was not refused."""
    said, after = done.stdout, snapshot(project.folder)
    expected, staged = outcomes(project), stages(project)
    wrong = judge_tree(project, expected, after, staged, said)
    wrong += lost(project, after, staged, said)
    wrong += judge_index(project, expected, staged)
    left = [name for name, outcome in expected.items() if outcome.what in (BLOCKED, *IN_CONFLICT)]
    left += staged.keys() - left
    todo = left or locks_are_left(project, after)
    if done.returncode != (2 if todo else 0):
        wrong.append(f"exit code {done.returncode}, with {left or 'nothing'} left to do")
    wrong += [f"the output does not name {name}" for name in left if name not in said]
    if "Traceback" in done.stderr:
        wrong.append(done.stderr)
    for name, outcome in expected.items():
        by_cells = outcome.what == NOTEBOOK and name not in staged
        FILES[CELLS if by_cells else outcome.what] += 1
    return wrong


def judge_tree(
    project: Project, expected: dict[str, Outcome], after: Files, staged: dict, said: str
) -> list[str]:
    """Every file is as it has to be, and there are no others."""
    wrong = []
    for name, outcome in expected.items():
        now, yours = after.get(name), project.before.get(name)
        if name == ANSWERS:
            ok = now and yaml.safe_load(now.data) == yaml.safe_load(project.theirs[name].data)
        elif name == LOCK:
            ok = lock_is_right(project, now, after)
        elif outcome.what == NOTEBOOK:
            ok = now and notebook_is_right(outcome, now, name in staged)
        else:
            ok = alike(outcome.entry, now)
        if not ok:
            wrong.append(f"{name} is {now}, and not {outcome}")
        both = now and yours and LINK not in (now.mode, yours.mode)
        if both and (now.permissions ^ yours.permissions) & 0o666:
            wrong.append(f"{name} has other permissions than yours had")
    new = after.keys() - expected.keys() - backups(project, after, said).keys()
    return wrong + [f"{name} was made" for name in new]


def notebook_is_right(outcome: Outcome, now: Entry, unmerged: bool) -> bool:
    """A notebook whose text does not merge is one still, with both sides' code.

    Marked text is right where one of the three was none before.
    """
    base, yours, theirs = (one.data if one else b"" for one in outcome.stages)
    if cells_of(now.data) is None:
        three = all(cells_of(side) is not None for side in (base, yours, theirs))
        return not three and unmerged and now.same(outcome.entry)
    new = (contents(yours) | (set() if unmerged else contents(theirs))) - contents(base)
    return new <= contents(now.data)


def contents(data: bytes) -> set[str]:
    """The lines of a notebook's code and outputs."""
    lines = set()
    for one in cells_of(data) or []:
        texts = ["".join(one["source"]), *("".join(out["text"]) for out in one.get("outputs", []))]
        lines |= {line for text in texts for line in text.splitlines()}
    return lines


def pins(lock: bytes) -> dict[str, str]:
    return dict(re.findall(r"^([\w-]+)==(\S+)", lock.decode("utf-8", "replace"), re.MULTILINE))


def dependencies(files: Files) -> object:
    try:
        return tomllib.loads(files["pyproject.toml"].data.decode())
    except (KeyError, ValueError):
        return None


def locks_are_left(project: Project, after: Files) -> bool:
    """Whether the template brings a lock that does not fit the user's dependencies."""
    base, yours, theirs = project.sides(LOCK)
    if not yours or not theirs or yours.mode == LINK or alike(base, theirs):
        return False
    wish = dependencies(project.theirs)
    return wish is None or dependencies(after) != wish


def lock_is_right(project: Project, now: Entry | None, after: Files) -> bool:
    """The template's pins win; packages of the user's stay where the dependencies are theirs."""
    base, yours, theirs = project.sides(LOCK)
    if not yours or not theirs or yours.mode == LINK or alike(base, theirs):
        return alike(now, yours if base or yours else theirs)
    if not now or now.mode != yours.mode:
        return False
    if not locks_are_left(project, after):
        return unix(now.data) == unix(theirs.data)
    old, mine, new = (pins(one.data if one else b"") for one in (base, yours, theirs))
    return pins(now.data) == {**{k: v for k, v in mine.items() if k not in old}, **new}


def lost(project: Project, after: Files, staged: dict, said: str) -> list[str]:
    """What of the user's is in no file, in no conflict, and in no place that the output names."""
    wrong, kept = [], [*backups(project, after, said).values()]
    for name, yours in project.before.items():
        base, now = project.base.get(name), after.get(name)
        old, new = (one.data if one else b"" for one in (base, now))
        if base and unix(yours.data) == unix(base.data) or now and yours.data == now.data:
            continue
        if staged.get(name, {}).get(2) == blob(yours):
            continue
        if unix(yours.data) in map(unix, kept):
            continue
        if yours.mode != LINK and b"\0" not in yours.data and now:
            mine = lines(yours.data) - lines(old)
            if mine <= lines(new):
                continue
            if cells_of(new) is not None and cells_of(yours.data) is not None:
                mine = contents(yours.data) - contents(old)
                if mine <= contents(new):
                    continue
        wrong.append(f"{name} has lost what was yours: {yours} became {now}")
    return wrong


def lines(data: bytes) -> set[bytes]:
    return set(unix(data).split(b"\n"))


def backups(project: Project, after: Files, said: str) -> dict[str, bytes]:
    """What the output names as yours: files beside, and versions in git."""
    found = {}
    for place in re.findall(r"yours: (.*)\)$", said, re.MULTILINE):
        shown = place.startswith("git show ")
        name = shlex.split(place)[-1]
        found[name] = project.git("show", name) if shown else after[name].data
    return found


def blob(entry: Entry) -> tuple[str, str]:
    """How git's index tells of an entry: mode and hash."""
    head = b"blob %d\0" % len(entry.data)
    return entry.mode, hashlib.sha1(head + entry.data).hexdigest()


def stages(project: Project) -> dict[str, dict[int, tuple[str, str]]]:
    """The conflicts in git's index."""
    found: dict = {}
    for line in project.git("ls-files", "--unmerged", "-z").split(b"\0")[:-1]:
        info, name = os.fsdecode(line).split("\t", 1)
        mode, sha, number = info.split()
        found.setdefault(name, {})[int(number)] = (mode, sha)
    return found


def judge_index(project: Project, expected: dict[str, Outcome], staged: dict) -> list[str]:
    """Conflicts are unmerged with all their stages; the rest is staged; nothing is committed."""
    wrong = []
    if project.git("log", "-1", "--format=%s") != b"Mine\n":
        wrong.append("there is a new commit")
    for name, outcome in expected.items():
        if name in staged:
            told = {n: blob(one) for n, one in enumerate(outcome.stages, 1) if one}
            if staged[name] != told:
                wrong.append(f"{name} is unmerged as {staged[name]}, and not {told}")
        elif outcome.what in IN_CONFLICT:
            wrong.append(f"{name} is in conflict, and not unmerged")
    top = project.git("rev-parse", "--show-prefix").decode().strip()
    listing = project.git("status", "--porcelain=v1", "-z", "--no-renames")
    for line in os.fsdecode(listing).split("\0")[:-1]:
        state, name = line[:2], line[3:].removeprefix(top)
        if name in staged or state[1] == " ":
            continue
        was_ignored = any(one == name or one.startswith(name) for one in project.ignored)
        if state != "??" or not was_ignored:
            wrong.append(f"git status says {state} {name}")
    return wrong
