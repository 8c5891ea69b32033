"""The image for the GPU, without one: it starts, its CUDA loads, and its check can fail."""

import json
import os
import shutil

import pytest

from .images import RESOLVE

pytestmark = [pytest.mark.container, pytest.mark.usefixtures("tidy")]


@pytest.fixture(scope="module")
def workspace(tidy, new_workspace, host_users, note):
    """A running dev container for the GPU."""
    workspace = new_workspace("gpu", host_users["1234"], cpu=False)
    workspace.up()
    size = workspace.engine.inspect(workspace.container["Config"]["Image"])["Size"]
    note("image for the GPU", f"{size / 1e9:.2f} GB")
    yield workspace
    workspace.sweep()


def test_its_facts_are_those_of_a_gpu(workspace):
    facts = json.loads(workspace.exec("cat", "/opt/venv/gpu_facts.json"))
    assert facts["accelerator"] == "gpu" and facts["framework"] == "tensorflow"
    assert facts["cuda"].startswith("12.") and "sm_80" in facts["compute_capabilities"]


def test_its_libraries_load(workspace):
    found = workspace.exec("python3", "-c", RESOLVE).split()
    assert found and all("/site-packages/nvidia/" in path for path in found), found


def test_it_works_without_a_gpu(workspace):
    if not os.path.exists("/dev/nvidiactl"):
        [verdict] = workspace.exec("python3", ".devcontainer/doctor.py", "--brief").splitlines()
        assert "CPU" in verdict
    assert "epoch 1/1" in workspace.exec("nox", "-s", "train", "--", "--epochs", "1")


def test_the_check_of_its_build_is_no_decoration(workspace, project, tmp_path, engine):
    # TensorFlow 2.21 does not find libcusolver by itself, and would compute on the CPU.
    context = shutil.copytree(project, tmp_path / "demo")
    file = context / ".devcontainer/Dockerfile"
    step = (
        "find /opt/venv -path '*/nvidia/*/lib' -prune >/etc/ld.so.conf.d/000-venv.conf && ldconfig"
    )
    assert step in (text := file.read_text())
    file.write_text(text.replace(step, "true"))
    done = engine.try_docker("build", f"--file={file}", "--target=runtime", context)
    assert done.returncode != 0
    assert "TensorFlow does not find libcusolver.so.11 and would compute on the CPU" in done.stdout
