"""Large builds to run on demand: the other frameworks for the GPU, and podman."""

import json
import shutil
import subprocess

import pytest

from . import images

pytestmark = [pytest.mark.images, pytest.mark.usefixtures("tidy")]


@pytest.mark.parametrize("framework", ["jax", "torch"])
def test_it_builds_for_the_gpu(framework, engine, copy, note, tmp_path):
    folder, image = tmp_path / "demo", f"gpu-ml-rig-{framework}"
    assert copy(folder, framework=framework).returncode == 0
    for number, pem in enumerate(images.certificates()):
        (folder / f".devcontainer/certs/host-{number}.crt").write_text(pem)
    engine.docker("build", f"--tag={image}", f"--file={folder}/.devcontainer/Dockerfile", folder)
    try:
        note(f"{framework} for the GPU", f"{engine.inspect(image)['Size'] / 1e9:.2f} GB")
        run = ("run", "--rm", "--network=none", f"--env=KERAS_BACKEND={framework}", image)
        facts = json.loads(engine.docker(*run, "cat", "/opt/venv/gpu_facts.json"))
        assert facts["framework"] == framework and facts["accelerator"] == "gpu"
        assert facts["cuda"] and facts["cudnn"]
        engine.docker(*run, "python", "-c", f"import keras, {framework}")
    finally:
        engine.docker("image", "rm", "--force", image)


@pytest.fixture(scope="module")
def podman(engine, folder, tmp_path_factory):
    """Podman with a store of its own, in which Debian's image lies."""
    if not shutil.which("podman"):
        pytest.fail("Install podman to see what the dev container does with it.", pytrace=False)
    own = tmp_path_factory.mktemp("podman")
    (own / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{own}/data"\nrunroot = "{own}/run"\n'
    )
    env = engine.env | {"CONTAINERS_STORAGE_CONF": str(own / "storage.conf")}
    env |= {"BUILDAH_ISOLATION": "chroot"}  # needs no rights that a container may lack

    def run(*args: str, **options) -> subprocess.CompletedProcess:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True} | options
        return subprocess.run(["podman", *map(str, args)], env=env, **pipes)

    save = subprocess.Popen(
        ["docker", "save", "debian:trixie-slim"], env=engine.env, stdout=subprocess.PIPE
    )
    loaded = run("load", stdin=save.stdout)
    assert save.wait() == 0 and loaded.returncode == 0, loaded.stdout
    run.env = env
    yield run
    run("system", "reset", "--force")


def test_the_clis_crash_with_podman_is_explained(podman, new_workspace, caller):
    workspace = new_workspace("podman", caller, cpu=False)
    (workspace.folder / ".devcontainer/Dockerfile").write_text("FROM debian:trixie-slim AS dev\n")
    done = workspace.cli("up", "--docker-path=podman", env=podman.env)
    assert done.returncode == 1
    line = ["python3", workspace.folder / ".devcontainer/doctor.py", "--explain"]
    said = subprocess.run(line, input=done.stdout, capture_output=True, text=True)
    assert "--gpu-availability none" in said.stdout, done.stdout


def test_it_builds_with_podman(podman, project):
    image, file = "localhost/gpu-ml-rig", project / ".devcontainer/Dockerfile"
    cpu = "--build-arg=ACCELERATOR=cpu"
    built = podman("build", cpu, "--target=dev", f"--tag={image}", f"--file={file}", project)
    assert built.returncode == 0, built.stdout[-3000:]
    there = podman("image", "inspect", "--format={{.User}}", image)
    assert there.stdout == "dev\n"
