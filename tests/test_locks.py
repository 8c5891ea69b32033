"""Locks: in step with the ranges, whole for every system, and free of index addresses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

sys.path.insert(0, str(ROOT / "template" / "tools"))
import lock as tool

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


# How tools/lock.py reads and writes, without uv.

BLOCKS = {
    "no last newline": ("a==1 \\\n    --hash=b", ["a==1 \\\n    --hash=b\n"]),
    "cut off": ("a==1 \\\n    --hash=b \\\n", ["a==1 \\\n    --hash=b\n"]),
    "Windows newlines": ("a==1 \\\r\n    --hash=b\r\n", ["a==1 \\\n    --hash=b\n"]),
    "no indentation": ("a==1 \\\n--hash=b\nc==1", ["a==1 \\\n--hash=b\n", "c==1\n"]),
    "annotations": ("a==1\n    # via c\nb==1\n", ["a==1\n    # via c\n", "b==1\n"]),
    "comments": ("# a\n\na==1\n\n# b\nb==1\n# c", ["a==1\n", "b==1\n"]),
    "URLs": ("a @ https://b/c.whl\n-e .", ["a @ https://b/c.whl\n", "-e .\n"]),
    "markers": ("a==1 ; b > '1'\na==2 ; b < '1'", ["a==1 ; b > '1'\n", "a==2 ; b < '1'\n"]),
}


@pytest.mark.parametrize("text, found", BLOCKS.values(), ids=BLOCKS)
def test_a_block_is_a_whole_requirement(text, found):
    assert tool.blocks(text) == found


HOOKS = {
    "it follows": ("- a==1", "- a==2"),
    "an older version is yours": ("- a==0.9", "- a==0.9"),
    "a newer version is yours": ("- a==3", "- a==3"),
    "a longer version is yours": ("- a==1.0", "- a==1.0"),
    "a range is yours": ("- a==1.*", "- a==1.*"),
    "quoted": ("['a==1', \"a==1\"]", "['a==2', \"a==2\"]"),
    "another package": ("- my-a==1", "- my-a==1"),
    "not locked any more": ("- b==1", "- b==1"),
    "locked since": ("- c==0", "- c==0"),
    "one of several that is still locked": ("- d==2", "- d==2"),
    "one of several": ("- d==1", "- d==3"),
    "a line of CI": ("run: pip install a==1 d==2  # 1", "run: pip install a==2 d==2  # 1"),
}
OLD = "a==1 \\\n    --hash=x\nb==1\nd==1 ; python_version < '3'\nd==2 ; python_version >= '3'\n"
NEW = "a==2 \\\n    --hash=x\nc==1\nd==2 ; python_version < '3'\nd==3 ; python_version >= '3'\n"


@pytest.mark.parametrize("before, after", HOOKS.values(), ids=HOOKS)
def test_a_hook_follows_the_lock_that_it_was_at(before, after):
    assert tool.hooks(before, OLD, NEW) == after


# A uv that locks the same two packages everywhere.
UV = """#!{}
import pathlib, sys
[out] = [word.split("=", 1)[1] for word in sys.argv if word.startswith("--output-file=")]
pathlib.Path(out).write_text("a==2 \\\\\\n    --hash=x\\nnumpy==2\\n")
"""


@pytest.fixture
def small(tmp_path, monkeypatch) -> Path:
    """A project whose hooks have one tool of its lock, and a version of its own of another."""
    (tmp_path / "uv").write_text(UV.format(sys.executable))
    (tmp_path / "uv").chmod(0o755)
    monkeypatch.setenv("UV", str(tmp_path / "uv"))
    project = tmp_path / "project"
    (project / "requirements").mkdir(parents=True)
    (project / "pyproject.toml").write_text("[project]\n")
    for name in tool.LOCKS:  # without a last newline
        (project / "requirements" / name).write_text("a==1" if name == "dev.txt" else "numpy==1")
    (project / tool.HOOKS).write_text("- a==1\n- numpy==1.26.4  # mine\n")
    return project


def lock(project: Path, *options: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "template/tools/lock.py"), *options, str(project)]
    return subprocess.run(line, capture_output=True, text=True)


def test_a_version_of_yours_in_the_hooks_stays_and_is_named(small):
    note = f"lock: {tool.HOOKS}: numpy==1.26.4 is not the locked version (2). "
    note += "It stays; edit it if it is to follow.\n"
    names = "cpu.txt, gpu.txt, dev.txt, scale.txt, audit.txt"
    done = lock(small)
    assert (done.stderr, done.returncode) == ("", 0)
    assert done.stdout == f"{note}lock: changed {names}, .pre-commit-config.yaml\n"
    assert (small / tool.HOOKS).read_text() == "- a==2\n- numpy==1.26.4  # mine\n"
    for options in ([], ["--check"]):
        done = lock(small, *options)
        assert (done.stdout, done.returncode) == (f"{note}lock: nothing to change\n", 0)


def test_a_lock_without_a_last_newline_keeps_its_last_line(small):
    """The digests of the later locks, which cover it, stay valid."""
    assert lock(small).returncode == 0
    file = small / "requirements" / "cpu.txt"
    text = file.read_text()
    file.write_text(text.removesuffix("\n"))
    done = lock(small, "--check")
    assert "lock: cpu.txt out of step" in done.stderr
    assert lock(small).returncode == 0 and file.read_text() == text
