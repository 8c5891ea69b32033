"""A safe update that is stopped: all is as before, or --abort makes it so."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import commit, git, isolate
from safe_update import TOOL, contents, inject, update

STOP = """
import signal

where, times, how = {where!r}, {times}, {how!r}
module = index if where == "blobs" else journal
calls, orig = 0, getattr(module, where)


def stop(*args, **options):
    global calls
    calls += 1
    if calls == times:
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {{"full": OSError(28, "No space left on device"), "error": KeyError()}}[how]
    return orig(*args, **options)


setattr(module, where, stop)
"""


@pytest.fixture(scope="module")
def edit_once(tmp_path_factory, template, copy):
    """A project that an update changes, adds to, deletes from and has a conflict with."""
    folder = tmp_path_factory.mktemp("edited")
    own = shutil.copytree(template, folder / "template")
    project = folder / "project"
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home", own)
        assert copy(project).returncode == 0
        (project / "tools/lock.py").write_text("# mine\n" + (project / "tools/lock.py").read_text())
        (project / ".editorconfig").write_text("# mine\n")
        commit(project)
        for name in ("tools/lock.py", ".editorconfig", "noxfile.py.jinja"):
            path = own / "template" / name
            path.write_text(f"# new\n{path.read_text()}# new\n")
        (own / "template/tools/hooks.py").unlink()
        (own / "template/a/new").mkdir(parents=True)
        (own / "template/a/new/file.txt").write_text("new\n")
        commit(own, tag="v1.1.0")
        assert update(project, "--check").returncode == 2  # the tool's environment is there
        yield project


@pytest.fixture
def edited(edit_once, tmp_path):
    return shutil.copytree(edit_once, tmp_path / "project", symlinks=True)


def stop(project: Path, where: str, times: int, how: str) -> subprocess.CompletedProcess:
    return inject(project, STOP.format(where=where, times=times, how=how))


PLACES = [
    ("write_journal", 1),
    ("lay", 2),
    ("exchange", 1),
    ("exchange", 3),
    ("place", 1),
    ("place", 4),
    ("stage", 1),
    ("blobs", 1),
    ("write_state", 2),
]


# Each commit stops at each place by a kill; by the two others in two places, and weekly in all.
STOPS = [
    (*place, how)
    if how == "kill" or place in (("write_journal", 1), ("place", 4))
    else pytest.param(*place, how, marks=pytest.mark.thorough)
    for how in ("kill", "full", "error")
    for place in PLACES
]


@pytest.mark.parametrize(("where", "times", "how"), STOPS)
def test_stopped_at_its_worst_moment(edited, where, times, how):
    before = contents(edited)
    done = stop(edited, where, times, how)
    if how == "kill":
        assert done.returncode == -signal.SIGKILL
        if where not in ("write_journal", "lay"):
            assert "stopped in the middle. Take it back with" in update(edited).stderr
            assert update(edited, "--abort").returncode == 0
    else:
        assert done.returncode == 1
        assert ("No space left on device" in done.stderr) == (how == "full")
    assert contents(edited) == before
    assert git(edited, "status", "--porcelain") == ""
    assert update(edited).returncode == 2  # nothing is left that stops the next one


def test_killed_at_random_moments(edited):
    before = contents(edited)
    start = time.monotonic()
    assert update(edited).returncode == 2
    lasts = time.monotonic() - start
    after = contents(edited)
    assert update(edited, "--abort").returncode == 0
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, str(TOOL)],
            cwd=edited,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            process.wait(timeout=moments.uniform(0, lasts))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        (edited / ".git/index.lock").unlink(missing_ok=True)  # as git's own advice is
        if contents(edited) != before or (edited / ".git/gpu-ml-template-update").exists():
            done = update(edited, "--abort")
            assert done.returncode == 0, done.stderr
        assert contents(edited) == before
        assert git(edited, "status", "--porcelain") == ""
    assert update(edited).returncode == 2
    assert contents(edited) == after


def test_killed_and_then_committed(edited):
    """What was half done is reported for as long as it is there, and can be taken back."""
    before = contents(edited)
    stop(edited, "place", 3, "kill")
    (edited / ".git/index.lock").unlink()
    commit(edited)
    said = update(edited).stderr
    assert "stopped in the middle. What it had written was committed since. Take it back" in said
    assert update(edited, "--abort").returncode == 0
    assert contents(edited) == before
    commit(edited)
    assert update(edited).returncode == 2
    assert (edited / "a/new/file.txt").exists()


def test_a_merge_whose_git_is_killed_is_refused(edited):
    """As the kernel does it where memory is short: it is no empty file and no clean merge."""
    before = contents(edited)
    code = """
real = merge.subprocess.run

class Killed:
    returncode, stdout, stderr = -9, b"", b""

merge.subprocess.run = lambda command, **options: (
    Killed if "merge-file" in command else real(command, **options)
)
"""
    done = inject(edited, code)
    assert done.returncode == 1 and "git merge-file was stopped" in done.stderr
    assert contents(edited) == before


def test_a_full_disk_beside_gits_leaves_nothing_behind(edited):
    """Where the project is on another disk than .git, files are copied, and a copy may fail."""
    before = contents(edited)
    code = """
import errno, shutil

def on_another_disk(*args, **options):
    raise OSError(errno.EXDEV, "Invalid cross-device link")

def copy(source, target, **options):
    copy.calls += 1
    with open(target, "w") as file:
        file.write("half")
    if copy.calls == 5:
        raise OSError(errno.ENOSPC, "No space left on device")
    return real(source, target, **options)

copy.calls, real = 0, shutil.copy2
os.link = on_another_disk
replace, folder = os.replace, os.path.dirname
os.replace = lambda a, b: replace(a, b) if folder(a) == folder(b) else on_another_disk()
journal.shutil.copy2 = copy
"""
    done = inject(edited, code)
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert contents(edited) == before
    assert git(edited, "status", "--porcelain") == ""


# Somebody works in the project at the same time.

SAVE = """
orig = journal.{where}

def meanwhile(*args, orig=orig):
    {before}
    found = orig(*args)
    {after}
    return found

journal.{where} = meanwhile
"""
APPEND = "open('tools/lock.py', 'a').write('# saved just now\\n')"
REPLACE = "open('new~', 'w').write('# saved just now\\n'); os.rename('new~', 'tools/lock.py')"
HANDLE = "handle = open('tools/lock.py', 'a')"
LATE = "handle.write('# saved just now\\n'); handle.close()"
SAVES = {
    "before the journal": ("write_journal", APPEND, "pass"),
    "after the journal": ("write_journal", "pass", APPEND),
    "by replacing the file": ("write_journal", "pass", REPLACE),
    "to a file that was opened before": ("write_journal", f"global handle; {HANDLE}", "pass"),
}


@pytest.mark.parametrize("when", SAVES)
def test_what_an_editor_saves_meanwhile_is_not_lost(edited, when):
    where, before, after = SAVES[when]
    code = SAVE.format(where=where, before=before, after=after)
    if "handle" in before:
        code += SAVE.format(where="stage", before="pass", after=LATE)
    done = inject(edited, code)
    assert done.returncode == 1 and "changed while the update worked" in done.stderr, done.stderr
    assert (edited / "tools/lock.py").read_text().endswith("# saved just now\n")
    assert git(edited, "status", "--porcelain") == " M tools/lock.py\n"


def test_a_file_that_appears_where_one_was_taken_away_stays(edited):
    code = """
orig = journal.move

def move(source, path):
    orig(source, path)
    if str(source) == "tools/lock.py":
        open(source, "w").write("# saved just now\\n")

journal.move = move
"""
    done = inject(edited, code)
    assert done.returncode == 1 and "changed while the update worked" in done.stderr
    assert (edited / "tools/lock.py").read_text() == "# saved just now\n"
    where = done.stdout.split("before that: ")[1].split("\n")[0]
    assert Path(where).read_text().startswith("# mine\n")


@pytest.mark.parametrize("when", ["write_journal", "stage", "check_filters"])
def test_a_commit_elsewhere_in_the_repository_is_not_reverted(edited, tmp_path, when):
    mono = tmp_path / "mono"
    mono.mkdir()
    (mono / "service.py").write_text("v1\n")
    shutil.rmtree(edited / ".git")
    edited = edited.rename(mono / "project")
    commit(mono)
    command = "git -C .. commit --quiet --all --message=Fix"
    before = f"open('../service.py', 'w').write('v2'); print(os.system({command!r}))"
    done = inject(edited, SAVE.format(where=when, before=before, after="pass"))
    assert done.returncode == 2, done.stdout + done.stderr
    made = when == "check_filters"  # before git's lock is held; after that no commit can be made
    assert ("Fix" in git(mono, "log", "--format=%s")) == made
    git(mono, "add", "--all")
    git(mono, "commit", "--quiet", "--all", "--message=Update")
    assert git(mono, "show", "HEAD:service.py") == "v2"
    assert not (mono / ".git/index.lock").exists()
