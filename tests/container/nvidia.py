"""A simulated NVIDIA host: a second dockerd, with stand-ins for NVIDIA's runtime and its hook.

Docker runs the hook that it finds on the PATH that it was started with. The daemon has a network
namespace of its own: in the host's it would change or remove the first daemon's bridge.
"""

import json
import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from nvml import build

from .engine import Engine

STUBS = Path(__file__).parent / "nvidia"


@dataclass
class NvidiaHost:
    """Its engine, and what may be wrong with it."""

    engine: Engine
    pid: int
    folder: Path

    def has_runtime(self, there: bool) -> None:
        """Register the runtime `nvidia` with the engine, as nvidia-ctk does, or take it away."""
        write_settings(self.folder, there)
        os.kill(self.pid, signal.SIGHUP)
        asked = ("info", "--format", "{{json .Runtimes}}")
        deadline = time.monotonic() + 30
        while ("nvidia" in json.loads(self.engine.docker(*asked))) != there:
            assert time.monotonic() < deadline, "dockerd did not read its settings again"
            time.sleep(0.1)

    def fails_with(self, text: str | None) -> None:
        """Let the hook fail with this text, or not at all."""
        error = self.folder / "bin" / "error"
        error.write_text(text or "")
        if text is None:
            error.unlink()

    def has(self, nvidia_smi: str) -> None:
        """Give containers this script for nvidia-smi, and what stands for the device."""
        files = self.folder / "bin" / "files"
        (files / "usr/bin").mkdir(parents=True, exist_ok=True)
        (files / "usr/bin/nvidia-smi").write_text(nvidia_smi)
        (files / "usr/bin/nvidia-smi").chmod(0o755)
        (files / "dev").mkdir(exist_ok=True)
        (files / "dev/nvidiactl").touch()

    def has_library(self, there: bool) -> None:
        """Give containers the stand-in for the driver's library, or take it away."""
        folder = self.folder / "bin" / "files/usr/lib"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "libnvidia-ml.so.1").unlink(missing_ok=True)
        if there:
            build(folder)


def write_settings(folder: Path, runtime: bool = True) -> None:
    nvidia = {"nvidia": {"path": str(folder / "bin" / "nvidia-container-runtime")}}
    (folder / "daemon.json").write_text(json.dumps({"runtimes": nvidia if runtime else {}}))


def prepare(folder: Path) -> tuple[list[str], str]:
    """The options of its dockerd, and the PATH with the hook."""
    shutil.copytree(STUBS, folder / "bin")
    write_settings(folder)
    options = [f"--config-file={folder}/daemon.json", "--iptables=false"]
    return options, f"{folder}/bin{os.pathsep}{os.environ['PATH']}"


def hand_over(image: str, source: Engine, target: Engine) -> None:
    """Copy an image from one engine to another."""
    save = subprocess.Popen(["docker", "save", image], env=source.env, stdout=subprocess.PIPE)
    subprocess.run(
        ["docker", "load"], env=target.env, stdin=save.stdout, check=True, capture_output=True
    )
    assert save.wait() == 0
