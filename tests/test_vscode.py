"""VS Code: its tasks are the nox sessions, and what it launches is what the package understands."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXTENSION = re.compile(r"[a-z0-9-]+\.[a-z0-9-]+")
SERVERS = {"lab", "tensorboard"}
# ${...} that VS Code knows, of those that the files need
VARIABLES = {"workspaceFolder", "file"}


@pytest.fixture(scope="module")
def project(copy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("vscode") / "project"
    assert copy(folder, package_name="cats").returncode == 0
    return folder


def load(file: Path) -> dict:
    """Read JSON with comments, which stand on lines of their own."""
    lines = file.read_text().splitlines()
    return json.loads("\n".join(x for x in lines if not x.lstrip().startswith("//")))


def configurations(project: Path, module: str) -> dict[str, list[list[str]]]:
    """The command lines that each launch configuration of a module can give."""
    launch = load(project / ".vscode/launch.json")
    choices = {item["id"]: item.get("options", ["runs/none"]) for item in launch["inputs"]}
    inputs = {"${input:" + name + "}": values for name, values in choices.items()}
    found = {}
    for config in launch["configurations"]:
        if config.get("module") != module:
            continue
        lines = [[]]
        for word in config.get("args", []):
            lines = [[*line, value] for line in lines for value in inputs.get(word, [word])]
        found[config["name"]] = lines
    return found


def cats(project: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the package's command line, without any framework, in an empty folder."""
    env = os.environ | {"PYTHONPATH": str(project / "src")}
    line = [sys.executable, "-m", "cats", *arguments]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True)


def test_each_nox_session_is_a_task_and_there_are_no_others(project):
    listed = subprocess.check_output(["nox", "--list"], cwd=project, text=True)
    names = re.findall(r"^[*-] (\S+)", listed, re.MULTILINE)
    assert {"train", "container", "doctor", "update"} < set(names)
    tasks = load(project / ".vscode/tasks.json")["tasks"]
    assert sorted(task["label"] for task in tasks) == sorted(names)
    for task in tasks:
        assert task["command"] == f"nox -s {task['label']}"
        assert (task["type"], task["problemMatcher"]) == ("shell", [])
        assert task["detail"] and not task["detail"].endswith(".")
        assert task.get("isBackground", False) == (task["label"] in SERVERS)
    [default] = [task["label"] for task in tasks if task.get("group", {}).get("isDefault")]
    assert default == "tests"


def test_every_launch_configuration_is_understood(project, tmp_path):
    found = configurations(project, "cats")
    assert [name for name, lines in found.items() if len(lines) > 1] == [
        "Train",
        "Resume the newest unfinished run",
    ]
    words = set()
    for line in [line for lines in found.values() for line in lines]:
        done = cats(project, tmp_path, *line)
        words.add(line[0])
        # Beyond its arguments it ends for want of a run, or of the framework that is not here.
        refused = re.search(r"error: .*\bruns/|No module named 'keras'", done.stderr)
        assert done.returncode == 0 or (done.returncode == 1 and refused), done.stderr
    assert words == {"train", "evaluate", "runs"}
    for wrong in (["trian"], ["train", "digit"], ["train", "digits", "--resumed"], ["evaluate"]):
        done = cats(project, tmp_path, *wrong)
        assert done.returncode and "No module named" not in done.stderr
        assert not re.search(r"error: .*\bruns/", done.stderr), "such a mistake would pass above"


def test_the_recipes_to_choose_from_are_the_package_s(project, tmp_path):
    [recipes] = [
        item for item in load(project / ".vscode/launch.json")["inputs"] if item["id"] == "recipe"
    ]
    refusal = cats(project, tmp_path, "train", "none").stderr
    assert refusal.strip().endswith("choose one of " + ", ".join(recipes["options"]))
    assert recipes["default"] == recipes["options"][0]


def test_launch_configurations_are_of_one_form(project):
    launch = load(project / ".vscode/launch.json")
    names = [config["name"] for config in launch["configurations"]]
    assert len(set(names)) == len(names)
    for config in launch["configurations"]:
        assert (config["type"], config["request"]) == ("debugpy", "launch")
        assert ("module" in config) != ("program" in config)
        assert config.get("module", "cats") in ("cats", "pytest")
        assert "env" not in config, "settings of a person belong into .env"
    text = (project / ".vscode/launch.json").read_text()
    inputs = {f"input:{item['id']}" for item in launch["inputs"]}
    used = set(re.findall(r"\$\{([^}]*)\}", text))
    assert used == inputs | VARIABLES
    assert "${" not in (project / ".vscode/tasks.json").read_text()


def test_extensions_are_recommended_on_the_host_and_installed_in_the_container(project):
    recommended = load(project / ".vscode/extensions.json")["recommendations"]
    assert all(EXTENSION.fullmatch(name) for name in recommended)
    assert recommended == sorted(set(recommended))
    for name in ("devcontainer.json", "cpu/devcontainer.json"):
        custom = load(project / ".devcontainer" / name)["customizations"]["vscode"]
        # The container's own extension is for the host.
        assert [*custom["extensions"], "ms-vscode-remote.remote-containers"] == recommended


def test_settings_name_what_is_there(project):
    settings = load(project / ".vscode/settings.json")
    assert settings["python.testing.pytestEnabled"] is True
    rulers = settings["[python]"]["editor.rulers"]
    assert f"line-length = {rulers[0]}" in (project / "pyproject.toml").read_text()
    assert settings["[python]"]["editor.defaultFormatter"] == "charliermarsh.ruff"
    hidden = {pattern.removeprefix("**/") for pattern in settings["search.exclude"]}
    ignored = (project / ".gitignore").read_text()
    for name in hidden - {"data/raw", "requirements/*.txt"}:
        assert f"/{name}\n" in ignored
