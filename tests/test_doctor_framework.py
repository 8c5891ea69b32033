"""Whether the framework uses the GPU: what the doctor makes of frameworks that are played."""

import collections
import json
import os
import resource
import shutil
import sys
import time

import pytest
from nvml import BLACKWELL, H100, OLD, Machine, build
from test_doctor import IMAGE, doctor, fill

# As much of each framework as the doctor asks, with what is told of it in the module `plays`.
MODULES = {
    "plays": """
import os, sys, time
gpus, on_gpu, value, version, cuda = 1, True, 64.0, "1.2.3", None
kernels = ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"]
early = late = lambda: None  # what happens when devices are listed, and when something is computed
def say(text):
    print(text, file=sys.stderr)
def fail(text, kind=RuntimeError):
    raise kind(text)
def compute():
    late()
    return [[value] * 64] * 64
""",
    "tensorflow": """
import os, plays, types
__version__ = plays.version
assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true", "it would take all the memory"
class Tensor(list):
    device = "/job:localhost/replica:0/task:0/device:" + ("GPU:0" if plays.on_gpu else "CPU:0")
def devices(kind):
    plays.early()
    return [kind] * plays.gpus
config = types.SimpleNamespace(list_physical_devices=devices)
built = {"cuda_compute_capabilities": plays.kernels, "is_cuda_build": True}
sysconfig = types.SimpleNamespace(get_build_info=lambda: built)
linalg = types.SimpleNamespace(matmul=lambda x, y: Tensor(plays.compute()))
ones = lambda shape: Tensor()
function = lambda f, jit_compile: f
""",
    "jax": """
import collections, os, plays, types
__version__ = plays.version
assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false", "it would take all the memory"
Device = collections.namedtuple("Device", "platform id")
cpu, gpu = Device("cpu", 0), Device("gpu", 0)
class Array(list):
    devices = lambda self: {gpu if plays.on_gpu else cpu}
def devices():
    plays.early()
    return [gpu] * plays.gpus or [cpu]
matmul = lambda x, y: Array(plays.compute())
numpy = types.SimpleNamespace(matmul=matmul, ones=lambda shape: Array())
jit = lambda f: f
""",
    "torch": """
import plays, types
__version__ = plays.version
class Tensor(list):
    device = "cuda:0" if plays.on_gpu else "cpu"
    __matmul__ = lambda self, other: Tensor(plays.compute())
def count():
    plays.early()
    return plays.gpus
cuda = types.SimpleNamespace(device_count=count)
version = types.SimpleNamespace(cuda=plays.cuda)
_C = types.SimpleNamespace(_cuda_getArchFlags=lambda: "sm_75 sm_80 sm_86 sm_90 sm_100 sm_120")
def ones(shape, device):
    assert device == ("cuda" if plays.gpus else "cpu")
    return Tensor()
""",
}
CU12 = ["nvidia_cuda_runtime_cu12-12.9.79", "nvidia_cublas_cu12-12.9.1.4", "nvidia_nccl_cu12-2.27"]
CU13 = ["nvidia_cuda_runtime-13.2.86", "nvidia_cublas-13.4.1.3", "nvidia_cudnn_cu13-9.26.0.51"]


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def machine(tmp_path, library, monkeypatch):
    """A machine with an H100; `play` gives its project an environment."""
    machine = Machine(tmp_path, library, monkeypatch)
    machine.gpus(H100)
    return machine


def play(machine: Machine, framework: str, plays: str = "", wheels: list[str] = CU12) -> None:
    """A project whose environment has this framework, which behaves so, and these wheels."""
    site = machine.folder / "site"
    for name, text in MODULES.items():
        fill(site / f"{name}.py", text + (plays if name == "plays" else ""))
    for wheel in wheels:
        name, number = wheel.split("-")
        head = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {number}\n"
        fill(site / f"{wheel}.dist-info/METADATA", head)
    start = f'#!/bin/sh\nPYTHONPATH={site} exec {sys.executable} -S -s "$@"\n'
    fill(machine.project / ".venv/bin/python", start, 0o755)
    fill(machine.project / ".copier-answers.yml", f"_commit: v1.2.3\nframework: {framework}\n")


# What the three do on a GPU that works.
@pytest.mark.parametrize("wheels", [CU12, CU13], ids=["CUDA 12", "CUDA 13"])
@pytest.mark.parametrize("framework", ["tensorflow", "jax", "torch"])
def test_a_framework_that_computes_on_the_gpu(machine, framework, wheels):
    play(machine, framework, wheels=wheels)
    assert machine.told()[:2] == (0, ["gpu"])
    facts = doctor.gather(imports=60)
    assert (facts.probe, facts.found["on_gpu"], facts.found["gpus"]) == ("ok", True, 1)
    assert facts.found["version"] == "1.2.3"
    assert facts.cuda == ("12.9.79" if wheels is CU12 else "13.2.86")
    assert facts.template == "v1.2.3"
    assert not {"TF_FORCE_GPU_ALLOW_GROWTH", "XLA_PYTHON_CLIENT_PREALLOCATE"} & {*os.environ}


def says(text: str) -> str:
    return f"\ngpus, on_gpu = 0, False\nearly = lambda: say({text!r})"


def fails(text: str, when: str = "late") -> str:
    return f"\n{when} = lambda: fail({text!r})"


DLOPEN = (
    "W0000 00:00:1763877600.000001 12 gpu_device.cc:2342] Cannot dlopen some GPU libraries. Please "
    "make sure the missing libraries mentioned above are installed properly if you would like to "
    "use GPU. Follow the guide at https://www.tensorflow.org/install/gpu for how to download and "
    "setup the required libraries for your platform.\nSkipping registering GPU devices..."
)
JIT = (
    "TensorFlow was not built with CUDA kernel binaries compatible with compute capability 12.0. "
    "CUDA kernels will be jit-compiled from PTX, which could take 30 minutes or longer."
)
INVALID = "'cuLaunchKernel(function, gridX, gridY, gridZ)' failed with 'CUDA_ERROR_INVALID_HANDLE'"
UNUSABLE, BLIND = "gpu-unusable", "\ngpus, on_gpu = 0, False"
# The framework, how it behaves, the exit code, the findings, and words of what is said.
CASES = {
    "row 15": ("tensorflow", says(DLOPEN), 1, [UNUSABLE, "cuda-not-loaded"], "without cache"),
    "blind without a word": (
        "tensorflow",
        BLIND,
        1,
        [UNUSABLE, "framework-blind"],
        "tensorflow sees no GPU and computes on the CPU, though the driver shows NVIDIA H100",
    ),
    "jax, blind": ("jax", BLIND, 1, [UNUSABLE, "framework-blind"], "jax sees no GPU"),
    "torch, blind": ("torch", BLIND, 1, [UNUSABLE, "framework-blind"], "torch sees no GPU"),
    "lists one, computes on the CPU": (
        "tensorflow",
        "\non_gpu = False",
        1,
        [UNUSABLE, "framework-cpu"],
        "tensorflow lists a GPU, and still computed on device:CPU:0",
    ),
    "jax, on the CPU": ("jax", "\non_gpu = False", 1, [UNUSABLE, "framework-cpu"], "on cpu:0"),
    "torch, on the CPU": ("torch", "\non_gpu = False", 1, [UNUSABLE, "framework-cpu"], "on cpu."),
    "row 17": (
        "tensorflow",
        fails("INTERNAL: libdevice not found at ./libdevice.10.bc [Op:__inference_matmul_12]"),
        1,
        [UNUSABLE, "no-ptxas"],
        "nvidia-cuda-nvcc",
    ),
    "row 17, ptxas": (
        "jax",
        '\nlate = lambda: (say("W ptxas_utils.cc] Couldn\'t invoke ptxas --version"), '
        'fail("INTERNAL: XLA requires ptxas. No PTX compilation provider is available."))',
        1,
        [UNUSABLE, "no-ptxas"],
        "nvidia-cuda-nvcc",
    ),
    "row 18": (
        "tensorflow",
        f"\nearly = lambda: say({JIT!r})"
        + fails(f"CUDA_ERROR_INVALID_PTX: the provided PTX was compiled; {INVALID}"),
        1,
        [UNUSABLE, "no-kernels-here"],
        "framework=jax",
    ),
    "row 19": (
        "torch",
        fails("CUDA error: no kernel image is available for execution on the device"),
        1,
        [UNUSABLE, "no-kernels-here"],
        "wheels are built for a range of GPUs",
    ),
    "row 20": (
        "jax",
        fails("INTERNAL: CUDA driver version is insufficient for CUDA runtime version", "early"),
        1,
        [UNUSABLE, "driver-too-old"],
        "CUDA 13 driver 580",
    ),
    "row 20, torch": (
        "torch",
        fails("The NVIDIA driver on your system is too old (found version 12020). Please update"),
        1,
        [UNUSABLE, "driver-too-old"],
        "CUDA 13 driver 580",
    ),
    "row 21": (
        "torch",
        says(
            "UserWarning: CUDA initialization: Unexpected error from cudaGetDeviceCount(). Did you "
            "run some cuda functions before calling NumCudaDevices() that might have already set "
            "an error? Error 804: forward compatibility was attempted on non supported HW"
        ),
        1,
        [UNUSABLE, "forward-compatibility"],
        "cuda-compat",
    ),
    "row 22": (
        "tensorflow",
        says("E cuda_platform.cc:51] failed call to cuInit: INTERNAL: cuInit: CUresult(-1)"),
        1,
        [UNUSABLE, "stub-driver"],
        "stubs",
    ),
    "row 22, newer": (
        "tensorflow",
        says("E cuda_platform.cc:51] failed call to cuInit: CUDA driver is a stub library"),
        1,
        [UNUSABLE, "stub-driver"],
        "stubs",
    ),
    "row 23": (
        "tensorflow",
        says("E cuda_platform.cc:51] failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error"),
        1,
        [UNUSABLE, "cuda-unknown"],
        "nvidia-modprobe -u -c0",
    ),
    "row 23, torch": (
        "torch",
        fails("CUDA unknown error - this may be due to an incorrectly set up environment"),
        1,
        [UNUSABLE, "cuda-unknown"],
        "nvidia-modprobe -u -c0",
    ),
    # NVML is the capability `utility`, CUDA is `compute`.
    "no libcuda": (
        "tensorflow",
        says("E cuda_platform.cc:51] failed call to cuInit: INTERNAL: UNKNOWN ERROR (303)"),
        1,
        [UNUSABLE, "no-libcuda"],
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility",
    ),
    "row 25": (
        "jax",
        fails("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 16384 bytes."),
        1,
        [UNUSABLE, "out-of-memory"],
        "XLA_PYTHON_CLIENT_PREALLOCATE=false",
    ),
    "row 25, torch": (
        "torch",
        fails("CUDA out of memory. Tried to allocate 2.00 MiB. GPU 0 has a total capacity of 79 G"),
        1,
        [UNUSABLE, "out-of-memory"],
        "another process holds the memory",
    ),
    "wrong numbers": (
        "tensorflow",
        "\nvalue = 63.5",
        1,
        [UNUSABLE, "framework-failed"],
        "ArithmeticError: 64 ones added up to 63.5 on /job:localhost/replica:0/task:0/device:GPU:0",
    ),
    "no numbers": (
        "jax",
        "\nvalue = float('nan')",
        1,
        [UNUSABLE, "framework-failed"],
        "64 ones added up to nan",
    ),
    "an error of its own": (
        "torch",
        fails("something that nobody has seen yet"),
        1,
        [UNUSABLE, "framework-failed"],
        "torch fails to compute on the GPU: RuntimeError: something that nobody has seen yet",
    ),
    "crashes": (
        "tensorflow",
        "\nlate = lambda: os.kill(os.getpid(), 11)",
        1,
        [UNUSABLE, "framework-failed"],
        "it ended without a word",
    ),
    "cannot be imported": (
        "tensorflow",
        "\nraise ImportError('libtensorflow_framework.so.2: cannot open shared object file')",
        1,
        [UNUSABLE, "framework-failed"],
        "libtensorflow_framework.so.2: cannot open",
    ),
    "talks for megabytes": (
        "tensorflow",
        "\nearly = lambda: [say('I0000 ' + 'rubbish ' * 12) for _ in range(50_000)]",
        0,
        ["gpu"],
        "GPU: NVIDIA H100 80GB HBM3",
    ),
    "talks for megabytes and is blind": (
        "tensorflow",
        BLIND + "\ndef early():\n    [say('I0000 ' + 'rubbish ' * 12) for _ in range(50_000)]\n"
        f"    say({DLOPEN!r})",
        1,
        [UNUSABLE, "cuda-not-loaded"],
        "without cache",
    ),
    "prints what is no text": (
        "jax",
        "\nearly = lambda: os.write(2, bytes(range(256)))",
        0,
        ["gpu"],
        "GPU: NVIDIA H100 80GB HBM3",
    ),
    "noise of each start": (
        "tensorflow",
        "\nearly = lambda: say('E0000 cuda_fft.cc:467] Unable to register cuFFT factory: Attempting"
        " to register factory for plugin cuFFT when one has already been registered')",
        0,
        ["gpu"],
        "GPU: NVIDIA H100 80GB HBM3",
    ),
}


@pytest.mark.parametrize("framework, plays, code, names, words", CASES.values(), ids=CASES)
def test_what_the_framework_does_gets_its_findings(machine, framework, plays, code, names, words):
    play(machine, framework, plays)
    result, found, text = machine.told()
    assert (result, found) == (code, names)
    assert words in text


def test_a_framework_that_hangs(machine):
    machine.patch.setattr(doctor, "IMPORTS", 1.0)
    play(machine, "tensorflow", "\nlate = lambda: time.sleep(600)")
    start = time.monotonic()
    code, names, words = machine.told()
    assert time.monotonic() - start < 12  # the machine may be busy
    assert (code, names) == (1, [UNUSABLE, "framework-slow"])
    assert "has not answered in 1 s" in words


def test_an_environment_that_is_not_there(machine):
    fill(machine.project / ".copier-answers.yml", "framework: nowhere\n")
    assert machine.told()[:2] == (0, ["gpu"])  # a host need not have one
    fill(machine.root / "opt/venv/gpu_facts.json", json.dumps(IMAGE))
    code, names, words = machine.told()
    assert (code, names) == (1, [UNUSABLE, "framework-missing"])
    assert "whether tensorflow uses the GPU" in words
    play(machine, "tensorflow")
    (machine.folder / "site/tensorflow.py").unlink()
    assert machine.told()[:2] == (1, [UNUSABLE, "framework-missing"])


# --- Wheels, drivers and GPUs that do not go together ---------------------------------------------

TOO_OLD = "CUDA driver version is insufficient for CUDA runtime version"


@pytest.mark.parametrize("framework", ["tensorflow", "jax", "torch"])
def test_wheels_for_the_cpu(machine, framework):
    play(machine, framework, BLIND, wheels=[])
    code, names, words = machine.told()
    assert (code, names) == (0, ["gpu", "cpu-environment"])
    assert "`nox -s setup -- gpu`" in words and ".venv/bin/python was set up for the CPU" in words


@pytest.mark.parametrize("framework", ["tensorflow", "jax", "torch"])
def test_cuda_from_elsewhere_is_as_good_as_wheels(machine, framework):
    play(machine, framework, "\ncuda = '12.9'", wheels=[])
    assert machine.told()[:2] == (0, ["gpu"])


@pytest.mark.parametrize("wheels", [CU12 + CU13, [*CU12, "nvidia_nccl_cu13-2.28"]])
def test_two_cudas_side_by_side(machine, wheels):
    play(machine, "tensorflow", wheels=wheels)
    code, names, words = machine.told()
    assert (code, names) == (0, ["gpu", "two-cudas"])
    assert "CUDA 12 and CUDA 13" in words


def test_what_an_uninstallation_left_is_passed_over(machine):
    play(machine, "tensorflow")
    for name in ("~vidia_cublas_cu13-13.0.dist-info", "nvidia_cudnn_cu13-9.dist-info"):
        (machine.folder / "site" / name).mkdir()
    assert machine.told()[:2] == (0, ["gpu"])


@pytest.mark.parametrize(
    "driver, wheels, fits",
    [
        ("535.129.03", CU12, True),
        ("525.60.13", CU12, True),
        ("520.61.05", CU12, False),
        ("580.65.06", CU13, True),
        ("575.57.08", CU13, False),
    ],
)
def test_a_driver_older_than_the_wheels(machine, driver, wheels, fits):
    machine.gpus(f"driver {driver}", H100)
    play(machine, "jax", "" if fits else says(TOO_OLD), wheels)
    code, names, words = machine.told()
    told = ["gpu"] if fits else ["gpu-unusable", "old-for-cuda"]
    assert (code, names) == (0 if fits else 1, told)
    cuda = "12.9" if wheels is CU12 else "13.2"
    assert fits or f"Driver {driver} is too old for CUDA {cuda} of jax 1.2.3" in words


def test_a_gpu_that_the_wheels_have_no_kernels_for(machine):
    machine.gpus(BLACKWELL)
    play(machine, "tensorflow")
    code, names, words = machine.told()
    assert (code, names) == (1, ["gpu-unusable", "no-kernels"])
    assert "tensorflow 1.2.3 holds no kernels for NVIDIA GeForce RTX 5090 (12.0)" in words
    play(machine, "torch")
    assert machine.told()[:2] == (0, ["gpu"])
    machine.gpus(OLD)
    assert machine.told()[:2] == (1, ["gpu-unusable", "no-kernels"])
    play(machine, "tensorflow")
    assert machine.told()[:2] == (0, ["gpu"])


def test_each_gpu_without_kernels_is_named(machine):
    machine.gpus(BLACKWELL, H100, BLACKWELL)
    play(machine, "tensorflow", "\ngpus = 3")
    code, names, words = machine.told()
    assert (code, names) == (0, ["gpu", "no-kernels"])  # there is one that works
    assert words.count("NVIDIA GeForce RTX 5090 (12.0)") == 2
    assert "H100 80GB HBM3 (9.0)" not in words


@pytest.mark.parametrize("value, shown", [("", "empty"), ("-1", "-1"), (None, "not set")])
def test_a_gpu_that_is_hidden(machine, value, shown):
    if value is not None:
        machine.patch.setenv("CUDA_VISIBLE_DEVICES", value)
    play(machine, "torch", BLIND)
    code, names, words = machine.told()
    assert (code, names) == (1, ["gpu-unusable", "framework-blind"])
    assert f"CUDA_VISIBLE_DEVICES ({shown})" in words


# --- What a process may use -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["libcudart.so.12", "libcudnn.so.9.1", "libcublasLt.so.12"])
def test_a_library_path_with_cuda_in_it(machine, name):
    fill(machine.folder / "old/lib64" / name, "")
    path = [str(machine.folder / "missing"), os.environ["LD_LIBRARY_PATH"], ""]
    machine.patch.setenv("LD_LIBRARY_PATH", ":".join(path))
    assert machine.told()[:2] == (0, ["gpu"])
    machine.patch.setenv("LD_LIBRARY_PATH", ":".join([*path, str(machine.folder / "old/lib64")]))
    code, names, words = machine.told()
    assert (code, names) == (0, ["gpu", "library-path"])
    assert f"LD_LIBRARY_PATH has CUDA libraries in {machine.folder}/old/lib64," in words


def test_a_library_path_with_the_driver_in_it(machine):
    """As on WSL2, and where NVIDIA's container runtime mounts the driver."""
    for name in ("libcuda.so.1", "libnvidia-ml.so.1", "libcudadebugger.so.1", "libcurl.so.4"):
        fill(machine.folder / "wsl" / name, "")
    path = f"{os.environ['LD_LIBRARY_PATH']}:{machine.folder}/wsl"
    machine.patch.setenv("LD_LIBRARY_PATH", path)
    assert machine.told()[:2] == (0, ["gpu"])


SIZES = collections.namedtuple("SIZES", "total used free")


@pytest.fixture
def limits(machine, monkeypatch):
    """Give the machine so much: sizes by folder, and the limit of open files."""
    monkeypatch.setattr(doctor, "ask_limits", machine.ask_limits)

    def give(shm: int = 8 << 30, disk: int = 100 << 30, files: int = 1 << 20) -> None:
        free = {machine.root / "dev/shm": SIZES(shm, 0, shm), machine.project: SIZES(disk, 0, disk)}
        monkeypatch.setattr(shutil, "disk_usage", free.__getitem__)
        monkeypatch.setattr(resource, "getrlimit", lambda kind: (min(files, 1024), files))

    fill(machine.root / "opt/venv/gpu_facts.json", "{}")
    give()
    return give


def test_a_container_with_plenty(machine, limits):
    assert machine.told()[:2] == (0, ["gpu"])
    limits(files=resource.RLIM_INFINITY)
    assert machine.told()[:2] == (0, ["gpu"])


@pytest.mark.parametrize(
    "little, name, words",
    [
        ({"shm": 64 << 20}, "shm", "64 MB of shared memory"),
        ({"files": 1024}, "few-files", "more than 1024 files open"),
        ({"disk": 3 << 30}, "disk", "3.0 GB free for the workspace"),
    ],
)
def test_a_container_with_little(machine, limits, little, name, words):
    limits(**little)
    code, names, text = machine.told()
    assert (code, names) == (0, ["gpu", name])
    assert words in text


def test_a_host_has_no_shared_memory_to_set(machine, limits):
    (machine.root / "opt/venv/gpu_facts.json").unlink()
    limits(shm=64 << 20)
    assert machine.told()[:2] == (0, ["gpu"])
