"""On a base image with a user of uid 1000, Python 3.11, and a CUDA of its own that gets in the way.

So are tensorflow/tensorflow:*-gpu and nvidia/cuda:*-devel; the stand-in's libraries are empty.
"""

import json

import pytest

from .images import RESOLVE

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("tidy")]

IMAGE = "gpu-ml-rig-on-stale"


@pytest.fixture(scope="module")
def run(tidy, engine, stand_in, project):
    """Run a command in the image for the GPU on that base."""
    base, file = stand_in("stale_cuda"), project / ".devcontainer/Dockerfile"
    stub = engine.docker("run", "--rm", base, "ldconfig", "--print-cache")
    assert "libcuda.so.1 " in stub and "libcudnn.so.9 " in stub
    options = [f"--build-arg=BASE_IMAGE={base}", f"--tag={IMAGE}", f"--file={file}"]
    engine.docker("build", "--target=runtime", *options, project)
    yield lambda *command: engine.try_docker("run", "--rm", "--network=none", IMAGE, *command)
    engine.docker("image", "rm", "--force", IMAGE)


def test_only_the_locks_cuda_is_used(run):
    done = run("python", "-c", RESOLVE)
    assert done.returncode == 0, done.stdout
    assert all("/site-packages/nvidia/" in path for path in done.stdout.split()), done.stdout


def test_no_stub_stands_for_the_driver(run):
    stub = run("python", "-c", "import ctypes; ctypes.CDLL('libcuda.so.1')")
    assert "cannot open shared object file" in stub.stdout


def test_dev_takes_the_place_of_the_other_user(run):
    assert run("id").stdout.startswith("uid=1000(dev) gid=1000(dev) ")
    assert run("id", "ubuntu").returncode != 0


def test_nobody_changes_what_each_shell_runs(run):
    assert run("stat", "--format=%A", "/etc/bash.bashrc").stdout.strip() == "-rwxr-xr-x"
    done = run("bash", "-ic", "true")
    assert "ldconfig" not in done.stdout


def test_its_python_is_used(run):
    facts = json.loads(run("cat", "/opt/venv/gpu_facts.json").stdout)
    assert facts["accelerator"] == "gpu" and facts["python"].startswith("3.11.")
