"""The doctor on real texts: each gets its remedy and no other, and healthy machines get none.

`python tests/test_doctor.py` writes the rules into docs/gpu-troubleshooting.md.
"""

import ast
import importlib.util
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILE = ROOT / "template" / ".devcontainer" / "doctor.py"
GUIDE = ROOT / "docs" / "gpu-troubleshooting.md"


def load():
    spec = importlib.util.spec_from_file_location("doctor", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["doctor"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


doctor = load()
SETTING = '"dev.containers.gpuAvailability": "{}"'.format
HOOK = (
    "docker: Error response from daemon: failed to create task for container: failed to create shim"
    " task: OCI runtime create failed: runc create failed: unable to start container process: error"
    " during container init: error running prestart hook #0: exit status 1, stdout: , stderr:"
    " Auto-detected mode as 'legacy'\nnvidia-container-cli: {}: unknown".format
)
DAEMON = "docker: Error response from daemon: {}".format

# What engines, builds and NVML print, the rule that explains it, and a word of the remedy.
TEXTS = [
    (
        DAEMON('could not select device driver "" with capabilities: [[gpu]].'),
        "no-toolkit",
        "sudo nvidia-ctk runtime configure --runtime=docker",
    ),
    (
        r'{"outcome":"error","message":"could not select device driver \"\" with capabilities:'
        r' [[gpu]]"}',
        "no-toolkit",
        SETTING("detect"),
    ),
    (
        DAEMON("failed to discover GPU vendor from CDI: no known GPU vendor found"),
        "no-cdi",
        "nvidia-cdi-refresh",
    ),
    (DAEMON("AMD CDI spec not found"), "no-cdi", "nvidia-ctk"),
    (
        "Error: setting up CDI devices: unresolvable CDI devices nvidia.com/gpu=all",
        "no-cdi",
        "nvidia-cdi-refresh",
    ),
    (DAEMON("Unknown runtime specified nvidia."), "no-runtime", "nvidia-ctk"),
    (DAEMON("unknown or invalid runtime name: nvidia"), "no-runtime", "restart docker"),
    ("Error: Command failed: podman info -f {{.Runtimes.nvidia}}", "podman-info", SETTING("none")),
    (
        'Error: template: info:1:10: executing "info" at <.Runtimes.nvidia>: can\'t evaluate field'
        " Runtimes in type *define.Info",
        "podman-info",
        "--gpu-availability none",
    ),
    (
        'No GPU support found yet a GPU was required - consider marking it as "optional"',
        "gpu-not-seen",
        SETTING("all"),
    ),
    (HOOK("initialization error: nvml error: driver not loaded"), "no-driver", SETTING("none")),
    (
        "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure"
        " that the latest NVIDIA driver is installed and running.",
        "no-driver",
        "install the driver",
    ),
    (
        HOOK(
            "initialization error: load library failed: libnvidia-ml.so.1: cannot open shared"
            " object file: no such file or directory"
        ),
        "no-nvml",
        "docker-ce",
    ),
    (
        "Failed to initialize NVML: Driver/library version mismatch\nNVML library version: 580.95",
        "driver-mismatch",
        "Reboot the host",
    ),
    (
        HOOK("initialization error: nvml error: driver/library version mismatch"),
        "driver-mismatch",
        "Reboot the host",
    ),
    (
        HOOK(
            "requirement error: unsatisfied condition: cuda>=12.8, please update your driver to a"
            " newer version, or use an earlier cuda container"
        ),
        "old-driver",
        "Update the driver",
    ),
    ("Failed to initialize NVML: Unknown Error", "lost-device", "native.cgroupdriver=cgroupfs"),
    ("Failed to initialize NVML: Insufficient Permissions", "device-mode", "NVreg_DeviceFileMode"),
    (
        HOOK(
            "mount error: failed to add device rules: unable to find any existing device filters"
            " attached to the cgroup: bpf_prog_query(BPF_CGROUP_DEVICE) failed: operation not"
            " permitted"
        ),
        "rootless-gpu",
        "no-cgroups",
    ),
    (
        "W0000 gpu_device.cc:2342] Cannot dlopen some GPU libraries. Please make sure the missing"
        " libraries mentioned above are installed properly if you would like to use GPU.\n"
        "Skipping registering GPU devices...",
        "cuda-not-loaded",
        "Rebuild the image",
    ),
    ("error: libdevice not found at ./libdevice.10.bc", "no-ptxas", "lock"),
    ("W ptxas_utils.cc] Couldn't invoke ptxas --version", "no-ptxas", "lock"),
    (
        "ERROR: failed to solve: builder: failed to resolve source metadata for docker.io/library/"
        "builder:latest: pull access denied, repository does not exist or may require"
        " authorization: server message: insufficient_scope: authorization failed",
        "base-image",
        "BASE_IMAGE",
    ),
    (
        "ERROR: failed to solve: debian:trixi: failed to resolve source metadata for"
        " docker.io/library/debian:trixi: docker.io/library/debian:trixi: not found",
        "base-image",
        "BASE_IMAGE",
    ),
    (
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition:"
        " docker.io/library/debian:trixi: not found",
        "base-image",
        "BASE_IMAGE",
    ),
    ("manifest for debian:trixi not found: manifest unknown", "base-image", "BASE_IMAGE"),
    (
        "#3 [internal] load metadata for docker.io/library/debian:trixie-slim\n"
        '#3 ERROR: failed to do request: Head "https://registry.example/v2/library/debian/'
        'manifests/trixie-slim": dial tcp: lookup registry.example on 10.0.0.53:53: no such host',
        "registry",
        "docker pull",
    ),
    (
        "failed to solve with frontend dockerfile.v0: failed to create LLB definition: failed to"
        " authorize: rpc error: code = Unknown desc = failed to fetch anonymous token: Get"
        ' "https://auth.example/token": dial tcp: lookup auth.example on 172.23.176.1:53: dial udp'
        " 172.23.176.1:53: connect: network is unreachable",
        "registry",
        "docker pull",
    ),
    (
        'Error response from daemon: Get "https://registry.example/v2/": net/http: request canceled'
        " while waiting for connection (Client.Timeout exceeded while awaiting headers)",
        "registry",
        "docker pull",
    ),
    (
        'ERROR: failed to do request: Head "https://registry.example/v2/library/debian/manifests/'
        'trixie-slim": tls: failed to verify certificate: x509: certificate signed by unknown'
        " authority",
        "registry-certificate",
        "restart the engine",
    ),
    (
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate in"
        " certificate chain (_ssl.c:1000)",
        "certificate",
        ".devcontainer/certs",
    ),
    (
        "  Caused by: invalid peer certificate: UnknownIssuer",
        "certificate",
        ".devcontainer/certs",
    ),
    (
        "npm error code SELF_SIGNED_CERT_IN_CHAIN\n"
        "npm error self-signed certificate in certificate chain",
        "certificate",
        ".devcontainer/certs",
    ),
    (
        "  Certificate verification failed: The certificate is NOT trusted. The certificate issuer"
        " is unknown.",
        "certificate",
        ".devcontainer/certs",
    ),
    (
        "curl: (60) SSL certificate problem: unable to get local issuer certificate",
        "certificate",
        ".devcontainer/certs",
    ),
    (
        "the --mount option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to"
        " learn how to build images with BuildKit enabled",
        "no-buildkit",
        "docker-buildx",
    ),
    (
        "ERROR: BuildKit is enabled but the buildx component is missing or broken.",
        "no-buildkit",
        "docker-buildx",
    ),
    (
        "error: Failed to install: nvidia_cudnn_cu12-9.28.whl\n  Caused by: failed to write to"
        " file: No space left on device (os error 28)",
        "disk-full",
        "docker builder prune",
    ),
    (
        "Got permission denied while trying to connect to the Docker daemon socket at"
        " unix:///var/run/docker.sock",
        "socket",
        "usermod -aG docker",
    ),
    (
        "permission denied while trying to connect to the docker API at unix:///var/run/docker.sock",
        "socket",
        "usermod -aG docker",
    ),
    (
        "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon"
        " running?",
        "no-daemon",
        "systemctl start docker",
    ),
    (
        "error during connect: Get http://%2F%2F.%2Fpipe%2FdockerDesktopLinuxEngine/v1.51/info:"
        " open //./pipe/dockerDesktopLinuxEngine: The system cannot find the file specified.",
        "no-daemon",
        "Docker Desktop",
    ),
    ("Error: spawn docker ENOENT", "no-daemon", "Docker Desktop"),
    (
        "failed to connect to the docker API at unix:///var/run/docker.sock; check if the path is"
        " correct and if the daemon is running: dial unix /var/run/docker.sock: connect: no such"
        " file or directory",
        "no-daemon",
        "Docker Desktop",
    ),
    (
        "Error response from daemon: dockerfile parse error line 9: Unknown flag: mount",
        "no-buildkit",
        "docker-buildx",
    ),
    (
        'ERROR: failed to do request: Head "https://mirror.example/v2/library/node/manifests/20":'
        " read tcp 192.168.127.130:44148->150.136.252.237:443: read: connection reset by peer",
        "registry",
        "docker pull",
    ),
    (
        'Error: initializing source docker://debian:trixie-slim: pinging container registry: Get "'
        'https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
        "registry",
        "docker pull",
    ),
    (
        "error: Failed to initialize cache at `/home/dev/.cache/uv`",
        "cache-of-another",
        "docker volume rm",
    ),
    (
        "Error fetching image details: getaddrinfo ENOTFOUND registry.example",
        "registry",
        "docker pull",
    ),
    (
        "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Missing Authority Key"
        " Identifier (_ssl.c:1032)",
        "certificate",
        ".devcontainer/certs",
    ),
    ("Error: self signed certificate in certificate chain", "certificate", "*.crt"),
    ("npm error code SELF_SIGNED_CERT_IN_CHAIN", "certificate", "*.crt"),
    (
        "docker: Error response from daemon: failed to create shim task: OCI runtime create failed:"
        " runc create failed: unable to start container process: error during container init: error"
        " setting rlimits for ready process: error setting rlimit type 7: operation not permitted:"
        " unknown.",
        "ulimit",
        "runArgs",
    ),
    ("No devices were found", "no-devices", "nvidia-smi -L"),
    ("Failed to initialize NVML: Driver Not Loaded", "no-driver", "install the driver"),
    (
        "Unable to determine the device handle for GPU0: 0000:01:00.0: GPU is lost.  Reboot the"
        " system to recover this GPU",
        "gpu-lost",
        "Reboot the host",
    ),
    (
        "NVRM: Xid (PCI:0000:01:00): 79, pid=1234, GPU has fallen off the bus.",
        "gpu-lost",
        "dmesg",
    ),
    ("sh: 1: nvidia-smi: not found", "no-nvidia-smi", "doctor.py"),
    ("bash: nvidia-smi: command not found", "no-nvidia-smi", "doctor.py"),
    (
        "InternalError: {{function_node __wrapped__Cast_device_/job:localhost/replica:0/task:0/"
        "device:GPU:0}} 'cuLaunchKernel(function, ...)' failed with 'CUDA_ERROR_INVALID_PTX'",
        "no-kernels-here",
        "framework=jax",
    ),
    (
        "TensorFlow was not built with CUDA kernel binaries compatible with compute capability"
        " 12.0. CUDA kernels will be jit-compiled from PTX, which could take 30 minutes or longer.",
        "no-kernels-here",
        "nox -s update",
    ),
    (
        "torch.AcceleratorError: CUDA error: no kernel image is available for execution on the"
        " device",
        "no-kernels-here",
        "framework=jax",
    ),
    (
        "RuntimeError: CUDA driver version is insufficient for CUDA runtime version",
        "driver-too-old",
        "Update the NVIDIA driver",
    ),
    (
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please"
        " update your GPU driver",
        "driver-too-old",
        "Update the NVIDIA driver",
    ),
    (
        "RuntimeError: Unexpected error from cudaGetDeviceCount(). Error 804: forward compatibility"
        " was attempted on non supported HW",
        "forward-compatibility",
        "default base image",
    ),
    (
        "E cuda_driver.cc:265] failed call to cuInit: CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE",
        "forward-compatibility",
        "Update the driver",
    ),
    ("RuntimeError: CUDA driver is a stub library", "stub-driver", "LD_LIBRARY_PATH"),
    ("failed call to cuInit: CUresult(-1)", "stub-driver", "/etc/ld.so.conf.d"),
    (
        "E cuda_platform.cc:51] failed call to cuInit: CUDA_ERROR_UNKNOWN: unknown error",
        "cuda-unknown",
        "nvidia-modprobe -u -c0",
    ),
    (
        "failed call to cuInit: INTERNAL: CUDA error: Failed call to cuInit: UNKNOWN ERROR (303)",
        "no-libcuda",
        "compute,utility",
    ),
    (
        "RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA"
        " GPU and installed a driver",
        "no-libcuda",
        "NVIDIA_DRIVER_CAPABILITIES",
    ),
    ("failed call to cuInit: UNKNOWN ERROR (34)", "stub-driver", "LD_LIBRARY_PATH"),
    ("failed call to cuInit: CUDA_ERROR_STUB_LIBRARY", "stub-driver", "ldconfig"),
    ("CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available", "no-kernels-here", "jax"),
    ("RuntimeError: insufficient shared memory (shm)", "bus-error", "--shm-size"),
    (
        "Failed to initialize NVML: GPU access blocked by the operating system",
        "blocked",
        "wsl --shutdown",
    ),
    (
        "RuntimeError: CUDA unknown error - this may be due to an incorrectly set up environment",
        "cuda-unknown",
        "reboot the host",
    ),
    (
        "jaxlib._jax.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate"
        " 8589934592 bytes.",
        "out-of-memory",
        "--batch-size",
    ),
    (
        "failed to allocate 2.00GiB (2147483648 bytes) from device: CUDA_ERROR_OUT_OF_MEMORY",
        "out-of-memory",
        "nvidia-smi",
    ),
    (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.",
        "out-of-memory",
        "end what holds it",
    ),
    (
        "RuntimeError: DataLoader worker (pid 41) is killed by signal: Bus error. It is possible"
        " that dataloader's workers are out of shared memory.",
        "bus-error",
        "--shm-size",
    ),
    ("OSError: [Errno 24] Too many open files: 'data/raw/cat/1.png'", "open-files", "ulimit -n"),
    (
        "INTERNAL: XLA requires ptxas. No PTX compilation provider is available. Neither ptxas nor"
        " nvlink was found",
        "no-ptxas",
        "lock",
    ),
]
HEALTHY = """\
[2026-11-22T18:16:53.142Z] Start: Run: docker info -f {{.Runtimes.nvidia}}
[2026-11-22T18:16:53.539Z] {nvidia-container-runtime []}
Failed to fetch control manifest: getaddrinfo ENOTFOUND containers.dev
#3 [internal] load metadata for docker.io/library/debian:trixie-slim
#3 DONE 0.4s
#9 [framework 1/1] RUN --mount=type=cache,target=/cache /setup/image/environment.sh
#9 2.113 Resolved 141 packages in 12ms
 => => naming to docker.io/library/vsc-project 0.0s
groups: cannot find name for group ID 993
E cuda_fft.cc:467] Unable to register cuFFT factory: Attempting to register factory for plugin cuFFT
I cuda_executor.cc:1015] successful NUMA node read from SysFS had negative value (-1), but there
I gpu_device.cc:2020] Created device /job:localhost/replica:0/task:0/device:GPU:0 with 21770 MB
{"outcome":"success","containerId":"4f6d","remoteUser":"dev"}
"""


@pytest.mark.parametrize(
    "text, rule, remedy", TEXTS, ids=[f"{x[1]}-{i}" for i, x in enumerate(TEXTS)]
)
@pytest.mark.parametrize(
    "form",
    ["{}", "\x1b[31m{}\x1b[0m\r\n", "[2026-11-22T18:16:53.142Z] {}", HEALTHY + "#9 12.3 {}\n"],
    ids=["plain", "colours", "VS Code", "in a log"],
)
def test_a_known_text_gets_its_remedy_and_no_other(text, rule, remedy, form):
    found = doctor.explain(form.replace("{}", text))
    assert [finding.id for finding in found] == [rule]
    assert remedy in found[0].fix


def test_every_rule_is_tried():
    explained = {name for name, rule in doctor.RULES.items() if rule["says"]}
    assert explained == {rule for _, rule, _ in TEXTS}
    found = {*doctor.VERDICTS, *doctor.PROBLEMS, "gpu-unusable", "host-engine"}
    assert {*doctor.RULES} == explained | found


def test_a_healthy_log_has_no_finding():
    assert doctor.explain(HEALTHY) == []
    assert doctor.explain("") == []


def test_the_sentences_of_the_build_come_first():
    log = (
        "#9 1.2 curl: (60) SSL certificate problem: unable to get local issuer certificate\n"
        "#9 1.300 dev container: the packages could not be installed. No space left on device?\n"
        " > [framework 1/1] RUN /setup/image/environment.sh:\n"
        "1.300 dev container: the packages could not be installed. No space left on device?\n"
        "[2026-11-22T18:16:53.142Z] dev container: ACCELERATOR is 'x'.\n"
    )
    said = [(finding.id, finding.what) for finding in doctor.explain(log)]
    assert said[:2] == [
        ("own", "the packages could not be installed. No space left on device?"),
        ("own", "ACCELERATOR is 'x'."),
    ]
    assert [name for name, _ in said[2:]] == ["certificate"]


# --- Rules over facts -----------------------------------------------------------------------------

H100 = "NVIDIA H100 80GB HBM3"
HOPPER = doctor.Gpu(H100, "9.0", 80 << 30, 79 << 30)
GPU = {"smi": "ok", "gpus": [HOPPER], "driver": "580.95.05", "host_driver": True, "devices": True}
IMAGE = {"framework": "tensorflow", "version": "2.21.0", "accelerator": "gpu", "cuda": "12.5.1"}
CPU_IMAGE = {**IMAGE, "accelerator": "cpu", "cuda": None}
INSIDE = {
    "container": "4f6d0a",
    "engine": "docker",
    "kernel": "6.12.57",
    "image": IMAGE,
    "uid": 1000,
}
INSIDE |= {"owner": 1000, "workspace": "/workspaces/p", "volume": "p-cache-1", "pci": True}
HOST = {"engine": "docker", "kernel": "6.12.57", "workspace": "/home/ada/p"}
PLAIN = '{"ServerVersion":"29.5.0","Runtimes":{"runc":{"path":"runc"}}}'
NVIDIA = '{"ServerVersion":"29.5.0","Runtimes":{"nvidia":{"path":"nvidia-container-runtime"}}}'
ROOTLESS = NVIDIA[:-1] + ',"SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}'
PODMAN = '{"host":{"buildahVersion":"1.41.4"}}'
WSL = "6.6.87.2-microsoft-standard-WSL2"

DESKTOP = PLAIN[:-1] + ',"OperatingSystem":"Docker Desktop"}'
ADA = doctor.Gpu("NVIDIA GeForce RTX 4090", "8.9", 24 << 30, 23 << 30)
BLACKWELL = doctor.Gpu("NVIDIA GeForce RTX 5090", "12.0", 32 << 30, 31 << 30)
PASCAL = doctor.Gpu("NVIDIA GeForce GTX 1080 Ti", "6.1", 11 << 30, 10 << 30)
TF_KERNELS = ["sm_60", "sm_70", "sm_80", "sm_89", "compute_90"]


def probed(state: str = "ok", **found) -> dict:
    """The framework's answer: it used the GPU, unless `found` says otherwise."""
    well = {"gpus": 1, "on_gpu": True, "device": "device:GPU:0", "cuda": "12.5.82"}
    well |= {"kernels": TF_KERNELS, "wheels": {"nvidia-cuda-runtime-cu12": "12.5.82"}}
    answer = {**well, "version": "2.21.0", **found} if state == "ok" else {}
    return {"probe": state, "framework": "tensorflow", "found": answer}


# facts, exit code, rules that hold, what the lines say
CASES = {
    "gpu": (
        {**INSIDE, **GPU},
        0,
        ["gpu"],
        f"GPU: {H100}, driver 580.95.05 (image for the GPU: tensorflow 2.21.0, CUDA 12.5)",
    ),
    "two kinds": (
        {**INSIDE, **GPU, "gpus": [doctor.Gpu(name) for name in "ABB"]},
        0,
        ["gpu"],
        "GPU: A, 2 x B, driver",
    ),
    "no facts file": ({**INSIDE, **GPU, "image": {}}, 0, ["gpu"], f"GPU: {H100}, driver 580.95.05"),
    "cpu image": ({**INSIDE, "image": CPU_IMAGE}, 2, ["cpu-only"], "no sign of an NVIDIA GPU"),
    "cpu image, wsl": (
        {**INSIDE, "image": CPU_IMAGE, "kernel": WSL},
        2,
        ["cpu-image"],
        ".devcontainer/devcontainer.json",
    ),
    "cpu image, card": ({**INSIDE, "image": CPU_IMAGE, "card": True}, 2, ["cpu-image"], "reopen"),
    "cpu image, driver": (
        {**INSIDE, "host_driver": True, "image": CPU_IMAGE},
        2,
        ["cpu-image"],
        "CPU: this image was built for the CPU.",
    ),
    "cpu image, gpu": ({**INSIDE, **GPU, "image": CPU_IMAGE}, 1, ["gpu-cpu-image"], H100),
    "no wheels": (
        {**INSIDE, **GPU, "image": {**IMAGE, "cuda": None}, "machine": "aarch64"},
        1,
        ["no-cuda"],
        "tensorflow 2.21.0 has no CUDA for this kind of processor (aarch64)",
    ),
    "hangs": ({**INSIDE, "smi": "slow", "limit": 1.2}, 1, ["slow"], "not answered in 1.2 s"),
    "rubbish": ({**INSIDE, "smi": "odd", "answer": "\0x\n"}, 1, ["odd"], "nvidia-smi says"),
    "row 8": (
        {**INSIDE, "smi": "odd", "answer": TEXTS[13][0]},
        1,
        ["driver-mismatch"],
        "GPU: not usable. The NVIDIA driver was updated",
    ),
    "no utility": ({**INSIDE, "devices": True, "host_driver": True}, 1, ["no-smi"], "utility"),
    "not passed": ({**INSIDE, "host_driver": True}, 1, ["not-passed"], SETTING("all")),
    "wsl": ({**INSIDE, "kernel": WSL}, 2, ["wsl"], "--gpu-availability all"),
    "no driver": ({**INSIDE, "card": True}, 1, ["card"], "Install the NVIDIA driver"),
    "no gpu": (INSIDE, 2, ["none"], "CPU: no sign of an NVIDIA GPU on this machine."),
    "another owner": (
        {**INSIDE, **GPU, "writable": False, "owner": 0},
        0,
        ["gpu", "workspace"],
        'sudo chown -R "$(id -u):$(id -g)" .',
    ),
    "rootless": (
        {**INSIDE, "writable": False, "owner": 0, "rootless": True},
        2,
        ["none", "workspace-rootless"],
        '"remoteUser": "root"',
    ),
    "rootless, another owner": (
        {**INSIDE, "writable": False, "owner": 65534, "rootless": True},
        2,
        ["none", "workspace"],
        "uid 65534",
    ),
    "closed": ({**INSIDE, "writable": False}, 2, ["none", "workspace-closed"], "chmod -R u+rwX ."),
    "rootless, root": ({**INSIDE, "owner": 0, "uid": 0, "rootless": True}, 2, ["none"], "CPU"),
    "cache": (
        {**INSIDE, **GPU, "cache": "/home/dev/.cache/uv"},
        0,
        ["gpu", "cache"],
        "`docker rm -f 4f6d0a`, then `docker volume rm p-cache-1`",
    ),
    "cache, podman": (
        {**INSIDE, "cache": "/home/dev/.cache", "engine": "podman"},
        2,
        ["none", "cache"],
        "`podman volume rm p-cache-1`",
    ),
    "cache, no volume": (
        {**INSIDE, "cache": "/home/dev/.cache", "volume": ""},
        2,
        ["none", "cache-no-volume"],
        "Rebuild",
    ),
    "host": ({**HOST, **GPU, "info": NVIDIA}, 0, ["gpu"], f"GPU: {H100}, driver 580.95.05"),
    "host, cdi and runtime": ({**HOST, **GPU, "info": NVIDIA, "cdi": True}, 0, ["gpu"], "GPU"),
    "host, no gpu": ({**HOST, "info": PLAIN}, 2, ["none"], "CPU"),
    "mac": ({"kernel": "Darwin", "engine": "docker", "info": PLAIN}, 2, ["none"], "CPU"),
    "host without engine": ({**HOST, **GPU, "engine": ""}, 0, ["gpu"], "GPU"),
    "host, no smi": ({**HOST, "info": NVIDIA, "host_driver": True}, 1, ["no-smi"], "nvidia-smi"),
    "host, toolkit": (
        {**HOST, **GPU, "info": PLAIN},
        1,
        ["gpu-unusable", "host-toolkit"],
        "nvidia-ctk runtime configure",
    ),
    "host, cdi": (
        {**HOST, **GPU, "info": PLAIN, "cdi": True},
        1,
        ["gpu-unusable", "host-blind"],
        SETTING("all"),
    ),
    "host, wsl": (
        {**HOST, **GPU, "info": PLAIN, "kernel": WSL},
        1,
        ["gpu-unusable", "host-blind"],
        "WSL2",
    ),
    "host, wsl and runtime": ({**HOST, **GPU, "info": NVIDIA, "kernel": WSL}, 0, ["gpu"], "GPU"),
    "host, wsl, no gpu": ({**HOST, "info": PLAIN, "kernel": WSL}, 2, ["none"], "CPU"),
    "windows": (
        {**HOST, **GPU, "info": PLAIN, "kernel": "Windows"},
        1,
        ["gpu-unusable", "host-blind"],
        "all",
    ),
    "host, podman": (
        {**HOST, "engine": "podman", "info": PODMAN},
        2,
        ["none", "host-podman"],
        SETTING("none"),
    ),
    "host, rootless": (
        {**HOST, **GPU, "info": ROOTLESS},
        0,
        ["gpu", "host-rootless"],
        '"remoteUser": "root"',
    ),
    "host, stopped": (
        {**HOST, "info": '{"ServerErrors":["Cannot connect to the Docker daemon at unix:///x."]}'},
        2,
        ["none", "no-daemon"],
        "systemctl start docker",
    ),
    "host, stopped, newer client": (
        {
            **HOST,
            "info": '{"ServerVersion":"","ServerErrors":["Cannot connect to the Docker dae'
            'mon at unix:///x."]}',
        },
        2,
        ["none", "no-daemon"],
        "systemctl start docker",
    ),
    "host, silent": ({**HOST, "info": ""}, 2, ["none", "host-engine"], "does not answer"),
    "host, driver without a card": (
        {**HOST, "info": NVIDIA, "smi": "odd", "answer": "NVML: Driver Not Loaded", "pci": True},
        2,
        ["no-card"],
        SETTING("none"),
    ),
    "told once": (
        {
            **INSIDE,
            **GPU,
            **probed("failed"),
            "driver": "450.80",
            "said": "CUDA driver version is insufficient for CUDA runtime version",
        },
        1,
        ["gpu-unusable", "old-for-cuda"],
        "has to be 525",
    ),
    "host, snap": (
        {**HOST, **GPU, "info": PLAIN, "snap": True},
        1,
        ["gpu-unusable", "host-snap"],
        "sudo snap remove docker",
    ),
    "host, snap without gpu": ({**HOST, "info": PLAIN, "snap": True}, 2, ["none"], "CPU"),
    "host, desktop": (
        {**HOST, **GPU, "info": DESKTOP},
        1,
        ["gpu-unusable", "host-desktop"],
        "docker context use default",
    ),
    "host, old toolkit": (
        {**HOST, **GPU, "info": NVIDIA, "toolkit": "1.17.7"},
        0,
        ["gpu", "host-old-toolkit"],
        "CVE-2025-23266",
    ),
    "host, stale cdi": (
        {**HOST, **GPU, "info": NVIDIA, "cdi": True, "cdi_drivers": ["575.57.08"]},
        1,
        ["gpu-unusable", "host-stale-cdi"],
        "nvidia-cdi-refresh",
    ),
    "host, full": (
        {**HOST, "info": PLAIN, "host_disk": 9.4},
        2,
        ["none", "host-disk"],
        "9 GB free where Docker keeps them",
    ),
    "host, environment for the CPU": (
        {**HOST, **GPU, "info": NVIDIA, **probed(cuda=None, gpus=0, on_gpu=False, wheels={})},
        0,
        ["gpu", "cpu-environment"],
        "nox -s setup -- gpu",
    ),
    "unseen": (
        {**INSIDE, "pci": False},
        2,
        ["unseen"],
        "cannot be told from in here",
    ),
    "mac, inside": (
        {**INSIDE, "kernel": "6.10.14-linuxkit", "machine": "aarch64"},
        2,
        ["unseen"],
        "On the host: `python3 .devcontainer/doctor.py`",
    ),
    "closed devices": (
        {**INSIDE, **GPU, "closed": "/dev/nvidia0, /dev/nvidiactl"},
        1,
        ["gpu-unusable", "devices-closed"],
        "You may not open /dev/nvidia0, /dev/nvidiactl (uid 1000)",
    ),
    "a host makes it": ({**HOST, **GPU, "info": NVIDIA, "no_uvm": True}, 0, ["gpu"], "GPU"),
    "row 23": (
        {**INSIDE, **GPU, "no_uvm": True},
        1,
        ["gpu-unusable", "no-uvm"],
        "nvidia-modprobe -u -c0",
    ),
    "row 30": (
        {**INSIDE, **GPU, "gpus": [HOPPER._replace(parts=0)]},
        1,
        ["gpu-unusable", "no-mig"],
        f"{H100} is in MIG mode",
    ),
    "one of two without parts": (
        {**INSIDE, **GPU, "gpus": [HOPPER._replace(parts=0), HOPPER]},
        0,
        ["gpu", "no-mig"],
        f"{H100} is in MIG mode",
    ),
    "one of two is lost": (
        {**INSIDE, **GPU, "gpus": [HOPPER, doctor.Gpu("GPU 1", error="GPU is lost")]},
        0,
        ["gpu", "lost"],
        "GPU 1: GPU is lost",
    ),
    "row 20": (
        {**INSIDE, **GPU, "driver": "550.54.14", **probed(cuda="13.2.86", version="2.15.0")},
        1,
        ["gpu-unusable", "old-for-cuda"],
        "Driver 550.54.14 is too old for CUDA 13.2 of tensorflow 2.15.0: it has to be 580",
    ),
    "an unknown CUDA": ({**INSIDE, **GPU, **probed(cuda="14.1")}, 0, ["gpu"], "GPU"),
    "row 18": (
        {**INSIDE, **GPU, "gpus": [BLACKWELL], **probed(kernels=TF_KERNELS)},
        1,
        ["gpu-unusable", "no-kernels"],
        "no kernels for NVIDIA GeForce RTX 5090 (12.0) (it has sm_60, ",
    ),
    "one of two without kernels": (
        {**INSIDE, **GPU, "gpus": [HOPPER, BLACKWELL], **probed(kernels=TF_KERNELS)},
        0,
        ["gpu", "no-kernels"],
        "no kernels for NVIDIA GeForce RTX 5090 (12.0) (it has sm_60, ",
    ),
    "row 18, by the image": (
        {**INSIDE, **GPU, "gpus": [BLACKWELL], "image": {**IMAGE, "compute_capabilities": ["80"]}},
        1,
        ["gpu-unusable", "no-kernels"],
        "framework=jax",
    ),
    "row 19": (
        {**INSIDE, **GPU, "gpus": [PASCAL], **probed(kernels=["sm_75", "sm_80", "sm_120"])},
        1,
        ["gpu-unusable", "no-kernels"],
        "no kernels for NVIDIA GeForce GTX 1080 Ti (6.1)",
    ),
    "framework is slow": (
        {**INSIDE, **GPU, **probed("slow"), "python": "/opt/venv/bin/python"},
        1,
        ["gpu-unusable", "framework-slow"],
        'run `/opt/venv/bin/python -c "import tensorflow"`',
    ),
    "no framework": (
        {**INSIDE, **GPU, "probe": "missing", "framework": "jax"},
        1,
        ["gpu-unusable", "framework-missing"],
        "Cannot tell whether jax uses the GPU",
    ),
    "framework fails": (
        {**INSIDE, **GPU, **probed("failed"), "said": "Traceback\n\nValueError: odd\n"},
        1,
        ["gpu-unusable", "framework-failed"],
        "tensorflow fails to compute on the GPU: ValueError: odd",
    ),
    "framework fails, known": (
        {**INSIDE, **GPU, **probed("failed"), "said": "CUDA driver is a stub library"},
        1,
        ["gpu-unusable", "stub-driver"],
        "LD_LIBRARY_PATH",
    ),
    "row 15": (
        {
            **INSIDE,
            **GPU,
            **probed(gpus=0, on_gpu=False),
            "said": "Cannot dlopen some GPU libraries. Please",
        },
        1,
        ["gpu-unusable", "cuda-not-loaded"],
        "Rebuild the image",
    ),
    "framework is blind": (
        {**INSIDE, **GPU, **probed(gpus=0, on_gpu=False), "visible": "-1"},
        1,
        ["gpu-unusable", "framework-blind"],
        "CUDA_VISIBLE_DEVICES (-1)",
    ),
    "framework on the CPU": (
        {**INSIDE, **GPU, **probed(on_gpu=False, device="cpu:0")},
        1,
        ["gpu-unusable", "framework-cpu"],
        "still computed on cpu:0",
    ),
    "row 25": (
        {**INSIDE, **GPU, "gpus": [HOPPER._replace(free=9 << 30, holders=["pid 7 of the host"])]},
        0,
        ["gpu", "gpu-in-use"],
        "GPU 0 is in use: 9.0 of 80.0 GB free, 0 % busy (held by pid 7 of the host).",
    ),
    "a screen recorder": (
        {**INSIDE, **GPU, "gpus": [HOPPER._replace(busy=12, encoding=31)]},
        0,
        ["gpu", "gpu-in-use"],
        "12 % busy, its video encoder 31 %",
    ),
    "another training": (
        {**INSIDE, **GPU, "gpus": [HOPPER, HOPPER._replace(busy=97)]},
        0,
        ["gpu", "gpu-in-use"],
        "GPU 1 is in use",
    ),
    "two CUDAs": (
        {**INSIDE, **GPU, **probed(wheels=dict.fromkeys(["nvidia-nccl-cu12", "nvidia-nccl-cu13"]))},
        0,
        ["gpu", "two-cudas"],
        "CUDA 12 and CUDA 13",
    ),
    "row 24": (
        {**INSIDE, **GPU, "overrides": "/usr/local/cuda/lib64"},
        0,
        ["gpu", "library-path"],
        "unset LD_LIBRARY_PATH",
    ),
    "row 26": ({**INSIDE, **GPU, "shm": 64}, 0, ["gpu", "shm"], "--shm-size=8g"),
    "a host's shm": ({**HOST, **GPU, "info": NVIDIA, "shm": 64}, 0, ["gpu"], "GPU"),
    "row 27": ({**INSIDE, **GPU, "files": 1024}, 0, ["gpu", "few-files"], "--ulimit nofile"),
    "row 32": ({**INSIDE, **GPU, "disk": 1.25}, 0, ["gpu", "disk"], "1.2 GB free"),
    "jetson with NVML": ({**HOST, **GPU, "info": NVIDIA, "jetson": True}, 2, ["jetson"], "CPU"),
    # Healthy machines: a verdict, and nothing else.
    "desktop": (
        {
            **HOST,
            **GPU,
            **probed(),
            "gpus": [ADA._replace(free=22 << 30, holders=["Xorg (pid 9)"])],
            "info": NVIDIA,
            "toolkit": "1.18.1",
            "host_disk": 200,
        },
        0,
        ["gpu"],
        "GPU: NVIDIA GeForce RTX 4090, driver 580.95.05",
    ),
    "server": (
        {**INSIDE, **GPU, **probed(), "gpus": [HOPPER] * 8, "shm": 8192, "disk": 900},
        0,
        ["gpu"],
        f"GPU: 8 x {H100}",
    ),
    "server, cdi": (
        {**HOST, **GPU, "info": NVIDIA, "cdi": True, "cdi_drivers": ["580.95.05"]},
        0,
        ["gpu"],
        "GPU",
    ),
    "mig": ({**INSIDE, **GPU, "gpus": [HOPPER._replace(parts=2)]}, 0, ["gpu"], H100),
    "wsl, inside": (
        {**INSIDE, **GPU, **probed(), "kernel": WSL, "host_driver": False},
        0,
        ["gpu"],
        "GPU",
    ),
    "jetson": (
        {
            **HOST,
            "kernel": "5.15.148-tegra",
            "machine": "aarch64",
            "jetson": True,
            "info": PLAIN,
            "devices": True,
        },
        2,
        ["jetson"],
        "not supported",
    ),
    "jax": (
        {**INSIDE, **GPU, **probed(kernels=None), "framework": "jax", "gpus": [BLACKWELL]},
        0,
        ["gpu"],
        "RTX 5090",
    ),
    "torch": (
        {
            **INSIDE,
            **GPU,
            "gpus": [BLACKWELL, ADA],
            "framework": "torch",
            **probed(kernels=["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"], cuda="13.2"),
        },
        0,
        ["gpu"],
        "GPU",
    ),
}

# The ways in which a GPU is known to fail in dev containers, and what tells each of them.
ROWS = {
    "no toolkit": "no-toolkit host-toolkit host-snap",
    "no CDI": "no-cdi",
    "no runtime": "no-runtime",
    "podman and the dev container CLI": "podman-info host-podman",
    "a GPU that the CLI does not see": "gpu-not-seen host-blind not-passed wsl",
    "no driver": "no-driver card",
    "an engine apart from the driver": "no-nvml host-snap host-desktop",
    "driver and library of two versions": "driver-mismatch host-stale-cdi",
    "a base image that demands a newer driver": "old-driver",
    "a GPU lost after a daemon-reload": "lost-device",
    "devices that are closed": "device-mode devices-closed",
    "a group without a name": "GUIDE: cannot find name for group ID",
    "rootless": "rootless-gpu host-rootless",
    "no nvidia-smi": "no-nvidia-smi no-smi not-passed",
    "CUDA libraries that are not found": "cuda-not-loaded framework-blind",
    "TensorFlow's own image": "GUIDE: tensorflow/tensorflow",
    "no ptxas": "no-ptxas",
    "Blackwell and TensorFlow": "no-kernels no-kernels-here",
    "no kernel image": "no-kernels no-kernels-here",
    "a driver too old for CUDA": "old-for-cuda driver-too-old",
    "forward compatibility": "forward-compatibility",
    "stub libraries": "stub-driver",
    "no uvm": "no-uvm cuda-unknown",
    "LD_LIBRARY_PATH": "library-path",
    "no memory": "out-of-memory gpu-in-use",
    "shared memory": "bus-error shm",
    "open files": "open-files few-files",
    "files of another user": "workspace workspace-rootless workspace-closed",
    "volumes of another user": "cache cache-of-another",
    "MIG": "no-mig no-devices",
    "an old toolkit": "host-old-toolkit",
    "a full disk": "disk-full disk host-disk",
}


def test_each_known_failure_is_told():
    assert len(ROWS) == 32
    for rules in ROWS.values():
        if rules.startswith("GUIDE: "):
            assert rules.removeprefix("GUIDE: ") in GUIDE.read_text()
        else:
            assert {*rules.split()} <= {*doctor.RULES}


@pytest.mark.parametrize("facts, code, names, says", CASES.values(), ids=CASES)
def test_facts_get_their_findings_and_no_others(facts, code, names, says):
    result, findings = doctor.diagnose(doctor.Facts(**facts))
    assert (result, [finding.id for finding in findings]) == (code, names)
    lines = "\n".join(map(str, findings))
    assert says in lines
    assert len(lines.splitlines()) == len(findings), "a finding takes more than one line"
    assert not re.search(r"[{}<]\w+[}>]", lines), "a word was left out"


def test_every_verdict_and_problem_is_tried():
    tried = {name for _, _, names, _ in CASES.values() for name in names}
    assert tried >= {*doctor.VERDICTS, *doctor.PROBLEMS, "host-engine"}


# --- Facts from a machine -------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A container without GPU, whose commands are those in `bin`."""
    root = tmp_path / "root"
    for name in ("bin", "root/home/.cache/keras", "root/opt/venv", "workspace"):
        (tmp_path / name).mkdir(parents=True)
    container = "4f6d0a1b2c3d" + "0" * 52
    fill(root / ".dockerenv", "")
    fill(root / "proc/sys/kernel/osrelease", "6.12.57+deb13-amd64\n")
    fill(root / "proc/self/uid_map", "         0          0 4294967295\n")
    fill(
        root / "proc/self/mountinfo",
        "700 690 8:1 /var/lib/docker/volumes/other/_data /data rw - ext4 /dev/sda1 rw\n"
        f"701 690 8:1 /var/lib/docker/containers/{container}/hostname /etc/hostname rw - ext4\n"
        f"702 690 8:1 /docker/volumes/p-cache-1/_data {root}/home/.cache rw - ext4 x rw\n",
    )
    fill(root / "opt/venv/gpu_facts.json", json.dumps(IMAGE))
    fill(root / "sys/bus/pci/devices/0/vendor", "0x1af4\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HOME", str(root / "home"))
    return tmp_path


def fill(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def command(machine: Path, name: str, script: str) -> None:
    fill(machine / "bin" / name, f"#!/bin/sh\n{script}\n", 0o755)


def gather(machine: Path, limit: float = 5):
    return doctor.gather(machine / "root", machine / "workspace", limit)


def verdict(machine: Path, limit: float = 5) -> str:
    return doctor.diagnose(gather(machine, limit))[1][0].id


def test_a_container_is_read(machine):
    facts = gather(machine)
    assert (facts.container, facts.engine, facts.volume) == ("4f6d0a1b2c3d", "docker", "p-cache-1")
    assert facts.image == IMAGE
    assert (facts.smi, facts.cache, facts.rootless, facts.writable) == ("missing", "", False, True)
    assert not (facts.host_driver or facts.devices or facts.card or facts.info)
    assert doctor.diagnose(facts)[0] == 2


def test_a_gpu_is_read(machine):
    command(machine, "nvidia-smi", f'echo "{H100}, 580.95.05"; echo "{H100}, 580.95.05"; exit 3')
    facts = gather(machine)
    assert (facts.gpus, facts.driver, facts.smi) == ([doctor.Gpu(H100)] * 2, "580.95.05", "ok")


def test_a_gpu_is_read_where_wsl_keeps_its_nvidia_smi(machine):
    script = f"#!/bin/sh\necho '{H100}, 580.95'\n"
    fill(machine / "root/usr/lib/wsl/lib/nvidia-smi", script, 0o755)
    assert gather(machine).gpus == [doctor.Gpu(H100)]


@pytest.mark.parametrize(
    "script, name",
    [
        ("while :; do read x </dev/zero; done", "slow"),
        (f'echo "{H100}, 580.95"; while :; do read x </dev/zero; done', "slow"),
        ("exec </dev/null; (while :; do :; done) & exit 0", "slow"),
        ("while :; do echo rubbish, rubbish; done", "odd"),
        ("printf '\\377\\376\\000, 1.2\\n'", "odd"),
        ("echo '[Unknown Error], [Unknown Error]'", "odd"),
        ("echo No devices were found; exit 6", "no-devices"),
        ("exit 0", "odd"),
        ("echo 'Failed to initialize NVML: Unknown Error' >&2; exit 255", "lost-device"),
        ("echo 'Failed to initialize NVML: Insufficient Permissions'", "device-mode"),
    ],
)
def test_a_bad_nvidia_smi_is_told_apart_in_time(machine, script, name):
    command(machine, "nvidia-smi", script)
    start = time.monotonic()
    assert verdict(machine, limit=0.3 if name == "slow" else 5) == name
    assert time.monotonic() - start < 12  # the machine may be busy


def test_an_nvidia_smi_that_is_none(machine):
    (machine / "bin" / "nvidia-smi").mkdir()
    assert verdict(machine) == "none"
    (machine / "bin" / "nvidia-smi").rmdir()
    fill(machine / "bin" / "nvidia-smi", "\x7fELF, but of another machine", 0o755)
    assert verdict(machine) == "odd"
    fill(machine / "bin" / "nvidia-smi", "#!/nowhere\n", 0o755)
    assert verdict(machine) == "odd"


@pytest.mark.parametrize(
    "seen, name",
    [
        ({"proc/driver/nvidia/version": "NVRM version: 580.95.05"}, "not-passed"),
        ({"proc/driver/nvidia/version": "580.95.05", "dev/nvidiactl": ""}, "no-smi"),
        ({"proc/sys/kernel/osrelease": WSL}, "wsl"),
        ({"proc/sys/kernel/osrelease": WSL, "dev/dxg": ""}, "no-smi"),
        (
            {"sys/bus/pci/devices/1/vendor": "0x10de\n", "sys/bus/pci/devices/1/class": "0x030200"},
            "card",
        ),
        (
            {"sys/bus/pci/devices/1/vendor": "0x10de\n", "sys/bus/pci/devices/1/class": "0x020000"},
            "none",
        ),
        (
            {"sys/bus/pci/devices/1/vendor": "0x8086\n", "sys/bus/pci/devices/1/class": "0x030000"},
            "none",
        ),
        ({"opt/venv/gpu_facts.json": json.dumps(CPU_IMAGE)}, "cpu-only"),
        ({"opt/venv/gpu_facts.json": "[1]"}, "none"),
        ({"opt/venv/gpu_facts.json": "{"}, "none"),
    ],
)
def test_what_a_container_sees_of_its_host(machine, seen, name):
    for path, text in seen.items():
        fill(machine / "root" / path, text)
    assert verdict(machine) == name


def test_rootless_is_seen(machine):
    fill(machine / "root/proc/self/uid_map", "0 1000 1\n1 100000 65536\n")
    assert gather(machine).rootless


def test_podman_is_seen_in_the_container(machine):
    fill(machine / "root/run/.containerenv", "")
    assert gather(machine).engine == "podman"


def test_a_cache_of_another_uid_is_seen(machine):
    home, here = machine / "root" / "home", os.getuid()
    mounts = doctor.read(machine / "root/proc/self/mountinfo")
    (home / ".cache" / "broken").symlink_to("/nowhere")
    fill(home / ".cache" / "a file", "", 0o400)
    assert doctor.ask_cache(home / ".cache", mounts, here or 0)["cache"] == ""
    seen = doctor.ask_cache(home / ".cache", mounts, here + 1)
    assert seen == {"cache": str(home / ".cache"), "volume": "p-cache-1"}
    assert doctor.ask_cache(home / "missing", mounts, here + 1) == {"cache": "", "volume": ""}


def test_a_home_that_is_closed_to_this_user_is_passed_over(machine, monkeypatch):
    home = machine / "root" / "home"

    def closed(ask):
        def answer(path, *args, **options):
            if str(path).startswith(f"{home}/"):
                raise PermissionError(13, "Permission denied", str(path))
            return ask(path, *args, **options)

        return answer

    for name in ("stat", "lstat", "listdir", "scandir"):  # root may look into everything
        monkeypatch.setattr(os, name, closed(getattr(os, name)))
    with pytest.raises(PermissionError):
        (home / ".cache").lstat()
    assert verdict(machine) == "none"
    assert gather(machine).cache == ""


def test_the_engine_of_a_host_is_asked(machine):
    (machine / "root/opt/venv/gpu_facts.json").unlink()
    assert gather(machine).container == "4f6d0a1b2c3d"
    command(machine, "docker", "exit 1")
    assert gather(machine).container == ""
    (machine / "bin/docker").unlink()
    (machine / "root/.dockerenv").unlink()
    assert gather(machine).engine == ""
    command(machine, "podman", f"echo '{PODMAN}'")
    assert gather(machine).engine == "podman"
    command(machine, "docker", f"echo Emulate Docker CLI >&2; echo '{PODMAN}'")
    assert gather(machine).engine == "podman"
    command(machine, "docker", f"[ $1 = info ] && echo '{PLAIN}'")
    facts = gather(machine)
    assert (facts.engine, facts.container, facts.no_gpu_in_docker) == ("docker", "", True)
    assert not facts.cdi
    fill(machine / "root/etc/cdi/nvidia.yaml", "cdiVersion: 0.5.0\nkind: nvidia.com/gpu\n")
    assert gather(machine).cdi
    (machine / "root/etc/cdi/nvidia.yaml").unlink()
    found = (
        '{"ServerVersion":"29.5.0","DiscoveredDevices":[{"Source":"cdi","ID":"nvidia.com/gpu=0"}]}'
    )
    command(machine, "docker", f"echo '{found}'")
    assert gather(machine).cdi
    command(machine, "docker", "while :; do read x </dev/zero; done")
    assert [x.id for x in doctor.diagnose(gather(machine, 0.3))[1]] == ["none", "host-engine"]


def test_toolkit_snap_and_old_descriptions_are_seen(machine):
    (machine / "root/opt/venv/gpu_facts.json").unlink()
    (machine / "root/.dockerenv").unlink()
    snap = '{"ServerVersion":"29.5.0","DockerRootDir":"/var/snap/docker/common/var-lib-docker"}'
    command(machine, "docker", f"[ $1 = info ] && echo '{snap}'")
    command(machine, "nvidia-container-cli", "echo 'cli-version: 1.17.4'")
    fill(machine / "root/etc/cdi/nvidia.yaml", "kind: nvidia.com/gpu\n- /x/libcuda.so.575.57.08\n")
    facts = gather(machine)
    assert (facts.snap, facts.toolkit, facts.cdi_drivers) == (True, "1.17.4", ["575.57.08"])
    command(machine, "nvidia-ctk", "echo 'NVIDIA Container Toolkit CLI version 1.18.1'; echo x")
    command(machine, "docker", f"[ $1 = info ] && echo '{NVIDIA}'")
    facts = gather(machine)
    assert (facts.snap, facts.toolkit, facts.host_disk) == (False, "1.18.1", 1e9)
    found = NVIDIA[:-1] + f',"DockerRootDir":"{machine}"}}'
    command(machine, "docker", f"[ $1 = info ] && echo '{found}'")
    assert 0 < gather(machine).host_disk < 1e9


def test_devices_are_told_apart_from_files(machine, monkeypatch):
    for name in ("nvidia0", "nvidiactl", "nvidia-caps", "nvidia-modeset"):
        fill(machine / "root/dev" / name, "")
    plain = doctor.ask_devices(machine / "root")
    assert plain == {"closed": "", "no_uvm": False, "devices": True}
    monkeypatch.setattr(doctor, "is_device", lambda path: path.name != "nvidia-caps")
    monkeypatch.setattr(os, "access", lambda path, mode: path.name == "nvidia0")
    seen = doctor.ask_devices(machine / "root")
    assert seen == {"closed": f"{machine}/root/dev/nvidiactl", "no_uvm": True, "devices": True}


def test_the_environment_is_the_containers_the_projects_or_this_one(machine):
    root, workspace = machine / "root", machine / "workspace"
    assert doctor.environment(root, workspace, "json") == sys.executable
    assert doctor.environment(root, workspace, "no_such_framework") == ""
    fill(workspace / ".venv/bin/python", "")
    assert doctor.environment(root, workspace, "json") == f"{workspace}/.venv/bin/python"
    fill(root / "opt/venv/bin/python", "")
    assert doctor.environment(root, workspace, "json") == f"{root}/opt/venv/bin/python"


def test_the_project_is_read(machine, monkeypatch):
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    (machine / "root/opt/venv/gpu_facts.json").unlink()
    answers = "# By Copier\n_commit: v0.3.2\n_src_path: gh:org/gpu-ml-template\nframework: jax\n"
    fill(machine / "workspace/.copier-answers.yml", answers)
    facts = gather(machine)
    assert (facts.framework, facts.template) == ("jax", "v0.3.2")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    assert gather(machine).framework == "torch"


# --- The command ----------------------------------------------------------------------------------


def call(*args: str, path: Path | None = None, **options) -> subprocess.CompletedProcess:
    env = {"PATH": str(path or "/nowhere"), "HOME": "/nowhere"}
    command = [sys.executable, str(FILE), *args]
    options = {"capture_output": True, "encoding": "utf-8", "env": env, **options}
    return subprocess.run(command, timeout=20, **options)


def test_brief_is_one_line_in_time_though_nvidia_smi_hangs(machine):
    command(machine, "nvidia-smi", "while :; do read x </dev/zero; done")
    start = time.monotonic()
    done = call("--brief", path=machine / "bin")
    assert time.monotonic() - start < 12  # the machine may be busy
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch("GPU: cannot tell, nvidia-smi has not answered in 5 s. .*\n", done.stdout)


def test_the_exit_code_tells_gpu_from_none(machine):
    command(machine, "nvidia-smi", f'echo "{H100}, 580.95"')
    assert call(path=machine / "bin").returncode in (0, 1)  # 1 in a container with a CPU image
    assert call("--nonsense").returncode == 3
    assert call("--explain", "/nowhere").returncode == 3
    assert call("--help").returncode == 0


def test_brief_never_fails(tmp_path):
    broken = tmp_path / "x" / "doctor.py"
    fill(
        broken, FILE.read_text().replace("def gather(", "def gather(limit):\n    1 / 0\ndef other(")
    )
    command = [sys.executable, str(broken)]
    done = subprocess.run([*command, "--brief"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        done.stdout == "GPU: cannot tell, the doctor failed: ZeroDivisionError: division by zero\n"
    )
    assert subprocess.run(command, capture_output=True).returncode == 3


def test_brief_bears_a_closed_or_full_output():
    with open("/dev/full", "w") as full:
        done = call("--brief", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")
    script = f"{sys.executable} {FILE} --brief >&-"
    assert subprocess.run(["sh", "-c", script], capture_output=True).returncode == 0


def test_json_has_the_findings_with_links_and_the_facts():
    done = call("--json")
    told = json.loads(done.stdout)
    assert (done.returncode, done.stderr) == (told["exit_code"], "")
    assert told["verdict"] == told["findings"][0]["id"] in doctor.RULES
    assert told["findings"][0]["link"].endswith(f"docs/gpu-troubleshooting.md#{told['verdict']}")
    assert told["where"] in ("host", "container") and told["facts"]["asked"] == "nvidia-smi"
    for found in told["findings"]:
        assert f"### {found['id']}\n" in GUIDE.read_text()


def test_the_text_says_where_it_is_and_what_to_do():
    facts = doctor.Facts(**{**INSIDE, **GPU, "shm": 64})
    text = doctor.as_text(facts, doctor.diagnose(facts)[1])
    first, verdict, problem, fix, more = text.splitlines()
    assert first == "In the container (6.12.57, docker 4f6d0a):"
    assert verdict.startswith("* GPU: ") and problem.startswith("* The container has 64 MB")
    assert fix.startswith("  -> Keep --shm-size=8g") and more.endswith("gpu-troubleshooting.md")


def test_a_report_tells_nothing_of_who_and_where(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("USER", "somebody")
    monkeypatch.setattr(doctor.socket, "gethostname", lambda: "workhorse")
    uuid = "GPU-8f6b4e2c-1111-2222-3333-444455556666"
    private = [
        "/home/somebody/face-finder",
        "/home/else/x.py",
        "somebody",
        "workhorse",
        uuid[4:],
        "me@example.org",
        "10.1.2.3",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "C:\\Users\\someone",
        "52:54:00:12:34:56",
    ]
    said = f"Traceback, {' and '.join(private)}: password: hunter2 https://u:hunter2@example.org/x"
    facts = doctor.Facts(
        **{**INSIDE, **GPU, **probed("failed"), "kernel": WSL},
        said=said,
        visible=uuid,
        python="/home/somebody/face-finder/.venv/bin/python",
        overrides="/home/somebody/lib",
        info="workhorse",
    )
    facts.workspace = "/home/somebody/face-finder"
    facts.found = {"wheels": {"nvidia-cuda-runtime-cu12": "12.5.82"}, "cudnn": "9.3.0.75"}
    code, findings = doctor.diagnose(facts)
    report = doctor.as_report(facts, code, findings)
    for word in (*private, "face-finder", "else", "hunter2"):
        assert word not in report.replace('"password"', ""), word
    for word in (WSL, H100, "580.95.05", "nvidia-cuda-runtime-cu12", "9.3.0.75", "Traceback"):
        assert word in report, word


def test_the_report_is_printed(tmp_path):
    done = call("--report")
    assert done.stderr == "" and done.stdout.startswith("## Report of the doctor: exit code ")
    facts = json.loads(done.stdout.split("```json\n")[1].split("```")[0])
    assert facts["kernel"] and str(ROOT) not in done.stdout


def test_a_log_is_explained(tmp_path):
    fill(tmp_path / "log", HEALTHY + TEXTS[0][0])
    done = call("--explain", str(tmp_path / "log"))
    assert (done.returncode, done.stderr) == (1, "")
    assert "Docker was asked for a GPU" in done.stdout and "nvidia-ctk" in done.stdout
    assert call("--explain", input=TEXTS[0][0]).stdout == done.stdout
    done = call("--explain", input="one\nfour\u2603\n", env={"LC_ALL": "C", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("Nothing in it is known") and "one\nfour" in done.stdout


def test_it_runs_on_old_pythons_and_alone():
    tree = ast.parse(FILE.read_text(), feature_version=(3, 9))
    modules = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in modules} <= sys.stdlib_module_names


# --- The guide ------------------------------------------------------------------------------------


def tables() -> str:
    """The sentences of the doctor, as the guide has them: a heading each, which the links name."""

    def section(title: str, names: list[str]) -> str:
        parts = [f"## {title}"]
        for name in names:
            rule = doctor.RULES[name]
            about = " ".join(filter(None, (rule["what"], rule.get("why"))))
            lines = [about, f"*What to do:* {rule['fix']}" if rule.get("fix") else ""]
            if rule["says"]:
                lines.insert(0, f"`{rule['says']}`")
            else:
                lines = [re.sub(r"{(\w+)[^}]*}", r"*\1*", line) for line in lines]
            parts += [f"### {name}", *filter(None, lines)]
        return "\n\n".join(parts) + "\n"

    explained = [name for name, rule in doctor.RULES.items() if rule["says"]]
    verdicts = [name for name in doctor.RULES if name in {*doctor.VERDICTS, "gpu-unusable"}]
    others = [name for name in doctor.RULES if name not in (*explained, *verdicts)]
    return "\n".join(
        [
            section("Verdicts", verdicts),
            section("What the doctor finds by itself", others),
            section("Texts that it explains", explained),
        ]
    )


def guide() -> str:
    return GUIDE.read_text().split("## Verdicts")[0] + tables()


def test_the_guide_is_in_step():
    assert GUIDE.read_text() == guide(), "run `python tests/test_doctor.py`"


if __name__ == "__main__":
    GUIDE.write_text(guide())
