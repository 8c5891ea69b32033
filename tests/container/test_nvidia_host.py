"""GPU and no GPU, without a GPU: on a simulated NVIDIA host, up to the doctor's verdict."""

import pytest
from nvml import DESKTOP, H100

from .devcontainer import edit

pytestmark = pytest.mark.container

SMALL = "FROM gpu-ml-rig-small AS dev\n"  # the real image takes 7 GB, in a second engine again
SMI = '#!/bin/sh\necho "NVIDIA Simulated, 580.65.06"\n'

# What NVIDIA's hook says, as users have reported it, and what has to be in the remedy.
HOOK = "nvidia-container-cli: "
FAILURES = {
    "CDI without a vendor": (
        "failed to discover GPU vendor from CDI: no known GPU vendor found",
        "nvidia-ctk",
    ),
    "AMD's CDI": ("failed to discover GPU vendor from CDI: AMD CDI spec not found", "nvidia-ctk"),
    "no driver": (f"{HOOK}initialization error: nvml error: driver not loaded", "none"),
    "snap": (
        f"{HOOK}initialization error: load library failed: libnvidia-ml.so.1: "
        "cannot open shared object file: no such file or directory",
        "docker-ce",
    ),
    "updated driver": (
        f"{HOOK}initialization error: nvml error: driver/library version mismatch",
        "Reboot",
    ),
    "old driver": (
        f"{HOOK}requirement error: unsatisfied condition: cuda>=12.8, please update your driver "
        "to a newer version, or use an earlier cuda container",
        "default base image",
    ),
    "rootless": (
        f"{HOOK}mount error: failed to add device rules: unable to find any existing device "
        "filters attached to the cgroup: bpf_prog_query(BPF_CGROUP_DEVICE) failed: "
        "operation not permitted",
        "no-cgroups",
    ),
}


@pytest.fixture(scope="module")
def workspace(nvidia_host, new_workspace, host_users):
    """The generated project on that host; for its Dockerfile, a small image."""
    workspace = new_workspace("nvidia", host_users["1000"], on=nvidia_host.engine, cpu=False)
    (workspace.folder / ".devcontainer/Dockerfile").write_text(SMALL)
    return workspace


@pytest.fixture
def host(nvidia_host, workspace):
    """The host as it should be; each test starts its container anew."""
    nvidia_host.has_runtime(True)
    nvidia_host.fails_with(None)
    nvidia_host.has(SMI)
    nvidia_host.has_library(False)
    yield nvidia_host
    for container in workspace.containers:
        nvidia_host.engine.docker("rm", "--force", container)


def requests(workspace) -> list:
    """What Docker was asked for: one entry is made of `--gpus`."""
    return workspace.container["HostConfig"]["DeviceRequests"] or []


def verdict(workspace) -> str:
    [line] = workspace.exec("python3", ".devcontainer/doctor.py", "--brief").splitlines()
    return line


def test_with_a_gpu(host, workspace):
    workspace.up()
    [request] = requests(workspace)
    assert request["Capabilities"] == [["gpu"]] and request["Count"] == -1  # all
    assert verdict(workspace).startswith("GPU: NVIDIA Simulated, driver 580.65.06")


def test_without_the_runtime(host, workspace):
    host.has_runtime(False)
    workspace.up()
    assert requests(workspace) == []
    assert "CPU" in verdict(workspace) and "NVIDIA Simulated" not in verdict(workspace)


def test_a_gpu_that_the_cli_does_not_see(host, workspace):
    host.has_runtime(False)  # as on WSL2 and where CDI serves the GPU
    workspace.up("--gpu-availability=all")
    assert verdict(workspace).startswith("GPU: NVIDIA Simulated")


def test_a_gpu_that_went_away(host, workspace):
    host.has('#!/bin/sh\necho "Failed to initialize NVML: Unknown Error"\nexit 255\n')
    workspace.up()
    assert "lost" in verdict(workspace)


def answers(workspace, *lines: str) -> None:
    """What the driver's library says from now on in the container that runs."""
    [container] = workspace.containers
    write = ["exec", "--user=root", "--interactive", container, "tee", "/etc/nvml-stub"]
    workspace.engine.docker(*write, input="\n".join(lines))


# What the library answers, and the doctor's exit code and words.
ANSWERS = {
    "row 8": (["init 18", H100], 1, "Reboot the host, then rebuild the container."),
    "row 10": (["init 999", H100], 1, "The container has lost its access to the GPU."),
    "row 11": (["init 4", H100], 1, "This user may not open the GPU's devices."),
    "MIG without instances": ([H100 + "mig 7 0"], 1, "is in MIG mode, and no part of it is there"),
}


def test_what_the_drivers_library_says(host, workspace):
    host.has_library(True)
    host.has("#!/bin/sh\necho the library was not asked\n")
    workspace.up()
    answers(workspace, H100, DESKTOP)
    found = verdict(workspace)
    assert found.startswith("GPU: NVIDIA H100 80GB HBM3, NVIDIA GeForce RTX 4070, driver 580.95.05")
    for lines, code, words in ANSWERS.values():
        answers(workspace, *lines)
        done = workspace.try_exec("python3", ".devcontainer/doctor.py")
        assert done.returncode == code, done.stdout
        assert words in done.stdout
    answers(workspace, H100)
    assert verdict(workspace).startswith("GPU: NVIDIA H100 80GB HBM3, driver")


def explained(workspace, *options: str) -> str:
    """What `nox -s container` prints when the start fails."""
    done = workspace.try_run("python3", "tools/container.py", "up", *options)
    assert done.returncode == 1, done.stdout
    assert workspace.containers == [] or workspace.container["State"]["Status"] == "created"
    return done.stdout


@pytest.mark.parametrize(("text", "remedy"), FAILURES.values(), ids=FAILURES)
def test_what_the_hook_says_is_explained(host, workspace, text, remedy):
    host.fails_with(text)
    printed = explained(workspace)
    assert text in printed
    assert remedy in printed.split(text)[-1]


def test_a_runtime_that_is_not_registered_is_explained(host, workspace):
    host.has_runtime(False)
    edit(workspace.config, '"--shm-size=8g"', '"--shm-size=8g", "--runtime=nvidia"')
    try:
        printed = explained(workspace)
    finally:
        edit(workspace.config, '"--shm-size=8g", "--runtime=nvidia"', '"--shm-size=8g"')
    assert "nvidia-ctk" in printed.split('"outcome":"error"')[-1]


def test_a_docker_that_cannot_pass_gpus_on_is_explained(stand_in, new_workspace, host_users):
    stand_in("small")
    workspace = new_workspace("no-toolkit", host_users["1000"], cpu=False)
    if "nvidia" in workspace.engine.docker("info", "--format", "{{json .Runtimes}}"):
        pytest.skip("this machine's own Docker passes NVIDIA GPUs on")
    (workspace.folder / ".devcontainer/Dockerfile").write_text(SMALL)
    assert "nvidia-ctk" in explained(workspace, "--gpu=all").split('"outcome":"error"')[-1]
