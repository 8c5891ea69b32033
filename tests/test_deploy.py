"""deploy/: the Slurm script with a played Slurm, and the structure of KubeRay's manifest."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="module")
def project(copy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("deploy") / "project"
    assert copy(folder, package_name="big_cats").returncode == 0
    return folder


@pytest.fixture
def sbatch(project, tmp_path):
    """Run the script where srun ends with a code; return its code and what it called."""
    calls = tmp_path / "calls"

    def run(*arguments: str, code: int = 0) -> tuple[int, str]:
        for name, ends in (("srun", code), ("scontrol", 0)):
            fake = tmp_path / name
            fake.write_text(f'#!/bin/sh\necho "{name} $KERAS_BACKEND $*" >> {calls}\nexit {ends}\n')
            fake.chmod(0o755)
        env = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
        env |= {"SLURM_SUBMIT_DIR": str(project)}
        line = ["bash", "deploy/slurm.sh", *arguments]
        done = subprocess.run(line, cwd=project, env=env, capture_output=True, text=True)
        return done.returncode, calls.read_text() if calls.exists() else done.stderr

    return run


def test_shellcheck_finds_nothing(project):
    done = subprocess.run(["shellcheck", "deploy/slurm.sh"], cwd=project, capture_output=True)
    assert done.returncode == 0, done.stdout


def test_slurm_starts_the_training_on_jax(sbatch):
    code, calls = sbatch("digits", "--run-dir", "runs/first")
    command = ".venv/bin/python -m big_cats train digits --run-dir runs/first"
    assert (code, calls) == (0, f"srun jax --kill-on-bad-exit=1 {command}\n")


def test_slurm_requeues_what_was_stopped_in_order_and_no_more(sbatch):
    code, calls = sbatch("digits", "--run-dir=runs/first", code=75)
    assert code == 75 and calls.endswith("scontrol jax requeue 7\n")
    code, calls = sbatch("digits", "--run-dir=runs/first", code=1)
    assert code == 1 and calls.count("scontrol") == 1


def test_slurm_wants_a_run_directory(sbatch):
    assert sbatch("digits") == (
        2,
        "error: give a --run-dir, so that a requeued job goes on where it was\n",
    )


def test_the_rayjob_is_of_one_piece(project):
    job = yaml.safe_load((project / "deploy/rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    assert job["metadata"]["name"] == "big-cats"  # a name that Kubernetes takes
    cluster = job["spec"]["rayClusterSpec"]
    lock = (project / "requirements/scale.txt").read_text()
    assert re.search(r"^ray==(\S+)", lock, re.MULTILINE)[1] == cluster["rayVersion"]

    command = shlex.split(job["spec"]["entrypoint"])
    assert command[:5] == ["python", "-m", "big_cats", "launch", "--address"]
    options = dict(zip(command[4::2], command[5::2], strict=False))
    [workers] = cluster["workerGroupSpecs"]
    assert int(options["--processes"]) == workers["replicas"] == workers["maxReplicas"]
    [worker] = workers["template"]["spec"]["containers"]
    assert worker["resources"]["limits"]["nvidia.com/gpu"] == int(options["--gpus-per-worker"])
    [head] = cluster["headGroupSpec"]["template"]["spec"]["containers"]
    assert head["image"] == worker["image"]
    assert command[-2] == "--run-dir"
    for pod in (head, worker):  # the checkpoints outlive each pod
        places = [mount["mountPath"] for mount in pod["volumeMounts"]]
        assert any(command[-1].startswith(f"{place}/") for place in places)
