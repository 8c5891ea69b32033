"""What stays at home: the secrets in .env, and how a project is used.

That JupyterLab and TensorBoard call nobody is tested in the project
(tests/engine/test_servers.py), and MLflow in test_tracking.py.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import commit, git

OFF = {"MLFLOW_DISABLE_TELEMETRY": "true", "RAY_USAGE_STATS_ENABLED": "0"}
OFF["ORT_DISABLE_TELEMETRY"] = "1"
OFF["PIP_DISABLE_PIP_VERSION_CHECK"] = "1"
SECRET = "hunter2-of-mine"
SECRETS = [".env", ".env.local", "src/cats/.env", "notebooks/.env"]


@pytest.fixture
def project(copy, tmp_path) -> Path:
    folder = tmp_path / "project"
    assert copy(folder, package_name="cats").returncode == 0
    commit(folder)
    return folder


def test_images_and_clusters_report_nothing(project):
    dockerfile = (project / ".devcontainer/Dockerfile").read_text()
    base = re.search(r"^FROM \S+ AS base$(.*?)^FROM", dockerfile, re.MULTILINE | re.DOTALL)[1]
    base = base.replace("\\\n", "")
    for name, value in OFF.items():
        assert re.search(rf"^ENV .*\b{name}={value}( |$)", base, re.MULTILINE), name
    job = yaml.safe_load((project / "deploy/rayjob.yaml").read_text())
    [head] = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["containers"]
    assert {"name": "RAY_USAGE_STATS_ENABLED", "value": "0"} in head["env"]  # it is the reporter


@pytest.mark.parametrize(
    ("name", "given", "then"),
    [
        ("RAY_USAGE_STATS_ENABLED", None, "0"),
        ("RAY_USAGE_STATS_ENABLED", "1", "1"),
        ("ORT_DISABLE_TELEMETRY", None, "1"),
        ("ORT_DISABLE_TELEMETRY", "0", "0"),
    ],
)
def test_the_package_reports_nothing_unless_somebody_wants_it(
    project, monkeypatch, name, given, then
):
    monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(project / "src"))
    if given:
        monkeypatch.setenv(name, given)
    show = f"import os, cats; print(os.environ[{name!r}])"
    assert subprocess.check_output([sys.executable, "-c", show], text=True) == f"{then}\n"


def test_env_files_are_not_committed_and_not_in_the_image(project):
    for name in SECRETS:
        (project / name).write_text(f"API_TOKEN={SECRET}\n")
    assert git(project, "status", "--porcelain") == ""
    (project / ".env.example").write_text("API_TOKEN=\n")  # such a file is for everybody
    assert git(project, "status", "--porcelain") == "?? .env.example\n"

    rules = [x for x in (project / ".dockerignore").read_text().splitlines() if x[:1] != "#"]
    let_in = [rule for rule in rules if rule.startswith("!")]
    out = rules[rules.index(let_in[-1]) + 1 :]  # the last rule that fits counts
    assert {"**/.env", "**/.env.*"} <= set(out)


def test_a_doctors_report_has_nothing_of_it(project):
    (project / ".env").write_text(f"API_TOKEN={SECRET}\n")
    doctor = [sys.executable, ".devcontainer/doctor.py"]
    for option in ("--json", "--report"):
        env = os.environ | {"API_TOKEN": SECRET}
        done = subprocess.run(
            [*doctor, option], cwd=project, env=env, capture_output=True, text=True
        )
        assert done.stdout and SECRET not in done.stdout + done.stderr
