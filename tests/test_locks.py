"""Locks: in step with the ranges, whole for every system, and free of index addresses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FRAMEWORKS = ("tensorflow", "jax", "torch")
SYSTEMS = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28", "aarch64-apple-darwin")


@pytest.fixture(scope="module", params=FRAMEWORKS)
def project(request, copy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("locks") / request.param
    assert copy(folder, framework=request.param).returncode == 0
    return folder


def check(project: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "tools/lock.py", "--check"]
    return subprocess.run(line, cwd=project, capture_output=True, text=True)


def test_they_are_in_step_with_the_ranges_and_the_check_can_fail(project):
    done = check(project)
    assert (done.returncode, done.stderr) == (0, "")
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text()
    pyproject.write_text(text.replace('"tyro>=1.0"', '"tyro>=2.0"'))
    done = check(project)
    pyproject.write_text(text)
    assert done.returncode == 1
    assert done.stderr.endswith("out of step with pyproject.toml: run `nox -s lock`.\n")
    assert done.stderr.count("\n") == 1


def test_an_edited_pin_is_noticed(project):
    lock = project / "requirements" / "cpu.txt"
    text = lock.read_text()
    lock.write_text(text.replace("keras==3", "keras==2", 1))
    done = check(project)
    lock.write_text(text)
    assert done.returncode == 1
    assert "cpu.txt" in done.stderr


def test_they_name_no_index_and_every_pin_has_hashes(project):
    for name in ("cpu", "gpu", "dev", "scale", "audit"):
        text = (project / "requirements" / f"{name}.txt").read_text()
        assert "://" not in text and "--index" not in text and "--find-links" not in text
        pins = [
            line for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))
        ]
        assert len(pins) > 20
        assert all(line.endswith("\\") for line in pins)


@pytest.mark.parametrize("python", ["3.11", "3.13"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_they_install_on_every_system(project, system, python, tmp_path, monkeypatch):
    """uv resolves as that system would, from metadata alone: it downloads no wheel."""
    monkeypatch.setenv("MACOSX_DEPLOYMENT_TARGET", "14.0")
    environments = [("cpu", "dev", "scale"), ("gpu", "dev", "scale"), ("audit",)]
    for names in environments[:: 2 if "darwin" in system else 1]:
        locks = [f"--requirements=requirements/{name}.txt" for name in names]
        options = ["--dry-run", "--require-hashes", "--only-binary=:all:", f"--target={tmp_path}"]
        target = [f"--python-version={python}", f"--python-platform={system}"]
        line = ["uv", "pip", "install", *options, *target, *locks]
        done = subprocess.run(line, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_cpu_lock_of_tensorflow_has_the_small_build(copy, tmp_path):
    assert copy(tmp_path / "p", framework="tensorflow").returncode == 0
    small, large = ((tmp_path / "p/requirements" / f).read_text() for f in ("cpu.txt", "gpu.txt"))
    assert "\ntensorflow-cpu==" in small and "nvidia-" not in small
    assert "\ntensorflow==" in large and "\nnvidia-cudnn-cu12==" in large


def test_hooks_run_the_tools_that_are_locked(project):
    hooks = yaml.safe_load((project / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    locked = "".join(
        (project / f"requirements/{name}.txt").read_text() for name in ("dev", "audit")
    )
    pins = {pin for hook in hooks for pin in hook.get("additional_dependencies", [])}
    for pin in pins - {pin for pin in pins if pin.startswith("pre-commit-hooks==")}:
        assert f"\n{pin} " in locked


def test_ray_comes_with_one_set_of_cuda_libraries(project):
    """JAX takes the versions that the framework has; what it adds is not of another CUDA."""
    pins = {}
    for name in ("gpu", "scale"):
        text = (project / "requirements" / f"{name}.txt").read_text()
        pins[name] = dict(re.findall(r"^(nvidia-[\w-]+)==(\S+)", text, re.MULTILINE))
        assert name == "gpu" or "\nray==" in text
    shared = pins["gpu"].keys() & pins["scale"].keys()
    assert all(pins["gpu"][package] == pins["scale"][package] for package in shared)
    assert len({package.rpartition("-cu")[2] for package in pins["scale"] if "-cu1" in package}) < 2
