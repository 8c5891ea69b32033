# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Say in one line whether the GPU can be used here, and what to do if not.

python3 .devcontainer/doctor.py      in the container or on its host: the verdict, the problems
... --brief                          the same at the start of the container: quick, exit code 0
... --explain [FILE]                 what the log of a failed build or start means, and the fix

Exit codes: 0 the GPU can be used; 1 there is one and it cannot; 2 no GPU, work goes on the CPU;
3 the doctor itself failed. With --explain: 1 something was recognised, 2 nothing.
Facts are gathered first; the rules are pure functions over them. It needs nothing but Python 3.9.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

BRIEF, PATIENT = 5.0, 15.0  # seconds that a command gets with --brief, and without

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
says: nvml error: driver not loaded|couldn't communicate with the NVIDIA driver
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
says: libdevice not found at|Couldn't invoke ptxas
what: XLA lacks the compiler of CUDA (ptxas, libdevice).
why: The wheel nvidia-cuda-nvcc is missing from the environment.
fix: Install the project's lock anew: rebuild the container.
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
[slow]
what: GPU: cannot tell, nvidia-smi has not answered in {limit:g} s.
fix: Run `nvidia-smi`: if it never answers, the driver hangs and the host needs a reboot.
[odd]
what: GPU: not usable, nvidia-smi says: {said}
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

[host-podman]
what: The dev container CLI stops at podman when a configuration mentions a GPU.
why: It asks podman a question that only Docker can answer.
fix: <none> With a GPU: "all" in place of "none", and podman 5 with CDI.
[host-blind]
what: The dev container CLI cannot see the GPU of this host.
why: It looks only for the runtime nvidia in Docker, and here {server} gives the GPU.
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


@dataclass
class Facts:
    """What was seen; the defaults are a Linux host without GPU and engine."""

    limit: float = PATIENT
    container: str = ""  # its id, empty on a host
    kernel: str = ""  # its release; the system's name where that is not Linux
    machine: str = ""
    smi: str = "missing"  # nvidia-smi: ok, missing, slow or odd
    answer: str = ""  # what it printed, unless ok
    gpus: list[str] = field(default_factory=list)
    driver: str = ""
    host_driver: bool = False  # in a container, /proc/driver is still the host's
    devices: bool = False
    card: bool = False  # an NVIDIA card on the PCI bus
    image: dict[str, Any] = field(default_factory=dict)  # gpu_facts.json
    engine: str = ""  # docker or podman
    info: str = ""  # what `docker info` printed
    cdi: bool = False
    uid: int = 0
    workspace: str = ""
    owner: int = 0  # of the workspace
    writable: bool = True
    rootless: bool = False
    cache: str = ""  # what in ~/.cache is not this user's, if anything
    volume: str = ""

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
    def no_gpu_in_docker(self) -> bool:
        """Docker answers, and lacks the one thing that the dev container CLI looks for."""
        answers = '"ServerVersion":"' in self.info and not self.container
        return answers and "nvidia-container-runtime" not in self.info

    def words(self) -> dict[str, Any]:
        """What the sentences may mention."""
        names = [f"{n} x {name}" if n > 1 else name for name, n in Counter(self.gpus).items()]
        cuda = ".".join(str(self.image.get("cuda") or "").split(".")[:2])
        about = f"{self.image.get('framework')} {self.image.get('version')}"
        built = f" (image for the GPU: {about}, CUDA {cuda})" if cuda else ""
        server = "WSL2" if self.windows else "CDI"
        said, engine = (" ".join(x.split())[:120] for x in (self.answer, self.info))
        words = {"names": ", ".join(names), "about": about, "built": built, "server": server}
        return {**vars(self), **words, "said": said, "said_engine": engine}


# The first that holds is the verdict. The number is the exit code.
VERDICTS = {
    "gpu-cpu-image": (1, lambda f: f.gpus and f.for_cpu),
    "cpu-image": (2, lambda f: f.for_cpu and (f.host_driver or f.card or f.windows)),
    "cpu-only": (2, lambda f: f.for_cpu),
    "no-cuda": (1, lambda f: f.gpus and f.image and not f.image.get("cuda")),
    "gpu": (0, lambda f: f.gpus),
    "slow": (1, lambda f: f.smi == "slow"),
    "odd": (1, lambda f: f.smi == "odd"),
    "no-smi": (1, lambda f: f.devices or (f.host_driver and not f.container)),
    "not-passed": (1, lambda f: f.host_driver),
    "wsl": (2, lambda f: f.container and f.windows),
    "card": (1, lambda f: f.card),
    "none": (2, lambda f: True),
}
# Each that holds is told. LOST are those that keep a GPU of the host out of the container.
PROBLEMS = {
    "host-blind": lambda f: f.no_gpu_in_docker and (f.cdi or (f.gpus and f.windows)),
    "host-toolkit": lambda f: f.no_gpu_in_docker and f.gpus and not (f.cdi or f.windows),
    "host-podman": lambda f: f.engine == "podman" and not f.container,
    "host-rootless": lambda f: "name=rootless" in f.info,
    "workspace-rootless": lambda f: not f.writable and f.rootless and f.owner == 0,
    "workspace": lambda f: not f.writable and f.owner not in f.mine,
    "workspace-closed": lambda f: not f.writable and f.owner == f.uid,
    "cache": lambda f: f.cache and f.volume,
    "cache-no-volume": lambda f: f.cache and not f.volume,
}
LOST = {"host-blind", "host-toolkit"}


def diagnose(facts: Facts) -> tuple[int, list[Finding]]:
    """The exit code, and the verdict followed by the problems."""
    words = facts.words()
    name = next(name for name, (_, when) in VERDICTS.items() if when(facts))
    verdict, code = finding(name, words), VERDICTS[name][0]
    known = explain(facts.answer) if name == "odd" else []
    if known:
        verdict = known[0]._replace(what="GPU: not usable. " + known[0].what)
    problems = [finding(x, words) for x, when in PROBLEMS.items() if when(facts)]
    if facts.engine == "docker" and not facts.container and '"ServerVersion":"' not in facts.info:
        problems += explain(facts.info) or [finding("host-engine", words)]
    lost = code == 0 and LOST.intersection(problem.id for problem in problems)
    return (1 if lost else code), [verdict, *problems]


def read(path: Path) -> str:
    try:
        return path.read_bytes()[:1_000_000].decode("utf-8", "replace")
    except OSError:
        return ""


def run(command: list[str], limit: float) -> str | None:
    """What a command prints, or None if it has not ended in time.

    It is killed then and not waited for: a driver that hangs leaves nvidia-smi unkillable.
    """
    answer: list[bytes] = []
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    try:
        process = subprocess.Popen(command, start_new_session=True, **pipes)
    except OSError as error:
        return str(error)
    stdout: Any = process.stdout
    reader = threading.Thread(target=lambda: answer.append(stdout.read(1_000_000)), daemon=True)
    reader.start()
    reader.join(limit)
    try:
        os.killpg(process.pid, signal.SIGKILL)  # with all that it started
    except (AttributeError, OSError):
        process.kill()
    return answer[0].decode("utf-8", "replace") if answer else None


def ask_gpu(root: Path, limit: float) -> dict[str, Any]:
    smi = shutil.which("nvidia-smi") or shutil.which(str(root / "usr/lib/wsl/lib/nvidia-smi"))
    if not smi:
        return {}
    answer = run([smi, "--query-gpu=name,driver_version", "--format=csv,noheader"], limit)
    if answer is None:
        return {"smi": "slow"}
    rows = re.findall(r"^([A-Za-z][\w .()/+-]*), (\d+\.[\d.]+)\s*$", answer, re.MULTILINE)
    if not rows:
        return {"smi": "odd", "answer": answer}
    return {"smi": "ok", "gpus": [name for name, _ in rows], "driver": rows[0][1]}


def ask_engine(root: Path, limit: float) -> dict[str, Any]:
    engine = next((name for name in ("docker", "podman") if shutil.which(name)), "")
    info = (run([engine, "info", "--format", "{{json .}}"], limit) or "") if engine else ""
    if "buildahVersion" in info:  # podman under the name of docker
        engine = "podman"
    specs = [path for folder in ("etc/cdi", "var/run/cdi") for path in (root / folder).glob("*")]
    cdi = any("nvidia.com/gpu" in text for text in (info, *map(read, specs)))
    return {"engine": engine, "info": info, "cdi": cdi}


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


def gather(root: Path = Path("/"), workspace: Path | None = None, limit: float = PATIENT) -> Facts:
    """Look at the machine whose files are at `root`."""
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
    vars(facts).update(found, **ask_gpu(root, limit))
    facts.host_driver = os.path.exists(root / "proc/driver/nvidia/version")
    facts.devices = any(os.path.exists(root / "dev" / name) for name in ("nvidiactl", "dxg"))
    cards = (root / "sys/bus/pci/devices").glob("*")
    kinds = [(read(card / "vendor").strip(), read(card / "class")[:4]) for card in cards]
    facts.card = ("0x10de", "0x03") in kinds
    return facts


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
    parser.add_argument("--brief", action="store_true", help="one line, exit code 0")
    parser.add_argument("--explain", nargs="?", const="-", metavar="FILE", help="what a log means")
    try:
        args = parser.parse_args(arguments)
    except SystemExit as end:
        return 3 if end.code else 0
    if args.explain:
        log = sys.stdin.buffer.read() if args.explain == "-" else Path(args.explain).read_bytes()
        return explain_log(log.decode("utf-8", "replace"))
    code, findings = diagnose(gather(limit=BRIEF if args.brief else PATIENT))
    print(*findings, sep="\n")
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
