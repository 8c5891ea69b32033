"""The doctor on real texts: each gets its remedy and no other, and healthy machines get none.

`python tests/test_doctor.py` writes the tables of docs/gpu-troubleshooting.md anew.
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
    assert {*doctor.RULES} == explained | {*doctor.VERDICTS} | {*doctor.PROBLEMS} | {"host-engine"}


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
GPU = {"smi": "ok", "gpus": [H100], "driver": "580.95.05", "host_driver": True, "devices": True}
IMAGE = {"framework": "tensorflow", "version": "2.21.0", "accelerator": "gpu", "cuda": "12.5.1"}
CPU_IMAGE = {**IMAGE, "accelerator": "cpu", "cuda": None}
INSIDE = {
    "container": "4f6d0a",
    "engine": "docker",
    "kernel": "6.12.57",
    "image": IMAGE,
    "uid": 1000,
}
INSIDE |= {"owner": 1000, "workspace": "/workspaces/p", "volume": "p-cache-1"}
HOST = {"engine": "docker", "kernel": "6.12.57", "workspace": "/home/ada/p"}
PLAIN = '{"ServerVersion":"29.5.0","Runtimes":{"runc":{"path":"runc"}}}'
NVIDIA = '{"ServerVersion":"29.5.0","Runtimes":{"nvidia":{"path":"nvidia-container-runtime"}}}'
ROOTLESS = NVIDIA[:-1] + ',"SecurityOptions":["name=seccomp,profile=builtin","name=rootless"]}'
PODMAN = '{"host":{"buildahVersion":"1.41.4"}}'
WSL = "6.6.87.2-microsoft-standard-WSL2"

# facts, exit code, rules that hold, what the lines say
CASES = {
    "gpu": (
        {**INSIDE, **GPU},
        0,
        ["gpu"],
        f"GPU: {H100}, driver 580.95.05 (image for the GPU: tensorflow 2.21.0, CUDA 12.5)",
    ),
    "two kinds": ({**INSIDE, **GPU, "gpus": ["A", "B", "B"]}, 0, ["gpu"], "GPU: A, 2 x B, driver"),
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
        ["gpu", "host-toolkit"],
        "nvidia-ctk runtime configure",
    ),
    "host, cdi": (
        {**HOST, **GPU, "info": PLAIN, "cdi": True},
        1,
        ["gpu", "host-blind"],
        SETTING("all"),
    ),
    "host, wsl": ({**HOST, **GPU, "info": PLAIN, "kernel": WSL}, 1, ["gpu", "host-blind"], "WSL2"),
    "host, wsl and runtime": ({**HOST, **GPU, "info": NVIDIA, "kernel": WSL}, 0, ["gpu"], "GPU"),
    "host, wsl, no gpu": ({**HOST, "info": PLAIN, "kernel": WSL}, 2, ["none"], "CPU"),
    "windows": (
        {**HOST, **GPU, "info": PLAIN, "kernel": "Windows"},
        1,
        ["gpu", "host-blind"],
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
    "host, silent": ({**HOST, "info": ""}, 2, ["none", "host-engine"], "does not answer"),
}


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
    assert (facts.gpus, facts.driver, facts.smi) == ([H100, H100], "580.95.05", "ok")


def test_a_gpu_is_read_where_wsl_keeps_its_nvidia_smi(machine):
    script = f"#!/bin/sh\necho '{H100}, 580.95'\n"
    fill(machine / "root/usr/lib/wsl/lib/nvidia-smi", script, 0o755)
    assert gather(machine).gpus == [H100]


@pytest.mark.parametrize(
    "script, name",
    [
        ("while :; do read x </dev/zero; done", "slow"),
        (f'echo "{H100}, 580.95"; while :; do read x </dev/zero; done', "slow"),
        ("exec </dev/null; (while :; do :; done) & exit 0", "slow"),
        ("while :; do echo rubbish, rubbish; done", "odd"),
        ("printf '\\377\\376\\000, 1.2\\n'", "odd"),
        ("echo '[Unknown Error], [Unknown Error]'", "odd"),
        ("echo No devices were found; exit 6", "odd"),
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
    """The sentences of the doctor, as the guide has them."""

    def section(title: str, names: list[str], first: str) -> str:
        rows = []
        for name in names:
            rule = doctor.RULES[name]
            cells = [" ".join(filter(None, (rule["what"], rule.get("why")))), rule.get("fix", "")]
            if rule["says"]:
                cells.insert(0, f"`{rule['says']}`")
            else:
                cells = [re.sub(r"{(\w+)[^}]*}", r"*\1*", cell) for cell in cells]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        columns = first.count("|") + 1
        return "\n".join([f"## {title}", "", f"| {first} |", "|---" * columns + "|", *rows, ""])

    explained = [name for name, rule in doctor.RULES.items() if rule["says"]]
    others = [name for name, rule in doctor.RULES.items() if not rule["says"]]
    return "\n".join(
        [
            section("What the doctor finds by itself", others, "what it says | what to do"),
            section("Texts that it explains", explained, "text (a pattern) | meaning | what to do"),
        ]
    )


def guide() -> str:
    return GUIDE.read_text().split("## What the doctor finds by itself")[0] + tables()


def test_the_guide_is_in_step():
    assert GUIDE.read_text() == guide(), "run `python tests/test_doctor.py`"


if __name__ == "__main__":
    GUIDE.write_text(guide())
