"""The safe update from every version, whatever was answered and edited in between."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import guards
import pytest
import yaml
from conftest import ROOT, SOURCE, commit, each_release, git
from releases import NEXT, read_releases
from safe_update import contents, live, merge_file, refused, unmerged, update

RELEASES = read_releases()
SEEDED = yaml.safe_load((ROOT / "copier.yml").read_text().split("---")[0])["_skip_if_exists"]
ANSWERS = {
    "defaults": {},
    "jax-gitlab": {"framework": "jax", "ci": "gitlab", "license": "none", "package_name": "cats"},
    "torch-none": {"framework": "torch", "ci": "none", "user_name": "Zoë O'Neill"},
}


def seeded(name: str) -> bool:
    return any(Path(name).match(pattern) for pattern in SEEDED)


def yours(name: str) -> bool:
    """Whether the template gives the file once and never changes it (locks follow the answers)."""
    return seeded(name) and not name.startswith("requirements/")


def renamed(project: Path, old: dict, new: dict) -> dict[str, str]:
    """The names of the old version by those that the new one gives the same files."""
    [package] = [path.name for path in (project / "src").iterdir() if path.is_dir()]
    lines = [
        tuple(re.sub(r"{{ *package_name *}}", package, side) for side in line)
        for line in guards.declared(ROOT)
    ]
    found = {guards.follow(name, lines): name for name in old}
    return {right: left for right, left in found.items() if right != left and right in new}


@pytest.fixture
def make(history, copier, tmp_path):
    """Copy a version of this template, with these answers, and commit it."""

    def run(version: str, name: str = "project", **answers: str) -> Path:
        data = [f"--data={key}={value}" for key, value in answers.items()]
        folder = tmp_path / name / "p"  # the folder's name is part of the answers
        done = copier("copy", "--defaults", f"--vcs-ref={version}", *data, SOURCE, folder)
        assert done.returncode == 0, done.stderr
        commit(folder)
        return folder

    return run


@pytest.fixture(scope="module")
def made() -> dict[str, dict]:
    return {}


@pytest.fixture
def fresh(make, made):
    """The files of a new project, by these answers; each made once."""

    def run(**answers: str) -> dict[str, tuple]:
        key = json.dumps(answers)
        if key not in made:
            made[key] = contents(make(NEXT, "fresh", **answers))
        return made[key]

    return run


@pytest.mark.parametrize("answers", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("version", each_release())
def test_an_untouched_project_becomes_a_fresh_one(version, answers, make, fresh):
    fresh, project = fresh(**answers), make(version, **answers)
    old = contents(project)
    done = update(project)
    assert done.returncode == 0, done.stdout + done.stderr
    new = contents(project)
    assert git(project, "diff", "--name-only") == ""  # all of it is staged
    for name in old.keys() | new.keys() | fresh.keys():
        if yours(name) and name in old:
            assert new[name] == old[name]
        else:
            assert new.get(name) == fresh.get(name), name


# The way from the first one takes each step there is.
FIRST, *LATER = RELEASES
STEPS = [(FIRST, answers) for answers in ANSWERS]
STEPS += [(version, "defaults") for version in (LATER[len(LATER) // 2], LATER[-1])]
STEPS = [STEPS[0], *(pytest.param(*step, marks=pytest.mark.thorough) for step in STEPS[1:])]


@pytest.mark.parametrize(("version", "answers"), STEPS)
def test_step_by_step_equals_straight(version, answers, make):
    answers = ANSWERS[answers]
    straight = make(version, **answers)
    stepwise = shutil.copytree(straight, straight.with_name("stepwise"))
    assert update(straight).returncode == 0
    given = {}  # the files that are yours, as the first step with them gave them
    for step in [*RELEASES, NEXT][list(RELEASES).index(version) + 1 :]:
        assert update(stepwise, "--to", step).returncode == 0
        commit(stepwise)
        here = contents(stepwise)
        given = {name: here[name] for name in here if yours(name)} | given
    here, there = contents(stepwise), contents(straight)
    assert here.keys() == there.keys()
    for name in here:
        assert here[name] == (given[name] if yours(name) else there[name]), name


@pytest.mark.parametrize("version", each_release())
def test_the_updater_that_a_version_shipped_still_updates(version, make, fresh):
    fresh, project = fresh(), make(version)
    if not (project / "tools/update.py").exists():
        assert version == "v0.1.0"  # which has none: the newest one does it, as the docs say
        return
    done = update(project, tool="tools/update.py")
    assert done.returncode == 0, done.stdout + done.stderr
    new = contents(project)
    assert {name: new[name] for name in new if not seeded(name)} == {
        name: fresh[name] for name in fresh if not seeded(name)
    }


@pytest.mark.parametrize("version", each_release())
def test_a_teams_work_survives(version, make, fresh, tmp_path):
    project, fresh = make(version), fresh()
    old = contents(project)
    live(project)
    commit(project)
    mine = contents(project)
    done = update(project)
    assert done.returncode in (0, 2), done.stdout + done.stderr
    new, conflicts = contents(project), unmerged(project)
    later = "finish them with `nox -s lock`" in done.stdout  # where the update changes lock.py
    assert (done.returncode == 2) == (bool(conflicts) or later), done.stdout
    moved = renamed(project, old, fresh)
    was = {"HOW_WE_WORK.md": "AGENTS.md"}  # the team renamed it
    assert was.keys() <= new.keys() and not {*was.values()} & new.keys()
    assert not {*moved.values()} & new.keys() - fresh.keys()
    for name in mine.keys() - {*moved.values()} | new.keys():
        known = was.get(name, name)
        before = moved.get(known, known)
        base, theirs = old.get(before), fresh.get(known)
        yours = mine.get(name if name in was else before)
        if name.startswith("requirements/") and name in mine and name in fresh:
            continue  # tested below
        if yours is None:
            assert name not in new if base else new[name] == theirs, name
        elif base and theirs is None and yours == base:
            assert name not in new, name  # the template has deleted it
        elif known not in fresh or (seeded(name) and base) or theirs == base:
            assert new[name] == yours, name
        elif yours == base:
            assert new.get(name) == theirs, name
        elif name not in conflicts:
            data = [entry[-1].replace(b"\r\n", b"\n") for entry in (yours, base, theirs)]
            assert merge_file(*data, tmp_path) == (new[name][-1].replace(b"\r\n", b"\n"), 0), name
            assert (b"\r\n" in yours[-1]) == (b"\r\n" in new[name][-1])
    assert new["tools/lock.py"][1]  # still executable
    assert (
        b"MINE = True\r\n" in new["noxfile.py"][-1] and b"tools/update.py" in new["noxfile.py"][-1]
    )
    assert "\ntabulate==0.9.0 " in (project / "requirements/cpu.txt").read_text()
    line = [sys.executable, "tools/lock.py"]
    if later:
        assert subprocess.run(line, cwd=project).returncode == 0
    assert subprocess.run([*line, "--check"], cwd=project).returncode == 0


def test_abort_takes_it_back(make):
    project = make("v0.1.0")
    live(project)
    commit(project)
    before = contents(project)
    assert update(project).returncode in (0, 2)
    (project / "noxfile.py").write_text("edited since\n")
    done = update(project, "--abort")
    assert done.returncode == 0, done.stderr
    assert contents(project) == before and git(project, "status", "--porcelain") == ""
    aside = done.stdout.splitlines()[0].removeprefix("edited since the update: that text is in ")
    assert Path(aside).read_text() == "edited since\n"
    assert refused(project, "--abort") == "update: there is no update to take back."
