"""The README's commands, run as a newcomer would: a clean clone, an empty home, word for word."""

import os
import re
import subprocess

from conftest import ROOT

COMMANDS = re.findall(r"^```shell\n(.*)\n```$", (ROOT / "README.md").read_text(), re.M)


def test_there_is_a_demo_and_ci_runs_the_others():
    demo, *tests = COMMANDS
    assert demo.endswith(" -s demo")
    assert (ROOT / ".ci/run").read_text().splitlines()[-2:] == tests


def test_the_first_command_makes_trains_and_shows_a_project(template, tmp_path, capfd):
    clone, home = tmp_path / "clone", tmp_path / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", template, clone], check=True)
    ours = ("COPIER_", "GIT_", "NOX_", "PYTEST_", "PYTHON", "UV_", "VIRTUAL_", "XDG_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        COMMANDS[0],
        shell=True,
        cwd=clone,
        env=env | {"HOME": str(home)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == 0, done.stdout
    places = dict(re.findall(r"The (project|report|notebook): +(\S+)", done.stdout))
    assert set(places) == {"project", "report", "notebook"}
    assert all(os.path.exists(place) for place in places.values())
