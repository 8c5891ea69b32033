"""The image for clusters: any uid, no name, no home, nothing writable but /tmp and the runs."""

import json
import shutil

import pytest

pytestmark = pytest.mark.container

IMAGE = "gpu-ml-rig-runtime"


@pytest.fixture(scope="module")
def image(engine, project, tmp_path_factory):
    """From a checkout under umask 077: what is closed there is open in the image."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("closed") / "project")
    for path in [folder, *folder.rglob("*")]:
        path.chmod(path.stat().st_mode & 0o700)
    file = folder / ".devcontainer/Dockerfile"
    cpu = "--build-arg=ACCELERATOR=cpu"
    engine.docker("build", "--target=runtime", cpu, f"--tag={IMAGE}", f"--file={file}", folder)
    yield IMAGE
    engine.docker("image", "rm", "--force", IMAGE)


def test_it_trains(image, engine, tmp_path):
    runs = tmp_path / "runs"
    runs.mkdir()
    runs.chmod(0o777)
    done = engine.docker(
        "run", "--rm", "--user=54321:54321", "--read-only", "--network=none", "--cap-drop=ALL",
        "--tmpfs=/tmp", "--env=HOME=", f"--volume={runs}:/app/runs", image,
        "python", "-m", "demo", "train", "digits", "--epochs", "1",
    )  # fmt: skip
    assert "epoch 1/1" in done
    [run_dir] = runs.glob("*-digits")
    assert (run_dir / "report.html").exists()
    assert run_dir.stat().st_uid == 54321


def test_it_says_that_there_is_no_gpu_and_where_reports_go(image, engine, tmp_path):
    folders = [tmp_path / name for name in ("runs", "reports")]
    for folder in folders:
        folder.mkdir()
        folder.chmod(0o777)
    runs, reports = (f"--volume={folder}:/app/{folder.name}" for folder in folders)
    alone = ("run", "--rm", "--user=54321:54321", "--read-only", "--network=none", "--tmpfs=/tmp")
    check = ("python", "-m", "demo", "gpu-check", "--quick")
    done = engine.try_docker(*alone, runs, image, *check)
    assert done.returncode == 1
    last = done.stdout.splitlines()[-1]
    assert last.startswith("error: reports cannot be written to: Read-only file system")
    assert "machine: " not in done.stdout  # the first of its steps
    done = engine.try_docker(*alone, runs, reports, image, *check, "--expect-gpu")
    assert done.returncode == 1
    # stdout and stderr are two pipes, whose order the engine does not keep.
    assert any("A GPU was expected." in line for line in done.stdout.splitlines()[-2:])
    report = tmp_path / "reports/gpu_check.json"
    assert json.loads(report.read_text())["verdict"] == "cpu"
    assert report.stat().st_uid == 54321


def test_it_trains_by_itself(image, engine):
    config = engine.inspect(image)["Config"]
    assert config["Cmd"] == ["python", "-m", "demo", "train"]
    assert config["User"] not in ("", "0", "root")


def test_it_has_no_tools_for_developers(image, engine):
    for name in ("git", "uv", "jupyter", "nox", "sudo"):
        done = engine.try_docker("run", "--rm", "--network=none", image, "sh", "-c", f"type {name}")
        assert done.returncode != 0, name
