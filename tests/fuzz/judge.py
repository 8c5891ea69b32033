"""What is wrong after an update, in words: each function returns a list of findings."""

import hashlib
import os
import re
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import yaml

from . import locks, oracle
from .files import LINK, Entry, Files, alike, snapshot, unix
from .notebooks import cells_of, faults, leaves
from .oracle import BLOCKED, CELLS, IN_CONFLICT, NOTEBOOK, Outcome, Plan
from .world import ANSWERS, HOOKS, LOCK, Project

EXAMPLES: Counter[str] = Counter()  # for the record
FILES: Counter[str] = Counter()  # in all of them
IGNORED = "git ignores it"  # what the output says of a file that is in no commit
ASIDE = "gpu-ml-template-update-aside-"
MARKER = re.compile(rb"^<<<<<<< ", re.MULTILINE)


def judge(project: Project, done: subprocess.CompletedProcess) -> list[str]:
    """Everything about an update that was not refused."""
    said, after, staged = done.stdout, project.seen(), stages(project)
    plan = oracle.plan(project)
    expected = choose(plan, after, staged)
    ignored = unstaged(project, after)
    wrong = judge_tree(project, expected, after, staged)
    wrong += lost(project, plan, after, staged, said)
    wrong += judge_index(project, expected, after, staged, ignored)
    wrong += judge_modes(project, expected)
    wrong += judge_aside(project, said)
    wrong += judge_exit(project, expected, after, staged, ignored, done)
    if "Traceback" in done.stderr:
        wrong.append(done.stderr)
    for name, outcome in expected.items():
        by_cells = outcome.what == NOTEBOOK and name not in staged
        FILES[CELLS if by_cells else outcome.what] += 1
    return wrong


def choose(plan: Plan, after: Files, staged: dict) -> dict[str, Outcome]:
    """Take the first outcome of each path that fits, else the likeliest."""
    return {
        name: next((one for one in outs if fits(one, after.get(name), name in staged)), outs[0])
        for name, outs in plan.outcomes.items()
    }


def fits(one: Outcome, now: Entry | None, unmerged: bool) -> bool:
    """Whether a file is as an outcome says."""
    if one.what == NOTEBOOK:
        return bool(now) and notebook_is_right(one, now, unmerged)
    if unmerged != (one.what in IN_CONFLICT):
        return False
    if one.what == oracle.RENAMED_TWICE and now and one.stages[2] and not now.same(one.entry):
        three = all(stage and cells_of(stage.data) is not None for stage in one.stages)
        return three and notebook_is_right(one, now, bool(MARKER.search(now.data)))
    return alike(one.entry, now)


def notebook_is_right(outcome: Outcome, now: Entry, unmerged: bool) -> bool:
    texts = [unix(one.data) if one else b"" for one in outcome.stages]
    return now.mode == outcome.entry.mode and not faults(unix(now.data), *texts, unmerged)


# The files.


def judge_tree(
    project: Project, expected: dict[str, Outcome], after: Files, staged: dict
) -> list[str]:
    """Every file is as it has to be, and there are no others."""
    wrong = []
    for name, outcome in expected.items():
        now, yours = after.get(name), project.before.get(name)
        if name == ANSWERS:
            ok = now and yaml.safe_load(now.data) == yaml.safe_load(project.theirs[name].data)
        elif name == LOCK:
            ok = locks.lock_is_right(project, now, after)
        elif name == HOOKS:
            ok = locks.hooks_are_right(project, outcome.entry, now, after)
        else:
            ok = fits(outcome, now, name in staged)
        if not ok:
            wrong.append(f"{name} is {now}, and not {outcome}")
        both = now and yours and LINK not in (now.mode, yours.mode)
        if both and (now.permissions ^ yours.permissions) & 0o666:
            wrong.append(f"{name} has other permissions than yours had")
        text = outcome.what in (oracle.CONFLICT, NOTEBOOK) and name in staged
        if text and not (now and MARKER.search(now.data)):
            wrong.append(f"{name} is in conflict, and no line begins with <<<<<<<")
    if locks.lost_pin(project.before, after):
        wrong.append(f"{HOOKS} has lost the user's {locks.OWN_PIN}")
    new = after.keys() - expected.keys()
    return wrong + [f"{name} was made" for name in new]


def lost(project: Project, plan: Plan, after: Files, staged: dict, said: str) -> list[str]:
    """What of the user's is in no file, in no conflict, and in no place that the output names."""
    wrong, kept = [], [*map(unix, backups(project, said).values())]
    for name, yours in project.before.items():
        first, place = plan.places.get(name, (name, name))
        base = project.base.get(first)
        if base and unix(yours.data) == unix(base.data) or unix(yours.data) in kept:
            continue
        # It may have moved along with its folder: judge_tree says whether it should have.
        if not base and any(yours.data == after[one].data for one in after.keys() - project.before):
            continue
        if not any(
            holds(yours, base, after.get(one), staged.get(one, {})) for one in {name, place}
        ):
            wrong.append(f"{name} has lost what was yours: {yours} became {after.get(place)}")
    return wrong


def holds(yours: Entry, base: Entry | None, now: Entry | None, staged: dict) -> bool:
    """Whether a file, or its conflict, still has what the user added to the base."""
    if staged.get(2) == blob(yours) or now and yours.data == now.data:
        return True
    if yours.mode == LINK or b"\0" in yours.data or not now:
        return False
    old = base.data if base else b""
    if cells_of(now.data) is not None and cells_of(yours.data) is not None:
        return leaves(yours.data).keys() - leaves(old).keys() <= leaves(now.data).keys()
    return lines(yours.data) - lines(old) <= lines(now.data)


def lines(data: bytes) -> set[bytes]:
    return set(unix(data).split(b"\n"))


def backups(project: Project, said: str) -> dict[str, bytes]:
    """What the output names as yours: versions in git, and copies in its folder."""
    found = {}
    for place in re.findall(r"yours: (.*)\)$", said, re.MULTILINE):
        name = shlex.split(place)[-1]
        if place.startswith("git show "):
            found[name] = project.git("show", name)
        else:
            found[name] = Path(project.folder, name).read_bytes()
    return found


def judge_aside(project: Project, said: str) -> list[str]:
    """Copies are in git's folder, and each is named; git alone holds what it has."""
    wrong = []
    top = Path(os.fsdecode(project.git("rev-parse", "--absolute-git-dir")).rstrip("\n"))
    for path in top.glob(f"{ASIDE}*/**/*"):
        if path.is_file() and path.name not in said:
            wrong.append(f"the output does not name {path}")
    for name in re.findall(r"yours: (.*)\)$", said, re.MULTILINE):
        if not name.startswith("git show ") and ASIDE not in name:
            wrong.append(f"a backup is in {name}, and not aside")
    return wrong


# Git.


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


def unstaged(project: Project, after: Files) -> set[str]:
    """What the update wrote, and git's rules keep out of its index."""
    index = project.index().keys() | stages(project).keys()
    new = [
        name
        for name, one in after.items()
        if name not in index and not one.same(project.before.get(name))
    ]
    data = b"".join(os.fsencode(name) + b"\0" for name in new)
    said = project.git("check-ignore", "--no-index", "-z", "--stdin", data=data, ok=(0, 1))
    return {os.fsdecode(name) for name in said.split(b"\0") if name}


def judge_index(
    project: Project, expected: dict, after: Files, staged: dict, ignored: set[str]
) -> list[str]:
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
    for name in after.keys() & project.index().keys():
        tracked = name not in project.before or name in project.ignored
        if tracked and git_ignores(project, name):
            wrong.append(f"{name} is staged, though git ignores it")
    top = project.git("rev-parse", "--show-prefix").decode().rstrip("\n")
    listing = project.git("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all")
    for line in os.fsdecode(listing).split("\0")[:-1]:
        state, name = line[:2], line[3:].removeprefix(top)
        if name in staged or state[1] == " ":
            continue
        if state != "??" or name not in project.ignored | ignored:
            wrong.append(f"git status says {state} {name}")
    return wrong


def git_ignores(project: Project, name: str) -> bool:
    data = os.fsencode(name) + b"\0"
    return bool(project.git("check-ignore", "--no-index", "-z", "--stdin", data=data, ok=(0, 1)))


def judge_modes(project: Project, expected: dict[str, Outcome]) -> list[str]:
    """Git and the disk agree on which files are executable."""
    wrong, index, disk = [], project.index(), snapshot(project.folder)
    for name, outcome in expected.items():
        if not outcome.entry or name in (LOCK, HOOKS) or name not in disk:
            continue
        mode, was = outcome.entry.mode, project.before.get(name)
        if index.get(name, (mode,))[0] != mode:
            wrong.append(f"{name} has mode {index[name][0]} in git's index, and not {mode}")
        set_anew = not was or was.mode != mode or project.modes
        if disk[name].mode != mode and set_anew and outcome.what not in (BLOCKED, oracle.MOVED):
            wrong.append(f"{name} has mode {disk[name].mode} on the disk, and not {mode}")
    return wrong


def judge_exit(
    project: Project,
    expected: dict[str, Outcome],
    after: Files,
    staged: dict,
    ignored: set[str],
    done: subprocess.CompletedProcess,
) -> list[str]:
    """Exit code 2 where something is left to the user, and the output names it."""
    left = [name for name, one in expected.items() if one.what in (BLOCKED, *IN_CONFLICT)]
    left += sorted(staged.keys() - left)
    exposed = project.ignored & {*project.names("--others", "--exclude-standard")}
    seen = left or ignored or exposed
    todo = seen or locks.left(project, after)
    named = [*left, *exposed]
    wrong = [f"the output does not name {name}" for name in named if shown(name) not in done.stdout]
    for name in ignored:
        if not any(name in row and IGNORED in row for row in done.stdout.splitlines()):
            wrong.append(f"the output does not say that git ignores {name}")
    stays = any(
        oracle.destinations(name, project.base, project.theirs, project.renames)[0]
        for name in project.ignored
    )
    if done.returncode not in ({2} if todo else {0, 2} if stays else {0}):
        wrong.append(f"exit code {done.returncode}, with {seen or 'nothing'} to do")
    return wrong


def shown(name: str) -> str:
    """Return a name as the output has it: bytes that are not UTF-8 are escaped."""
    return name.encode(errors="backslashreplace").decode()


# What has to be refused.


def concerned(project: Project, name: str) -> bool | None:
    """Whether the update must change a file; None if the rules leave it open."""
    outs = oracle.plan(project).outcomes[name]
    if name in (LOCK, HOOKS, ANSWERS) or outs[0].what in (BLOCKED, oracle.STUCK, oracle.KEPT):
        return None
    changes = {
        one.what in IN_CONFLICT
        or one.what == NOTEBOOK
        or not alike(one.entry, project.before.get(name))
        for one in outs
    }
    return changes.pop() if len(changes) == 1 else None
