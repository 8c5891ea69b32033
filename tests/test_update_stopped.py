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
from safe_update import TOOL, contents, update

STOP = """
import os, runpy, signal, sys
from pathlib import Path

tool, where, times, how = sys.argv[1:5]
update = runpy.run_path(tool)  # its functions see this dictionary through each other's globals
inside = update["main"].__globals__
calls, orig = 0, inside[where]


def stop(*args, **options):
    global calls
    calls += 1
    if calls == int(times):
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise {"full": OSError(28, "No space left on device"), "error": KeyError()}[how]
    return orig(*args, **options)


inside[where] = stop
sys.argv = [tool]
try:
    sys.exit(inside["main"]())
except (inside["Refused"], KeyError) as error:
    sys.exit(f"update: {error}.")
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


def python_of_the_tool() -> Path:
    [path] = Path(os.environ["XDG_CACHE_HOME"], "gpu-ml-template").glob("copier-*/bin/python")
    return path


def stop(project: Path, where: str, times: int, how: str) -> subprocess.CompletedProcess:
    line = [python_of_the_tool(), "-c", STOP, str(TOOL), where, str(times), how]
    return subprocess.run(line, cwd=project, capture_output=True, text=True)


PLACES = [
    ("write_journal", 1),
    ("remove", 1),
    ("move", 1),
    ("move", 5),
    ("stage", 1),
    ("joined", 2),
]


@pytest.mark.parametrize(("where", "times"), PLACES)
@pytest.mark.parametrize("how", ["kill", "full", "error"])
def test_stopped_at_its_worst_moment(edited, where, times, how):
    before = contents(edited)
    done = stop(edited, where, times, how)
    if how == "kill":
        assert done.returncode == -signal.SIGKILL
        if contents(edited) != before or where != "write_journal":
            assert "stopped in the middle: take it back with" in update(edited).stderr
            assert update(edited, "--abort").returncode == 0
    else:
        assert done.returncode == 1
        assert ("No space left on device" in done.stderr) == (how == "full")
    assert contents(edited) == before
    assert git(edited, "status", "--porcelain") == ""


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
        if contents(edited) != before or (edited / ".git/gpu-ml-template-update").exists():
            done = update(edited, "--abort")
            assert done.returncode == 0, done.stderr
        assert contents(edited) == before
        assert git(edited, "status", "--porcelain") == ""
    assert update(edited).returncode == 2
    assert contents(edited) == after
