# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Say whether the GPU can be used here, and what to do if not.

python3 .devcontainer/doctor.py      in the container or on its host: the verdict, the problems
... --brief                          a line each at the start of the container: quick, exit code 0
... --json                           the same and the facts, for programs
... --report                         the same for a bug report, without names, paths and tokens
... --explain [FILE]                 what the log of a failed build or start means, and the fix

Exit codes: 0 the GPU can be used; 1 there is one and it cannot; 2 no GPU, work goes on the CPU;
3 the doctor itself failed. With --explain: 1 something was recognised, 2 nothing.
Facts are gathered first; the rules are pure functions over them. It needs nothing but Python 3.9.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import ctypes
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

BRIEF, PATIENT = 5.0, 15.0  # seconds that a command gets with --brief, and without
IMPORTS = 120.0  # seconds that the framework gets to compute something
GUIDE = "https://github.com/org/gpu-ml-template/blob/main/docs/gpu-troubleshooting.md"
GIB = 1 << 30
CVE = (1, 17, 8)  # the first toolkit without the container escape CVE-2025-23266
DRIVERS = {11: 450, 12: 525, 13: 580}  # the oldest NVIDIA driver for a CUDA, by NVIDIA's table

# What the sentences say more than once.
SETTING = (
    'Set "dev.containers.gpuAvailability": "VALUE" in VS Code\'s user settings (the CLI of dev '
    "containers: --gpu-availability VALUE) and rebuild the container."
)
WORDS = {f"<{value}>": SETTING.replace("VALUE", value) for value in ("all", "none", "detect")}
WORDS["<toolkit>"] = (
    "install the NVIDIA Container Toolkit on the host, `sudo nvidia-ctk runtime configure "
    "--runtime=docker` and `sudo systemctl restart docker`"
)
WORDS["<driver>"] = "Update the NVIDIA driver on the host, reboot it, and rebuild the container."
WORDS["<gpu-image>"] = (
    "For the GPU, reopen the folder with .devcontainer/devcontainer.json and not with "
    '.devcontainer/cpu/devcontainer.json ("Dev Containers: Reopen in Container" asks which).'
)

# All that the doctor can say. A section with `says` explains the lines of a log that have one of
# these texts (the first such section takes the line); the others belong to VERDICTS and PROBLEMS.
TABLE = r"""
[no-toolkit]
says: could not select device driver .{0,12} with capabilities: \[\[gpu\]\]
what: Docker was asked for a GPU and has nothing that provides one.
why: The NVIDIA Container Toolkit is missing or not registered, or Docker is a snap.
fix: With an NVIDIA GPU: <toolkit> (a Docker from snap has to make way for docker-ce). Without one:
  take --gpus out of runArgs. <detect>
[no-cdi]
says: no known GPU vendor found|AMD CDI spec not found|unresolvable CDI devices
what: The engine was asked for a GPU and finds no description (CDI) of one.
why: The NVIDIA Container Toolkit is missing, or its descriptions are not up to date.
fix: With an NVIDIA GPU: `sudo systemctl restart nvidia-cdi-refresh`; if there is no such service,
  <toolkit>. Without one: take --gpus out of runArgs. <detect>
[no-runtime]
says: unknown (or invalid )?runtime (specified|name:) nvidia
what: The runtime nvidia is not registered with Docker.
why: The toolkit was not configured, or Docker was not restarted since.
fix: Do this: <toolkit>.
[podman-info]
says: Command failed: podman info -f|can't evaluate field Runtimes
what: The dev container CLI stops at podman when a configuration mentions a GPU.
why: It asks podman a question that only Docker can answer.
fix: <none> With a GPU that podman knows by CDI: all, in place of none.
[gpu-not-seen]
says: No GPU support found yet a GPU was required
what: The dev container CLI sees no GPU support in the engine.
why: It looks for the runtime nvidia only, and is blind on WSL2 and where CDI serves the GPU.
fix: With an NVIDIA GPU: <all>
[no-driver]
says: nvml error: driver not loaded|initialize NVML: driver not loaded
  couldn't communicate with the NVIDIA driver
what: The toolkit is there, the NVIDIA driver is not running.
why: No GPU in this machine, no driver, or a kernel update without the driver's module.
fix: With an NVIDIA GPU: install the driver on the host and reboot, until nvidia-smi works there.
  Without one: <none>
[no-nvml]
says: load library failed: libnvidia-ml\.so\.1
what: The engine cannot reach the host's NVIDIA driver.
why: Docker from snap and Docker Desktop on Linux run apart from the host; or no driver.
fix: See that nvidia-smi works on the host, and use docker-ce in place of those two.
[driver-mismatch]
says: driver/library version mismatch
what: The NVIDIA driver was updated while its old version is still loaded.
fix: Reboot the host, then rebuild the container.
[old-driver]
says: requirement error: unsatisfied condition
what: The base image demands a newer NVIDIA driver than the host has.
why: Images of nvidia/cuda carry such a demand; the default base image has none.
fix: Update the driver on the host, or build on the default base image.
[lost-device]
says: (initialize NVML|nvml error): unknown error
what: The container has lost its access to the GPU.
why: On hosts with systemd a daemon-reload takes it away from a running container.
fix: Rebuild the container. For good: Docker 29.2 or newer with CDI, or the option "exec-opts":
  ["native.cgroupdriver=cgroupfs"] in /etc/docker/daemon.json.
[device-mode]
says: (initialize NVML|nvml error): insufficient permissions
what: This user may not open the GPU's devices.
why: The host gives /dev/nvidia* to one group only, or SELinux forbids it.
fix: On the host: `ls -l /dev/nvidia*`; where others may not read and write, load the driver with
  NVreg_DeviceFileMode=0666. With SELinux: --security-opt=label=disable in runArgs.
[blocked]
says: GPU access blocked by the operating system
what: The operating system keeps this process from the GPU.
why: On WSL2, Windows updated its driver since this container started; else a sandbox hides it.
fix: Rebuild the container. If it says so on the host, too: `wsl --shutdown` in Windows, then open
  WSL again; without WSL2, reboot the host.
[no-devices]
says: No devices were found
what: The NVIDIA driver answers, and shows no GPU.
why: NVIDIA_VISIBLE_DEVICES names none that is there, a GPU was divided anew (MIG), or it failed.
fix: On the host: see what `nvidia-smi -L` shows, `sudo systemctl restart nvidia-cdi-refresh` if
  there is such a service, then rebuild the container.
[gpu-lost]
says: GPU is lost|has fallen off the bus
what: A GPU has stopped answering.
why: It was switched off by a fault: heat, power, the card or its slot.
fix: Reboot the host; if it comes back, `sudo dmesg | grep -i xid` on the host tells the fault.
[no-nvidia-smi]
says: nvidia-smi: (command )?not found
what: There is no nvidia-smi: this container was started without a GPU, or without its tools.
fix: `python3 .devcontainer/doctor.py`, in the container and on the host, tells which.
[rootless-gpu]
says: bpf_prog_query\(BPF_CGROUP_DEVICE\) failed
what: Rootless Docker may not give the container its GPU.
why: The toolkit wants to change device rules, which takes root.
fix: On the host: `sudo nvidia-ctk config --set nvidia-container-cli.no-cgroups --in-place` (a
  Docker with root on the same host then loses its GPU), or use Docker with root.
[cuda-not-loaded]
says: Cannot dlopen some GPU libraries
what: TensorFlow cannot load its CUDA libraries and would run on the CPU.
why: The image lacks them, or has them where the loader does not look.
fix: Rebuild the image without cache from the project's own .devcontainer/Dockerfile.
[no-ptxas]
says: libdevice not found at|Couldn't invoke ptxas|No PTX compilation provider is available
what: XLA lacks the compiler of CUDA (ptxas, libdevice).
why: The wheel nvidia-cuda-nvcc is missing from the environment.
fix: Install the project's lock anew: rebuild the container.
[no-kernels-here]
says: CUDA_ERROR_INVALID_PTX|CUDA_ERROR_NO_BINARY_FOR_GPU|no kernel image is available for execution
  not built with CUDA kernel binaries compatible with compute capability
what: The framework holds no kernels for this GPU.
why: Its wheels are built for a range of GPUs, and this one is newer or older: TensorFlow up to 2.21
  has none for Blackwell (RTX 50, B200), torch from 2.15 on none for Pascal and Volta.
fix: Take another framework: the code stays, and Keras runs it there: `nox -s update -- --data
  framework=jax` (or torch), then rebuild the container.
[driver-too-old]
says: CUDA driver version is insufficient for CUDA runtime|NVIDIA driver on your system is too old
what: The NVIDIA driver is older than the CUDA of the framework's wheels.
why: CUDA 12 needs driver 525 or newer, CUDA 13 driver 580.
fix: <driver>
[forward-compatibility]
says: forward compatibility was attempted on non supported HW|CUDA_ERROR_COMPAT_NOT_SUPPORTED
what: The base image puts its own copy of the driver (cuda-compat) before the host's.
why: That works on GPUs for data centres only.
fix: Update the driver on the host, or build on the default base image, which has no cuda-compat.
[stub-driver]
says: CUDA driver is a stub library|CUDA_ERROR_STUB_LIBRARY|CUresult\(-1\)|UNKNOWN ERROR \(34\)
what: A stub was loaded in place of the NVIDIA driver.
why: A CUDA toolkit's folder `stubs`, which is for linking, is where the loader looks.
fix: Take the folder out of LD_LIBRARY_PATH and /etc/ld.so.conf.d, run ldconfig.
[no-libcuda]
says: UNKNOWN ERROR \(303\)|Found no NVIDIA driver on your system
what: CUDA's part of the NVIDIA driver (libcuda.so.1) is not there.
why: There is no driver; in a container, it comes with the capability compute of the NVIDIA
  Container Toolkit.
fix: Set NVIDIA_DRIVER_CAPABILITIES=compute,utility in containerEnv; on a host, install the driver.
[cuda-unknown]
says: CUDA_ERROR_UNKNOWN|CUDA unknown error|UNKNOWN ERROR \(999\)
what: CUDA does not start, though the driver is there.
why: Most often the module nvidia-uvm is not loaded on the host, or the host slept and woke up.
fix: On the host: `sudo nvidia-modprobe -u -c0`, then rebuild the container; else reboot the host.
[out-of-memory]
says: RESOURCE_EXHAUSTED: Out of memory|CUDA_ERROR_OUT_OF_MEMORY|CUDA out of memory
  OutOfMemoryError|failed to allocate .* from device
what: The GPU's memory is full.
why: The batch is too large, or another process holds the memory: TensorFlow and JAX take nearly all
  of it at once, unless TF_FORCE_GPU_ALLOW_GROWTH=true or XLA_PYTHON_CLIENT_PREALLOCATE=false.
fix: The doctor tells how much is free; end what holds it (`nvidia-smi` on the host), or take a
  smaller --batch-size.
[bus-error]
says: Bus error|insufficient shared memory
what: The shared memory of the container is full.
why: Worker processes pass batches through /dev/shm, and Docker gives it 64 MB by default.
fix: Keep --shm-size=8g in runArgs of .devcontainer/devcontainer.json, and rebuild the container.
[open-files]
says: Too many open files
what: A process has as many files open as it may.
why: Docker 29 starts containers with a limit of 1,024.
fix: Raise the limit in the shell (`ulimit -n 65536`); for good, add --ulimit nofile=65536:65536 to
  runArgs in .devcontainer/devcontainer.json.
[base-image]
says: pull access denied|manifest( for .*)? (unknown|not found)
  failed to resolve source metadata for .*: not found|LLB definition: \S+: not found
what: The base image does not exist, or needs a login.
why: BASE_IMAGE is misspelt, or its registry wants `docker login`.
fix: Correct BASE_IMAGE in .devcontainer/Dockerfile.
[registry-certificate]
says: (failed to (do request|authorize|fetch \w+ token):|daemon: (Get|Head) ).*(x509|tls: )
what: The engine does not trust the registry's certificate.
why: A proxy that intercepts TLS: here the engine itself needs the company's CA.
fix: Install the CA on the host (or in Docker Desktop's machine) and restart the engine.
[registry]
says: failed to (do request|authorize|fetch \w+ token):|daemon: (Get|Head) |dial tcp: lookup
  Error fetching image details: getaddrinfo
what: The engine cannot fetch the base image from its registry.
why: No network, no name server, or a proxy that the engine does not know.
fix: Try `docker pull` with the image's name on the host; behind a proxy, give it to the engine.
[certificate]
says: CERTIFICATE_VERIFY_FAILED|invalid peer certificate|self[- ]signed certificate|SELF_SIGNED_CERT
  unable to get local issuer certificate|certificate is NOT trusted
what: A download was refused: its certificate is signed by a CA that the image does not know.
why: A proxy of your company that intercepts TLS.
fix: Put the company's CA as a *.crt file into .devcontainer/certs/ and rebuild.
[no-buildkit]
says: the --mount option requires BuildKit|buildx component is missing|Unknown flag: mount
what: This docker command builds without BuildKit.
why: The plugin buildx is missing, so the old builder was used.
fix: Install docker-buildx (docker-buildx-plugin), or set DOCKER_BUILDKIT=1 where that is enough.
[disk-full]
says: no space left on device
what: The disk is full.
why: A GPU image takes 7 GB, and its build as much again.
fix: `docker system df` shows what takes the space; `docker builder prune` frees build caches.
[socket]
says: permission denied while trying to connect to the Docker
what: You may not use Docker: its socket is closed to you.
why: You are not in the group docker, or have not logged in again since.
fix: `sudo usermod -aG docker "$USER"`, log out and in (members of it are as good as root).
[no-daemon]
says: Cannot connect to the Docker daemon|failed to connect to the docker API
  error during connect|spawn docker ENOENT
what: Docker is not running, or not installed.
fix: Start Docker Desktop, or `sudo systemctl start docker`.
[cache-of-another]
says: Failed to initialize cache at
what: The volume with the caches belongs to another user id.
why: A volume stays with the uid that it was first filled under.
fix: It only holds caches: remove the container, find the volume with `docker volume ls` (its name
  has -cache- in it), `docker volume rm` it, and reopen the folder in the container.
[ulimit]
says: error setting rlimit
what: A --ulimit in runArgs is higher than the engine may give.
why: The engine's own limits are lower.
fix: Take it out of runArgs: training and notebook raise their limit as far as they may.

[gpu]
what: GPU: {names}, driver {driver}{built}
[gpu-cpu-image]
what: CPU: there is a GPU ({names}), but this image was built for the CPU.
fix: <gpu-image>
[cpu-image]
what: CPU: this image was built for the CPU.
fix: <gpu-image>
[cpu-only]
what: CPU: this image was built for the CPU; there is no sign of an NVIDIA GPU on this machine.
[no-cuda]
what: CPU: there is a GPU ({names}), but {about} has no CUDA for this kind of processor ({machine}).
[gpu-unusable]
what: GPU: {names}, driver {driver}, and it cannot be used as things are.
[jetson]
what: CPU: the GPU of a Jetson is not supported; work goes on the CPU.
why: It needs NVIDIA's own wheels and images for Jetson.
[no-card]
what: CPU: an NVIDIA driver is installed, but there is no NVIDIA card in this machine.
fix: If the container does not start because of that: <none>
[slow]
what: GPU: cannot tell, {asked} has not answered in {limit:g} s.
fix: Run `nvidia-smi`: if it never answers, the driver hangs and the host needs a reboot.
[odd]
what: GPU: not usable, {asked} says: {said}
fix: Rebuild the container; if it says so on the host, too, reboot the host.
[no-smi]
what: GPU: cannot tell, there is a driver, but no nvidia-smi to ask.
why: In a container it comes with the capability utility of the NVIDIA Container Toolkit.
fix: Set NVIDIA_DRIVER_CAPABILITIES=compute,utility in containerEnv; on a host, install nvidia-smi.
[not-passed]
what: CPU: the host has an NVIDIA driver, but no GPU was passed to this container.
why: The dev container CLI sees a GPU only where Docker has the runtime nvidia.
fix: <all> If the start then fails, `python3 .devcontainer/doctor.py` on the host says why.
[wsl]
what: CPU: no GPU was passed to this container.
why: On WSL2 the dev container CLI sees none.
fix: With an NVIDIA GPU in this machine: <all>
[card]
what: CPU: there is an NVIDIA card in this machine, but no driver runs.
fix: Install the NVIDIA driver on the host.
[none]
what: CPU: no sign of an NVIDIA GPU on this machine.
[unseen]
what: CPU: no GPU in this container; whether its host has one cannot be told from in here.
fix: On the host: `python3 .devcontainer/doctor.py`.

[host-podman]
what: The dev container CLI stops at podman when a configuration mentions a GPU.
why: It asks podman a question that only Docker can answer.
fix: <none> With a GPU: "all" in place of "none", and podman 5 with CDI.
[host-blind]
what: The dev container CLI cannot see the GPU of this host.
why: It looks only for the runtime nvidia in Docker, and here {provider} gives the GPU.
fix: <all>
[host-toolkit]
what: Docker cannot give this GPU to a container.
why: It has neither the runtime nvidia nor a description (CDI) of the GPU.
fix: Do this: <toolkit>.
[host-rootless]
what: Docker runs rootless: in the container, the user dev cannot write to the workspace.
why: There the owner of your files is root.
fix: Set "remoteUser": "root" in a personal copy of the configuration (root in there is you on the
  host), or use Docker with root, or podman.
[host-engine]
what: The container engine does not answer: {said_engine}
[host-snap]
what: Docker is a snap, and cannot give a GPU to a container.
why: A snap runs apart from the host's driver.
fix: `sudo snap remove docker`, install docker-ce, then <toolkit>.
[host-desktop]
what: Docker Desktop cannot give this GPU to a container.
why: On Linux its containers live in a virtual machine without the GPU.
fix: Install docker-ce and choose it: `docker context use default`.
[host-old-toolkit]
what: The NVIDIA Container Toolkit {toolkit} lets a container break out to the host.
why: CVE-2025-23266 was repaired in version 1.17.8.
fix: On the host: update nvidia-container-toolkit, then `sudo systemctl restart docker`.
[host-stale-cdi]
what: The description of the GPU for containers (CDI) is for another driver than {driver}.
why: The driver was updated since it was written: containers start without the GPU, or not at all.
fix: `sudo systemctl restart nvidia-cdi-refresh`; without such a service: `sudo nvidia-ctk cdi
  generate --output=/etc/cdi/nvidia.yaml`.
[host-disk]
what: Little disk space for images: {host_disk:.0f} GB free where Docker keeps them.
why: An image for the GPU takes 7 GB, and its build as much again.
fix: `docker system df` shows what takes the space; `docker builder prune` frees build caches.
[devices-closed]
what: You may not open {closed} (uid {uid}).
why: The host gives the GPU's devices to one group only.
fix: On the host: load the driver with NVreg_DeviceFileMode=0666, or update the NVIDIA Container
  Toolkit to 1.19, which lets every user of the container open them.
[no-uvm]
what: /dev/nvidia-uvm is missing, without which CUDA does not start.
why: The module nvidia-uvm was not loaded on the host when the container started.
fix: On the host: `sudo nvidia-modprobe -u -c0`, then rebuild the container.
[no-mig]
what: {undivided} is in MIG mode, and no part of it is there to compute on.
why: No MIG instances were made, or the container was started before they were.
fix: On the host: `nvidia-smi -L` lists them, `sudo systemctl restart nvidia-cdi-refresh`; then
  rebuild the container. CUDA_VISIBLE_DEVICES=MIG-... chooses one.
[lost]
what: {lost}
why: A GPU that stops answering was switched off by a fault: heat, power, the card or its slot.
fix: Reboot the host; `sudo dmesg | grep -i xid` there tells the fault.
[old-for-cuda]
what: Driver {driver} is too old for CUDA {cuda} of {about}: it has to be {floor} or newer.
fix: <driver>
[no-kernels]
what: {about} holds no kernels for {foreign} (it has {kernels}).
fix: Where another GPU is there, choose it with CUDA_VISIBLE_DEVICES. Else take another framework:
  the code stays, and Keras runs it there: `nox -s update -- --data framework=jax` (or torch), then
  rebuild the container.
[cpu-environment]
what: {python} was set up for the CPU: {framework} in it has no CUDA.
fix: `nox -s setup -- gpu`
[framework-slow]
what: Cannot tell whether {framework} uses the GPU: it has not answered in {imports:g} s.
fix: Try again; if it stays so, run `{python} -c "import {framework}"` and see where it stops.
[framework-missing]
what: Cannot tell whether {framework} uses the GPU: there is no environment with it.
fix: `nox -s setup`, or rebuild the container.
[framework-failed]
what: {framework} fails to compute on the GPU: {last}
fix: `python3 .devcontainer/doctor.py --report` shows all that it printed. If that tells you
  nothing, rebuild the container without cache.
[framework-blind]
what: {framework} sees no GPU and computes on the CPU, though the driver shows {names}.
why: It does not find its CUDA libraries, or CUDA_VISIBLE_DEVICES ({visible}) hides the GPU.
fix: `unset CUDA_VISIBLE_DEVICES LD_LIBRARY_PATH` and try again; else rebuild the container.
[framework-cpu]
what: {framework} lists a GPU, and still computed on {device}.
fix: Take away what pins the work to the CPU: CUDA_VISIBLE_DEVICES, JAX_PLATFORMS, keras.device.
[gpu-in-use]
what: {in_use}
why: Two programs on one GPU slow each other down, and the second may find no memory.
fix: `nvidia-smi` on the host names them: end what you do not need (a screen recorder, a notebook's
  kernel, an old training), or choose another GPU with CUDA_VISIBLE_DEVICES.
[two-cudas]
what: The environment holds CUDA more than once: {cudas}.
why: Packages for different CUDA versions were installed side by side; which is loaded is luck.
fix: Keep one framework in pyproject.toml, `nox -s lock`, and rebuild the container.
[library-path]
what: LD_LIBRARY_PATH has CUDA libraries in {overrides}, which hide those of the locked wheels.
fix: `unset LD_LIBRARY_PATH`, also where it is set: containerEnv, ~/.bashrc, the base image.
[shm]
what: The container has {shm:.0f} MB of shared memory, too little for worker processes.
fix: Keep --shm-size=8g in runArgs of .devcontainer/devcontainer.json, and rebuild the container.
[few-files]
what: No process may have more than {files} files open here.
fix: Add --ulimit nofile=65536:65536 to runArgs in .devcontainer/devcontainer.json, and rebuild.
[disk]
what: Little disk space: {disk:.1f} GB free for the workspace.
fix: Delete runs that you do not need from runs/; `docker system df` on the host shows the rest.
[workspace-rootless]
what: You cannot write to the workspace: {workspace} belongs to root.
why: The engine maps user ids (rootless Docker does), so that your files look like root's.
fix: Set "remoteUser": "root" in a personal copy of the configuration (root in there is you on the
  host), or use Docker with root, or podman.
[workspace]
what: You cannot write to the workspace: {workspace} belongs to uid {owner}, and you are uid {uid}.
fix: On the host, in the project's folder: `sudo chown -R "$(id -u):$(id -g)" .`
[workspace-closed]
what: You cannot write to the workspace {workspace}, though it is yours.
fix: On the host, in the project's folder: `chmod -R u+rwX .`; or it is mounted read-only.
[cache]
what: You cannot use the cache: {cache} belongs to another user (you are uid {uid}).
why: A volume stays with the uid that it was first filled under.
fix: It only holds caches. On the host: `{engine} rm -f {container}`, then `{engine} volume rm
  {volume}`, and reopen the folder in the container.
[cache-no-volume]
what: You cannot use the cache: {cache} is closed to you (uid {uid}).
fix: It only holds caches. Rebuild the container.
"""


class Finding(NamedTuple):
    id: str
    what: str
    why: str = ""
    fix: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, self[1:]))

    def as_json(self) -> dict[str, str]:
        return {**self._asdict(), "link": f"{GUIDE}#{self.id}"}


def sections() -> Iterator[tuple[str, dict[str, str]]]:
    table = configparser.RawConfigParser(delimiters=":")
    table.read_string(TABLE)
    for name in table.sections():
        section = dict(table[name])
        alternatives = section.pop("says", "").replace("\n", "|")
        for word, sentence in WORDS.items():
            section = {k: v.replace("\n", " ").replace(word, sentence) for k, v in section.items()}
        yield name, {**section, "says": alternatives}


RULES = dict(sections())
STAMP = r"(?:\[\d{4}-[^\]]*\] *)?(?:#\d+ +)?(?:\d+(?:\.\d+)? +)?"  # of VS Code, of BuildKit


def finding(name: str, words: dict[str, Any] | None = None) -> Finding:
    sentences = [RULES[name].get(key, "") for key in ("what", "why", "fix")]
    return Finding(name, *(x.format_map(words) if words else x for x in sentences))


def explain(text: str) -> list[Finding]:
    """What is known about a log: first the sentences of our own build, then each text once."""
    own, known = {}, {}
    for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).splitlines():
        sentence = re.match(STAMP + "dev container: (.+)", line.strip())
        if sentence:
            own[sentence[1]] = Finding("own", sentence[1])
            continue
        for name, rule in RULES.items():
            if rule["says"] and re.search(rule["says"], line, re.IGNORECASE):
                known[name] = finding(name)
                break
    return [*own.values(), *known.values()]


class Gpu(NamedTuple):
    """A GPU as NVML describes it; nvidia-smi, asked where there is no NVML, gives the name only."""

    name: str
    capability: str = ""  # compute capability, such as 9.0
    total: int = 0  # bytes of memory
    free: int = 0
    busy: int = 0  # percent of the time
    encoding: int = 0  # percent of its video encoder
    parts: int = -1  # MIG instances; -1 if it is not in MIG mode
    holders: list[str] = []  # processes that hold its memory
    error: str = ""


@dataclass
class Facts:
    """What was seen; the defaults are a Linux host without GPU and engine."""

    limit: float = PATIENT
    imports: float = IMPORTS
    container: str = ""  # its id, empty on a host
    kernel: str = ""  # its release; the system's name where that is not Linux
    machine: str = ""
    smi: str = "missing"  # the driver's answer: ok, missing, slow or odd
    asked: str = "nvidia-smi"  # who was asked: that, or NVML
    answer: str = ""  # what it said, unless ok
    gpus: list[Gpu] = field(default_factory=list)
    driver: str = ""
    host_driver: bool = False  # in a container, /proc/driver is still the host's
    devices: bool = False
    closed: str = ""  # devices that this user may not open
    no_uvm: bool = False
    card: bool = False  # an NVIDIA card on the PCI bus
    pci: bool = False  # the bus can be seen
    jetson: bool = False
    image: dict[str, Any] = field(default_factory=dict)  # gpu_facts.json
    engine: str = ""  # docker or podman
    info: str = ""  # what `docker info` printed
    cdi: bool = False
    cdi_drivers: list[str] = field(default_factory=list)  # that CDI's descriptions are for
    toolkit: str = ""  # version of the NVIDIA Container Toolkit
    snap: bool = False
    host_disk: float = 1e9  # GB free where Docker keeps images
    uid: int = 0
    workspace: str = ""
    owner: int = 0  # of the workspace
    writable: bool = True
    rootless: bool = False
    cache: str = ""  # what in ~/.cache is not this user's, if anything
    volume: str = ""
    shm: float = 1e9  # MB of /dev/shm
    files: int = 1 << 20  # that a process may open
    disk: float = 1e9  # GB free for the workspace
    overrides: str = ""  # a folder of LD_LIBRARY_PATH with CUDA libraries
    visible: str = "not set"  # CUDA_VISIBLE_DEVICES
    framework: str = ""  # tensorflow, jax or torch
    python: str = ""  # of the environment
    probe: str = ""  # the framework's answer: empty if not asked, ok, slow, missing or failed
    said: str = ""  # what it printed
    found: dict[str, Any] = field(default_factory=dict)  # what it found, see PROBE
    template: str = ""  # version that the project has

    @property
    def windows(self) -> bool:
        return self.kernel == "Windows" or "microsoft" in self.kernel.lower()

    @property
    def for_cpu(self) -> bool:
        return self.image.get("accelerator") == "cpu"

    @property
    def mine(self) -> tuple[int, ...]:
        """The uids that this user's files seem to have."""
        return (self.uid, 0) if self.rootless else (self.uid,)

    @property
    def server(self) -> str:
        """The version of the Docker that answers; without one, `docker info` gives an empty one."""
        found = re.search(r'"ServerVersion":"([^"]+)"', self.info)
        return found[1] if found else ""

    @property
    def no_gpu_in_docker(self) -> bool:
        """Docker answers, and lacks the one thing that the dev container CLI looks for."""
        answers = self.server and not self.container
        return bool(answers) and "nvidia-container-runtime" not in self.info

    @property
    def desktop(self) -> bool:
        return '"OperatingSystem":"Docker Desktop"' in self.info

    @property
    def cuda(self) -> str:
        return str(self.found.get("cuda") or self.image.get("cuda") or "")

    @property
    def floor(self) -> int:
        """The oldest driver for the wheels' CUDA; 0 if that is not known."""
        return DRIVERS.get(version(self.cuda)[0], 0)

    @property
    def kernels(self) -> list[str]:
        return self.found.get("kernels") or self.image.get("compute_capabilities") or []

    @property
    def foreign(self) -> list[Gpu]:
        """The GPUs that the wheels hold no kernels for."""
        built = {int(digits) for kernel in self.kernels for digits in re.findall(r"\d+", kernel)}
        return [gpu for gpu in self.gpus if not runs(gpu.capability, built)]

    @property
    def usable(self) -> bool:
        """Whether there is a GPU that has nothing against it."""
        return any(not gpu.error and gpu.parts and gpu not in self.foreign for gpu in self.gpus)

    @property
    def majors(self) -> list[str]:
        """The CUDA versions that the environment has wheels for."""
        names = re.findall(r"-cu(\d+)\b", " ".join(self.found.get("wheels", {})))
        return sorted(set(names))

    @property
    def in_use(self) -> str:
        """The GPUs that somebody else works on, one sentence each."""
        return " ".join(filter(None, map(in_use, range(len(self.gpus)), self.gpus)))

    def words(self) -> dict[str, Any]:
        """What the sentences may mention."""
        counts = Counter(gpu.name for gpu in self.gpus)
        names = [f"{n} x {name}" if n > 1 else name for name, n in counts.items()]
        number = self.found.get("version") or self.image.get("version") or ""
        about = f"{self.framework or self.image.get('framework')} {number}".strip()
        short = ".".join(self.cuda.split(".")[:2])
        built = f" (image for the GPU: {about}, CUDA {short})" if self.image.get("cuda") else ""
        said, engine = (" ".join(x.split())[:120] for x in (self.answer, self.info))
        lines = [line for line in self.said.splitlines() if line.strip()]
        return {
            **vars(self),
            "names": ", ".join(names),
            "about": about,
            "built": built,
            "cuda": short,
            "floor": self.floor,
            "kernels": ", ".join(self.kernels),
            "foreign": ", ".join(f"{gpu.name} ({gpu.capability})" for gpu in self.foreign),
            "undivided": ", ".join(gpu.name for gpu in self.gpus if gpu.parts == 0),
            "lost": ", ".join(f"{gpu.name}: {gpu.error}" for gpu in self.gpus if gpu.error),
            "in_use": self.in_use,
            "cudas": " and ".join(f"CUDA {major}" for major in self.majors),
            "device": self.found.get("device"),
            "provider": "WSL2" if self.windows else "CDI",
            "said": said,
            "said_engine": engine,
            "last": lines[-1][:200] if lines else "it ended without a word",
        }


def version(text: str) -> tuple[int, ...]:
    """The numbers of a version, such as (580, 95, 5); (0,) if there are none."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(map(int, found[0].split("."))) if found else (0,)


def runs(capability: str, built: set[int]) -> bool:
    """Whether kernels for `built`, such as {80, 90}, run on this GPU: never from another major.

    PTX of an older major could be compiled for it, but TensorFlow fails so on Blackwell.
    """
    if not (capability and built):
        return True  # not known
    major, minor = map(int, capability.split("."))
    return any(kernel // 10 == major and kernel % 10 <= minor for kernel in built)


def in_use(number: int, gpu: Gpu) -> str:
    """What keeps a GPU from being free; empty if it is."""
    if gpu.parts > 0:
        return ""  # the figures are those of all its MIG instances together
    full = gpu.total > 0 and gpu.free < 0.5 * gpu.total
    if not (full or gpu.busy >= 50 or gpu.encoding):
        return ""
    said = [f"{gpu.free / GIB:.1f} of {gpu.total / GIB:.1f} GB free", f"{gpu.busy} % busy"]
    said += [f"its video encoder {gpu.encoding} %"] if gpu.encoding else []
    held = f" (held by {', '.join(gpu.holders[:5])})" if gpu.holders else ""
    return f"GPU {number} is in use: {', '.join(said)}{held}."


# The first that holds is the verdict. The number is the exit code.
VERDICTS = {
    "jetson": (2, lambda f: f.jetson),
    "gpu-cpu-image": (1, lambda f: f.gpus and f.for_cpu),
    "cpu-image": (2, lambda f: f.for_cpu and (f.host_driver or f.card or f.windows)),
    "cpu-only": (2, lambda f: f.for_cpu),
    "no-cuda": (1, lambda f: f.gpus and f.image and not f.image.get("cuda")),
    "gpu": (0, lambda f: f.gpus),
    "no-card": (2, lambda f: f.smi == "odd" and f.pci and not (f.card or f.windows or f.container)),
    "slow": (1, lambda f: f.smi == "slow"),
    "odd": (1, lambda f: f.smi == "odd"),
    "no-smi": (1, lambda f: f.devices or (f.host_driver and not f.container)),
    "not-passed": (1, lambda f: f.host_driver),
    "wsl": (2, lambda f: f.container and f.windows),
    "card": (1, lambda f: f.card),
    "unseen": (2, lambda f: f.container and (not f.pci or "linuxkit" in f.kernel)),
    "none": (2, lambda f: True),
}
# Each that holds is told.
PROBLEMS = {
    "host-blind": lambda f: f.no_gpu_in_docker and (f.cdi or (f.gpus and f.windows)),
    "host-toolkit": lambda f: (
        f.no_gpu_in_docker and f.gpus and not (f.cdi or f.windows or f.snap or f.desktop)
    ),
    "host-podman": lambda f: f.engine == "podman" and not f.container,
    "host-snap": lambda f: f.snap and f.gpus,
    "host-desktop": lambda f: f.desktop and f.gpus and not f.windows,
    "host-old-toolkit": lambda f: f.toolkit and version(f.toolkit) < CVE,
    "host-stale-cdi": lambda f: f.cdi_drivers and f.driver and f.driver not in f.cdi_drivers,
    "host-disk": lambda f: f.host_disk < 15,
    "host-rootless": lambda f: "name=rootless" in f.info,
    "devices-closed": lambda f: f.closed,
    "no-uvm": lambda f: f.no_uvm and f.container,  # a host makes it when it is needed
    "lost": lambda f: any(gpu.error for gpu in f.gpus),
    "no-mig": lambda f: any(gpu.parts == 0 for gpu in f.gpus),
    "old-for-cuda": lambda f: f.driver and version(f.driver)[0] < f.floor,
    "no-kernels": lambda f: f.foreign,
    "cpu-environment": lambda f: f.probe == "ok" and not f.cuda and not f.found["on_gpu"],
    "framework-slow": lambda f: f.probe == "slow",
    "framework-missing": lambda f: f.probe == "missing",
    "framework-failed": lambda f: f.probe == "failed",
    "framework-blind": lambda f: f.probe == "ok" and f.cuda and not f.found["gpus"],
    "framework-cpu": lambda f: f.probe == "ok" and f.found["gpus"] and not f.found["on_gpu"],
    "gpu-in-use": lambda f: f.in_use,
    "two-cudas": lambda f: len(f.majors) > 1,
    "library-path": lambda f: f.overrides,
    "shm": lambda f: f.container and f.shm < 1000,
    "few-files": lambda f: f.files < 4096,
    "disk": lambda f: f.disk < 5,
    "workspace-rootless": lambda f: not f.writable and f.rootless and f.owner == 0,
    "workspace": lambda f: not f.writable and f.owner not in f.mine,
    "workspace-closed": lambda f: not f.writable and f.owner == f.uid,
    "cache": lambda f: f.cache and f.volume,
    "cache-no-volume": lambda f: f.cache and not f.volume,
}
# Those that keep a GPU which is there from being used.
FATAL = {"host-blind", "host-toolkit", "host-snap", "host-desktop", "host-stale-cdi"}
FATAL |= {"devices-closed", "no-uvm", "old-for-cuda"}
FATAL |= {"framework-failed", "framework-blind", "framework-cpu"}
FATAL |= {"framework-slow", "framework-missing"}
# What a framework prints when the problem behind the colon is already told.
TOLD = {"driver-too-old": "old-for-cuda", "no-kernels-here": "no-kernels"}


def diagnose(facts: Facts) -> tuple[int, list[Finding]]:
    """The exit code, and the verdict followed by the problems."""
    words = facts.words()
    name = next(name for name, (_, when) in VERDICTS.items() if when(facts))
    code = VERDICTS[name][0]
    problems = [x for x, when in PROBLEMS.items() if when(facts)]
    if code == 0 and (FATAL.intersection(problems) or not facts.usable):
        name, code = "gpu-unusable", 1
    verdict, findings = finding(name, words), []
    known = explain(facts.answer) if name == "odd" else []
    if known:
        verdict = known[0]._replace(what="GPU: not usable. " + known[0].what)
    for problem in problems:
        said = explain(facts.said) if problem in ("framework-failed", "framework-blind") else []
        new = [text for text in said if TOLD.get(text.id) not in problems]
        findings += new if said else [finding(problem, words)]
    if facts.engine == "docker" and not facts.container and not facts.server:
        findings += explain(facts.info) or [finding("host-engine", words)]
    return code, [verdict, *findings]


def read(path: Path) -> str:
    try:
        return path.read_bytes()[:1_000_000].decode("utf-8", "replace")
    except OSError:
        return ""


def run(
    command: list[str], limit: float, env: dict[str, str] | None = None, most: int = 1_000_000
) -> str | None:
    """What a command prints, up to `most` bytes, or None if it has not ended in time.

    It is killed then and not waited for: a driver that hangs leaves nvidia-smi unkillable.
    """
    answer: list[bytes] = []
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        process = subprocess.Popen(command, start_new_session=True, env=env, **pipes)
    except OSError as error:
        return str(error)
    stdout: Any = process.stdout
    reader = threading.Thread(target=lambda: answer.append(stdout.read(most)), daemon=True)
    reader.start()
    reader.join(limit)
    try:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it started
    except (AttributeError, OSError):
        process.kill()
    return answer[0].decode("utf-8", "replace") if answer else None


def nvml() -> dict[str, Any]:
    """Ask the driver's own library, by the functions of its reference manual.

    It runs in a process of its own (--nvml): a driver in trouble may hang or crash.
    """
    for name in ("libnvidia-ml.so.1", "/usr/lib/wsl/lib/libnvidia-ml.so.1"):
        with contextlib.suppress(OSError):
            library = ctypes.CDLL(name)
            break
    else:
        return {}
    library.nvmlErrorString.restype = ctypes.c_char_p

    def call(name: str, *args: Any) -> str:
        """The error of a call, if any."""
        try:
            code = getattr(library, f"nvml{name}")(*args)
        except AttributeError:
            return "an older driver does not have it"
        return library.nvmlErrorString(code).decode() if code else ""

    def text(name: str, *args: Any) -> str:
        buffer = ctypes.create_string_buffer(96)
        return "" if call(name, *args, buffer, 96) else buffer.value.decode("utf-8", "replace")

    def numbers(name: str, gpu: Any, kind: Any, count: int, together: bool = False) -> list[int]:
        """What a call writes into an array, or into `count` places; nothing if it fails."""
        values = (kind * count)()
        step = ctypes.sizeof(kind)
        places = [values] if together else [ctypes.byref(values, i * step) for i in range(count)]
        return [] if call(name, gpu, *places) else list(values)

    def holders(gpu: Any) -> list[str]:
        found = {}
        for kind in ("Compute", "Graphics"):
            count, processes = ctypes.c_uint(64), (Process * 64)()
            name = f"DeviceGet{kind}RunningProcesses"
            if not call(name, gpu, ctypes.byref(count), processes):
                found.update({x.pid: x.memory for x in processes[: count.value]})
        return [named(pid, memory) for pid, memory in sorted(found.items())]

    def describe(index: int) -> Gpu:
        gpu = ctypes.c_void_p()
        error = call("DeviceGetHandleByIndex_v2", index, ctypes.byref(gpu))
        if error:
            return Gpu(f"GPU {index}", error=error)
        memory = numbers("DeviceGetMemoryInfo", gpu, ctypes.c_ulonglong, 3, together=True)
        capability = numbers("DeviceGetCudaComputeCapability", gpu, ctypes.c_int, 2)
        busy = numbers("DeviceGetUtilizationRates", gpu, ctypes.c_uint, 2, together=True)
        encoding = numbers("DeviceGetEncoderUtilization", gpu, ctypes.c_uint, 2)
        parts = -1
        if (numbers("DeviceGetMigMode", gpu, ctypes.c_uint, 2) or [0])[0]:
            [most] = numbers("DeviceGetMaxMigDeviceCount", gpu, ctypes.c_uint, 1) or [0]
            part = ctypes.byref(ctypes.c_void_p())
            ask = "DeviceGetMigDeviceHandleByIndex"
            parts = sum(not call(ask, gpu, i, part) for i in range(most))
        name = ctypes.create_string_buffer(96)
        error = call("DeviceGetName", gpu, name, 96)  # one that was lost may have a handle still
        if error:
            return Gpu(f"GPU {index}", error=error)
        return Gpu(
            name.value.decode("utf-8", "replace"),
            ".".join(map(str, capability)),
            *(memory or [0, 0])[:2],
            (busy or [0])[0],
            (encoding or [0])[0],
            parts,
            holders(gpu),
        )

    error = call("Init_v2")
    if error:
        return {"smi": "odd", "answer": f"Failed to initialize NVML: {error}"}
    count = ctypes.c_uint()
    error = call("DeviceGetCount_v2", ctypes.byref(count))
    if error or not count.value:
        answer = f"NVML error: {error}" if error else "No devices were found"
        return {"smi": "odd", "answer": answer}
    gpus = [describe(index) for index in range(count.value)]
    if any(gpu.busy >= 50 for gpu in gpus):
        time.sleep(1)  # one that has just been woken checks its memory (ECC) and seems busy
        gpus = [describe(index) for index in range(count.value)]
    if all(gpu.error for gpu in gpus):
        return {"smi": "odd", "answer": f"NVML error: {gpus[0].error}"}
    # Those that are given to others are counted, too (batch systems give them so).
    gpus = [gpu for gpu in gpus if gpu.error != "Insufficient Permissions"]
    return {"smi": "ok", "gpus": gpus, "driver": text("SystemGetDriverVersion")}


class Process(ctypes.Structure):
    """nvmlProcessInfo_v1_t; the memory is all ones where it is not known."""

    _fields_ = [("pid", ctypes.c_uint), ("memory", ctypes.c_ulonglong)]


def named(pid: int, memory: int) -> str:
    """A process for people; in a container its id is the host's, and its name cannot be seen."""
    size = f", {memory / GIB:.1f} GB" if memory < 1 << 60 else ""
    inside = os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv")
    name = "" if inside else read(Path("/proc", str(pid), "comm")).strip()
    return f"{name} (pid {pid}{size})" if name else f"pid {pid} of the host{size}"


def ask_nvml(limit: float) -> dict[str, Any]:
    if os.name != "posix":
        return {}
    answer = run([sys.executable, "-I", "-S", os.path.abspath(__file__), "--nvml"], limit)
    if answer is None:
        return {"smi": "slow", "asked": "NVML"}
    found = last_json("nvml:", answer)
    gpus = [Gpu(*values) for values in found.pop("gpus", [])]
    return {**found, "gpus": gpus, "asked": "NVML"} if found else {}


def last_json(mark: str, text: str) -> dict[str, Any]:
    """What stands behind the last line that starts with `mark`."""
    for line in reversed(text.splitlines()):
        if line.startswith(mark):
            with contextlib.suppress(ValueError):
                found = json.loads(line[len(mark) :])
                return found if isinstance(found, dict) else {}
    return {}


def ask_gpu(root: Path, limit: float) -> dict[str, Any]:
    found = ask_nvml(limit)
    if found:
        return found
    smi = shutil.which("nvidia-smi") or shutil.which(str(root / "usr/lib/wsl/lib/nvidia-smi"))
    if not smi:
        return {}
    answer = run([smi, "--query-gpu=name,driver_version", "--format=csv,noheader"], limit)
    if answer is None:
        return {"smi": "slow"}
    rows = re.findall(r"^([A-Za-z][\w .()/+-]*), (\d+\.[\d.]+)\s*$", answer, re.MULTILINE)
    if not rows:
        return {"smi": "odd", "answer": answer}
    return {"smi": "ok", "gpus": [Gpu(name) for name, _ in rows], "driver": rows[0][1]}


def ask_engine(root: Path, limit: float) -> dict[str, Any]:
    engine = next((name for name in ("docker", "podman") if shutil.which(name)), "")
    info = (run([engine, "info", "--format", "{{json .}}"], limit) or "") if engine else ""
    if "buildahVersion" in info:  # podman under the name of docker
        engine = "podman"
    folders = [root / name for name in ("etc/cdi", "var/run/cdi")]
    specs = [text for text in map(read, (p for f in folders for p in f.glob("*"))) if CDI in text]
    drivers = {x for text in specs for x in re.findall(r"\.so\.(\d{3}\.[\d.]*\d)", text)}
    place = re.search(r'"DockerRootDir":"([^"]+)"', info)
    found = {"engine": engine, "info": info, "cdi": bool(specs) or CDI in info}
    found["cdi_drivers"] = sorted(drivers)
    found["snap"] = "/snap/" in (place[1] if place else "")
    found["host_disk"] = space(place[1]) if place else 1e9
    for command in ("nvidia-ctk", "nvidia-container-cli"):
        if shutil.which(command):
            said = re.search(r"version:? (\d+\.\d+\.\d+)", run([command, "--version"], limit) or "")
            return {**found, "toolkit": said[1] if said else ""}
    return found


def space(place: str | Path) -> float:
    """GB free; plenty where it cannot be seen."""
    try:
        return shutil.disk_usage(place).free / GIB
    except OSError:
        return 1e9


def ask_cache(folder: Path, mounts: str, uid: int) -> dict[str, str]:
    """The first thing in the cache that is not this user's, and the volume that the cache is."""
    bad = []
    with contextlib.suppress(OSError):
        for part in (folder, *sorted(folder.iterdir())):
            usable = os.access(part, os.W_OK) and uid in (0, part.lstat().st_uid)
            bad += [str(part)] if os.path.isdir(part) and not usable else []
    if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        bad = [str(folder)]
    volume = re.search(rf"/volumes/([\w.-]+)/_data {re.escape(str(folder))} ", mounts)
    return {"cache": bad[0] if bad else "", "volume": volume[1] if volume else ""}


# What the environment's Python is asked: whether the framework computes on the GPU. It prints JSON.
PROBE = r"""
import importlib.metadata, json, os, sys
name = sys.argv[1]
wheels = {}
for wheel in importlib.metadata.distributions():
    title = (wheel.metadata["Name"] or "").lower().replace("_", "-")
    if title.startswith("nvidia-"):
        wheels[title] = wheel.version
runtimes = [v for k, v in wheels.items() if k.startswith("nvidia-cuda-runtime")]
found = {"wheels": wheels, "cuda": runtimes[0] if runtimes else None, "gpus": 0, "kernels": None}
if name == "tensorflow":
    import tensorflow
    found["gpus"] = len(tensorflow.config.list_physical_devices("GPU"))
    built = tensorflow.sysconfig.get_build_info()
    found["kernels"] = built.get("cuda_compute_capabilities") if found["cuda"] else None
    x = tensorflow.ones((64, 64))
    x = tensorflow.function(tensorflow.linalg.matmul, jit_compile=found["gpus"] > 0)(x, x)
    device = x.device
elif name == "jax":
    import jax
    found["gpus"] = sum(device.platform != "cpu" for device in jax.devices())
    x = jax.jit(jax.numpy.matmul)(*[jax.numpy.ones((64, 64))] * 2)
    [device] = x.devices()
    device = f"{device.platform}:{device.id}"
else:
    import torch
    found["gpus"] = torch.cuda.device_count()
    found["cuda"] = found["cuda"] or torch.version.cuda
    found["kernels"] = torch._C._cuda_getArchFlags().split() if found["cuda"] else None
    x = torch.ones((64, 64), device="cuda" if found["gpus"] else "cpu")
    x = x @ x
    device = x.device
if float(x[0][0]) != 64:
    raise ArithmeticError(f"64 ones added up to {float(x[0][0])} on {device}")
found["version"] = sys.modules[name].__version__
found["device"] = str(device).rpartition("/")[2]
found["on_gpu"] = not found["device"].lower().removeprefix("device:").startswith("cpu")
print("\ndoctor:" + json.dumps(found))
"""
CDI = "nvidia.com/gpu"


def ask_framework(facts: Facts) -> None:
    """Let the framework compute something in a process of its own."""
    facts.probe = "missing"
    if not facts.python:
        return
    # The GPU's memory is for others, too; what TensorFlow says of it is for `explain`.
    env = {"TF_FORCE_GPU_ALLOW_GROWTH": "true", "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    env |= {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}
    command = [facts.python, "-c", PROBE, facts.framework]
    said = run(command, facts.imports, env, most=100_000_000)
    facts.found = last_json("doctor:", said or "")
    facts.said = said or ""
    if len(facts.said) > 200_000:  # what tells is at the start or the end
        facts.said = facts.said[:100_000] + "\n" + facts.said[-100_000:]
    missing = f"No module named '{facts.framework}'" in facts.said
    failed = "missing" if missing else "failed"
    facts.probe = "slow" if said is None else "ok" if facts.found else failed


def environment(root: Path, workspace: Path, framework: str) -> str:
    """The Python that has the framework: the container's, the project's, or this one."""
    names = (root / "opt/venv", workspace / ".venv")
    paths = [folder / name for folder in names for name in ("bin/python", "Scripts/python.exe")]
    for path in paths:
        if os.path.exists(path):
            return str(path)
    return sys.executable if framework and importlib.util.find_spec(framework) else ""


def ask_limits(root: Path, workspace: Path) -> dict[str, Any]:
    """What this process may use, and what its variables change."""
    found: dict[str, Any] = {"disk": space(workspace)}
    with contextlib.suppress(OSError):
        found["shm"] = shutil.disk_usage(root / "dev/shm").total / (1 << 20)
    with contextlib.suppress(ImportError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        found["files"] = 1 << 20 if hard == resource.RLIM_INFINITY else hard
    for folder in filter(None, os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)):
        names = [path.name for path in Path(folder).glob("lib*.so*")]
        if any(re.match("lib(cublas|cudart|cudnn|cufft|cusolver|cusparse|nccl)", x) for x in names):
            found.setdefault("overrides", folder)
    found["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES", "not set") or "empty"
    return found


def ask_devices(root: Path) -> dict[str, Any]:
    names = [path for path in (root / "dev").glob("nvidia*") if is_device(path)]
    closed = [str(path) for path in names if not os.access(path, os.R_OK | os.W_OK)]
    ours = [path for path in closed if re.search(r"nvidia(\d+|ctl|-uvm)$", path)]
    found = {path.name for path in names}
    return {
        "closed": ", ".join(sorted(ours)),
        "no_uvm": "nvidiactl" in found and "nvidia-uvm" not in found,
        "devices": any(os.path.exists(root / "dev" / name) for name in ("nvidiactl", "dxg")),
    }


def is_device(path: Path) -> bool:
    try:
        return stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        return False


def gather(
    root: Path = Path("/"),
    workspace: Path | None = None,
    limit: float = PATIENT,
    imports: float = 0,
) -> Facts:
    """Look at the machine whose files are at `root`; with `imports` seconds, at the framework."""
    workspace = workspace or Path(__file__).resolve().parents[1]
    release = read(root / "proc/sys/kernel/osrelease").strip()
    facts = Facts(limit, kernel=release or platform.system(), machine=platform.machine())
    facts.uid = os.getuid() if hasattr(os, "getuid") else 0
    facts.workspace, facts.owner = str(workspace), workspace.stat().st_uid
    facts.writable = os.access(workspace, os.W_OK)
    found: dict[str, Any] = {}
    podman = os.path.exists(root / "run/.containerenv")
    marked = podman or os.path.exists(root / ".dockerenv")
    ours = os.path.exists(root / "opt/venv/gpu_facts.json")
    if ours or (marked and not shutil.which("docker")):  # a container with Docker acts as a host
        mounts = read(root / "proc/self/mountinfo")
        number = re.search(r"containers/([0-9a-f]{12})[0-9a-f]{52}/", mounts)
        facts.container = (
            number[1] if number else read(root / "etc/hostname").strip() or "CONTAINER"
        )
        facts.engine = "podman" if podman else "docker"
        spans = read(root / "proc/self/uid_map").split()
        facts.rootless = len(spans) > 2 and spans[2] != "4294967295"
        found = ask_cache(Path(os.environ.get("HOME") or "/", ".cache"), mounts, facts.uid)
        with contextlib.suppress(ValueError):
            image = json.loads(read(root / "opt/venv/gpu_facts.json"))
            facts.image = image if isinstance(image, dict) else {}
    else:
        found = ask_engine(root, limit)
    vars(facts).update(found, **ask_devices(root), **ask_limits(root, workspace))
    vars(facts).update(ask_gpu(root, limit))
    facts.host_driver = os.path.exists(root / "proc/driver/nvidia/version")
    cards = (root / "sys/bus/pci/devices").glob("*")
    kinds = [(read(card / "vendor").strip(), read(card / "class")[:4]) for card in cards]
    facts.card, facts.pci = ("0x10de", "0x03") in kinds, bool(kinds)
    facts.jetson = os.path.exists(root / "etc/nv_tegra_release") or "tegra" in facts.kernel
    answers = read(workspace / ".copier-answers.yml")
    named = re.search(r"^framework: [\"']?(\w+)", answers, re.MULTILINE)
    at = re.search(r"^_commit: [\"']?([\w.+-]+)", answers, re.MULTILINE)
    facts.template = at[1] if at else ""
    wish = os.environ.get("KERAS_BACKEND")  # which the package obeys, too
    facts.framework = wish or facts.image.get("framework") or (named[1] if named else "")
    facts.python = environment(root, workspace, facts.framework)
    if imports and facts.gpus and facts.framework and not facts.for_cpu:
        facts.imports = imports
        if facts.python or facts.container:  # a host need not have an environment of its own
            ask_framework(facts)
    return facts


def public(facts: Facts) -> dict[str, Any]:
    """The facts without what is long or only for sentences."""
    values = {**vars(facts), "gpus": [gpu._asdict() for gpu in facts.gpus]}
    for name in ("info", "said"):
        del values[name]
    for name in ("host_disk", "disk", "shm"):
        values[name] = None if values[name] == 1e9 else round(values[name], 1)
    return {**values, "engine_version": facts.server}


PRIVATE = (  # in facts and in what programs print
    (r"(?<![\w/])/(?:home|Users|root|mnt|media|data|srv)/[^\s\"'`,;:)]+", "PATH"),
    (r"[A-Za-z]:\\{1,2}Users\\[^\s\"']+", "PATH"),
    (r"\w+://[^\s\"'`]*@", "URL@"),
    (r"[\w.+-]+@[\w-]+\.[\w.]+", "EMAIL"),
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{18,}", "UUID"),
    (r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b", "ADDRESS"),
)
FREE = (  # in what programs print; versions look the same
    (r"\b(?:\d{1,3}\.){3}\d{1,3}\b", "ADDRESS"),
    (r"(?i)\b(serial\w*|token|password|secret|key)\b(\W{1,4})\S+", r"\1\2REMOVED"),
    (r"\b(?=\w*\d)(?=\w*[A-Za-z])[\w-]{20,}\b", "REMOVED"),
)


def redact(text: str, facts: Facts, patterns: tuple = PRIVATE) -> str:
    """Take out what tells who and where: folders, names, addresses, ids, tokens."""
    home = os.path.expanduser("~")
    user = os.environ.get("USER") or os.environ.get("USERNAME") or os.path.basename(home)
    words = {facts.workspace: "WORKSPACE", home: "HOME", socket.gethostname(): "HOST", user: "USER"}
    for word, name in words.items():
        if len(word) > 2 and word not in ("root", "dev"):
            text = re.sub(rf"(?<!\w){re.escape(word)}(?!\w)", name, text)
    for pattern, name in patterns:
        text = re.sub(pattern, name, text)
    return text


def as_report(facts: Facts, code: int, findings: list[Finding]) -> str:
    """A bug report in Markdown, without what tells who and where."""
    hidden = ("workspace", "cache", "volume", "container", "python", "overrides", "answer")
    known = {name: value for name, value in public(facts).items() if name not in hidden}
    told = [f"* `{found.id}`: {found.what}" for found in findings]
    printed = "\n".join(facts.said.splitlines()[-30:]) or facts.answer
    blocks = [
        f"## Report of the doctor: exit code {code}",
        redact("\n".join(told), facts, PRIVATE + FREE),
        f"```json\n{redact(json.dumps(known, indent=2), facts)}\n```",
    ]
    if printed:
        said = redact(printed, facts, PRIVATE + FREE)
        blocks += ["What the framework or the driver printed:", f"```\n{said}\n```"]
    return "\n\n".join(blocks)


def as_text(facts: Facts, findings: list[Finding]) -> str:
    """The verdict and the problems for people, after a line that tells where this is."""
    server = " ".join(filter(None, (facts.engine, facts.server, facts.container)))
    place = "In the container" if facts.container else "On the host"
    lines = [f"{place} ({', '.join(filter(None, (facts.kernel, server)))}):"]
    for found in findings:
        steps = [found.what, *filter(None, (found.why, found.fix and f"-> {found.fix}"))]
        lines.append("* " + "\n  ".join(steps))
    if len(findings) > 1:
        lines.append(f"More on each: {GUIDE}")
    return "\n".join(lines)


def explain_log(text: str) -> int:
    findings = explain(text)
    for found in findings:
        print(f"* {found.what}", *filter(None, found[2:]), sep="\n  ")
    if findings:
        return 1
    print(
        "Nothing in it is known to the doctor. Its last lines:", *text.splitlines()[-15:], sep="\n"
    )
    return 2


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--brief", action="store_true", help="a line each, quick, exit code 0")
    how.add_argument("--json", action="store_true", help="findings and facts, for programs")
    how.add_argument("--report", action="store_true", help="for a bug report, without names")
    how.add_argument("--nvml", action="store_true", help=argparse.SUPPRESS)
    how.add_argument("--explain", nargs="?", const="-", metavar="FILE", help="what a log means")
    try:
        args = parser.parse_args(arguments)
    except SystemExit as end:
        return 3 if end.code else 0
    if args.explain:
        log = sys.stdin.buffer.read() if args.explain == "-" else Path(args.explain).read_bytes()
        return explain_log(log.decode("utf-8", "replace"))
    if args.nvml:
        print("\nnvml:" + json.dumps(nvml()))
        return 0
    facts = gather(limit=BRIEF) if args.brief else gather(imports=IMPORTS)
    code, findings = diagnose(facts)
    if args.brief:
        print(*findings, sep="\n")
    elif args.json:
        place = "container" if facts.container else "host"
        told = {"verdict": findings[0].id, "exit_code": code, "where": place}
        told["findings"] = [found.as_json() for found in findings]
        print(json.dumps({**told, "facts": public(facts)}, indent=2))
    else:
        print(as_report(facts, code, findings) if args.report else as_text(facts, findings))
    return code


if __name__ == "__main__":
    try:
        if sys.stdout:
            sys.stdout.reconfigure(errors="replace")
        code = main(sys.argv[1:])
        if sys.stdout:
            sys.stdout.flush()
    except BaseException as error:  # whatever it is, the start of the container goes on
        code = 3
        with contextlib.suppress(BaseException):
            print(
                f"GPU: cannot tell, the doctor failed: {type(error).__name__}: {error}", flush=True
            )
    os._exit(0 if "--brief" in sys.argv else code)  # without waiting for a command that hangs
