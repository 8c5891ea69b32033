"""A destination that has files of its own: what Copier keeps, and how to adopt the template."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, commit, git

ANSWERS = ".copier-answers.yml"

# The commands of the documentation; a file that no release has stands in for pyproject.toml.
GUIDE = (ROOT / "docs/adopting.md").read_text().replace("pyproject.toml", "note.txt")
ADOPT, COMPARE = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but git's own."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def shell(commands: str, cwd: Path) -> int:
    """Run the commands of the documentation, with the default answers."""
    commands = commands.replace("copier copy --skip", "copier copy --defaults --skip")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    return subprocess.run(["sh", "-ec", commands], cwd=cwd, env=env, capture_output=True).returncode


@pytest.fixture
def fresh(tmp_path, own_template, copy) -> dict[str, bytes]:
    """The files of a new project called `theirs`, one of which is note.txt."""
    (own_template / "template/note.txt").write_text("Template's note\n")
    commit(own_template, tag="v1.1.0")
    assert copy(tmp_path / "fresh/theirs").returncode == 0
    return contents(tmp_path / "fresh/theirs")


@pytest.fixture
def theirs(tmp_path, fresh) -> Path:
    """A repository that has every second file of the template, with contents of its own."""
    folder = tmp_path / "theirs"
    for name in ["note.txt", "thesis.tex", *sorted(fresh.keys() - {ANSWERS})[::2]]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"Their own {name}\n")
    commit(folder)
    (folder / "untracked.txt").write_text("Never seen by git\n")
    return folder


def test_a_script_stops_at_the_first_file_of_theirs(theirs, copy):
    before = contents(theirs)
    process = copy(theirs)
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1].endswith("Consider using `--overwrite`")
    assert contents(theirs).items() >= before.items()


def test_adopting_keeps_every_byte(theirs, fresh):
    before = contents(theirs)
    assert shell(ADOPT, theirs) == 0
    assert contents(theirs) == fresh | before
    assert git(theirs, "status", "--short") == ""


def test_a_kept_file_can_take_the_templates_text(theirs):
    assert shell(ADOPT, theirs) == 0
    assert shell(COMPARE, theirs) == 1  # one conflict
    text = "<<<<<<< yours\nTheir own note.txt\n=======\nTemplate's note\n>>>>>>> template\n"
    assert (theirs / "note.txt").read_text() == text


def test_updates_work_after_adopting(theirs, own_template, copier):
    assert shell(ADOPT, theirs) == 0
    before = contents(theirs)
    (own_template / "template/note.txt").write_text("Template's new note\n")
    (own_template / "template/new.txt").write_text("New\n")
    commit(own_template, tag="v1.2.0")
    assert copier("update", "--defaults", theirs).returncode == 0
    after = contents(theirs)
    assert {name for name in after if after[name] != before.get(name)} == {
        ANSWERS,
        "new.txt",
        "note.txt",
    }
    assert b"Their own note.txt\n" in after["note.txt"]
    assert b"Template's new note\n" in after["note.txt"]
    assert git(theirs, "diff", "--name-only", "--diff-filter=U") == "note.txt\n"
