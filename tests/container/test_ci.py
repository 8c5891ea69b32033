"""GitHub's workflow of the project, step by step, on a checkout as a runner has it.

What is not shown: GitHub's own machines, what `uses:` does, and a runner with a GPU.
"""

import os
import re
import subprocess
import sys
import time
from os import get_exec_path
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.container

WORKFLOW = ".github/workflows/ci.yml"
LONG = ("resume", "distributed", "benchmark", "gpu_check")  # test_generated.py runs them
ADA = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


@pytest.fixture(scope="module")
def checkout(new_workspace, host_users):
    """A fresh clone of the project, of somebody whose uid is not the image's."""
    workspace = new_workspace("runner", host_users["1234"])
    origin = workspace.folder.with_name("origin")
    for line in (["init"], ["add", "--all"], [*ADA, "commit", "--message=Start"]):
        assert workspace.try_run("git", *line).returncode == 0
    workspace.folder.rename(origin)
    workspace.folder.mkdir()
    workspace.user.own(workspace.folder.parent)
    done = workspace.try_run("git", "clone", "--no-hardlinks", origin, ".")
    assert done.returncode == 0, done.stdout
    return workspace


@pytest.fixture(scope="module")
def steps(checkout) -> list[dict]:
    job = yaml.safe_load((checkout.folder / WORKFLOW).read_text())["jobs"]["check"]
    return [step for step in job["steps"] if "run" in step]


@pytest.fixture(scope="module")
def runner(checkout):
    """Run a step of the workflow, as GitHub's runner does."""
    python = checkout.folder.parent / "python"  # what actions/setup-python puts on the PATH
    found = (Path(folder, "python3") for folder in (Path(sys.executable).parent, *get_exec_path()))
    fits = "import sys; sys.exit(sys.version_info < (3, 11))"  # and not behind root's home
    base = next(path for path in found if checkout.try_run("env", path, "-c", fits).returncode == 0)
    line = [sys.executable, "-m", "virtualenv", "--quiet", f"--python={base}", python]
    subprocess.run(line, check=True)
    checkout.user.own(python)
    env = {
        "PATH": f"{python / 'bin'}{os.pathsep}{checkout.engine.env['PATH']}",
        "CI": "true",
        "GITHUB_ACTIONS": "true",
        "SMOKE": "1",  # the notebook with small sizes
        "PYTEST_ADDOPTS": " ".join(f"--ignore=tests/engine/test_{name}.py" for name in LONG),
    }

    def run(step: dict) -> str:
        line = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
        done = checkout.try_run(*line, env=env)
        assert done.returncode == 0, f"{step['run']}:\n{done.stdout}"
        return done.stdout

    return run


def test_each_step_passes_on_a_runners_checkout(checkout, steps, runner, record_property):
    printed = {}
    for step in steps:
        before = time.monotonic()
        printed[step["run"]] = runner(step)
        record_property(step["run"][:24], f"{time.monotonic() - before:.0f} s")
        if step["run"].endswith("-- lint"):  # the last one that needs a network
            [container] = checkout.containers
            for network in checkout.container["NetworkSettings"]["Networks"]:
                checkout.engine.docker("network", "disconnect", network, container)
    assert len(printed) == 5
    assert "no passwords, keys, tokens" in printed["nox -s ci -- lint"]
    tests = printed["nox -s ci -- tests"]
    assert re.search(r"=+ \d+ passed.* =+\n", tests)
    assert not re.search(r"\d (failed|skipped|xfailed|error)", tests)
    assert (checkout.folder / "runs/notebooks/gpu_check.html").stat().st_size > 100_000
    for made in ("runs", "reports/gpu_check.json"):
        assert (checkout.folder / made).stat().st_uid == checkout.user.uid
    assert checkout.exec("printenv", "UV_PROJECT_ENVIRONMENT") == "/opt/venv\n"  # it is in there
    status = checkout.try_run("git", "status", "--porcelain")
    assert status.stdout == ""


def test_a_part_that_fails_fails_the_step(checkout, steps, runner):
    bad = checkout.folder / "bad.py"
    bad.write_text("import os\n")
    checkout.user.own(bad)
    [lint] = [step for step in steps if step["run"].endswith("-- lint")]
    with pytest.raises(AssertionError, match="F401"):
        runner(lint)
