"""GPUs that are none: a stand-in for the NVIDIA driver's library, see assets/nvml.c."""

import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from test_doctor import doctor, fill

SOURCE = Path(__file__).parent / "assets" / "nvml.c"

# What healthy GPUs say. A part of the memory is the driver's own.
H100 = """\
gpu NVIDIA H100 80GB HBM3
capability 9 0
memory 81559 80995
busy 0
encoder 0
"""
DESKTOP = """\
gpu NVIDIA GeForce RTX 4070
capability 8 9
memory 12282 10540
busy 7
encoder 0
graphics 1201 340
graphics 2307 612
"""
OLD = """\
gpu NVIDIA GeForce GTX 1080 Ti
capability 6 1
memory 11264 11100
busy 0
encoder 0
"""
BLACKWELL = """\
gpu NVIDIA GeForce RTX 5090
capability 12 0
memory 32607 31900
busy 0
encoder 0
"""


def build(folder: Path, *options: str) -> Path:
    """Compile the stand-in into this folder, which the loader then has to look into.

    The compiler is a wheel, so that the tests need no other one.
    """
    library = folder / "libnvidia-ml.so.1"
    shared = ["-std=gnu99", "-shared", "-fPIC", "-fno-sanitize=undefined"]
    command = [sys.executable, "-m", "ziglang", "cc", *shared, *options, "-o", library, SOURCE]
    subprocess.run(command, check=True)
    return library


class Machine:
    """A machine of which the doctor sees only what is in this folder, and these GPUs."""

    def __init__(self, folder: Path, library: Path, patch: pytest.MonkeyPatch):
        self.folder, self.patch = folder, patch
        self.root, self.project = folder / "root", folder / "project"
        for name in ("bin", "root", "project"):
            (folder / name).mkdir()
        fill(self.root / "proc/sys/kernel/osrelease", "6.12.57+deb13-amd64\n")
        for name in ("CUDA_VISIBLE_DEVICES", "KERAS_BACKEND", "PYTHONPATH"):
            patch.delenv(name, raising=False)
        patch.setenv("PATH", str(folder / "bin"))
        patch.setenv("LD_LIBRARY_PATH", str(library.parent))
        patch.setattr(doctor.gather, "__defaults__", (self.root, self.project, doctor.PATIENT, 0))
        # This machine's own limits and full disks are not what is tested.
        plenty = {"disk": 1e9, "shm": 1e9, "files": 1 << 20}
        self.ask_limits = doctor.ask_limits
        patch.setattr(doctor, "ask_limits", lambda *at: {**self.ask_limits(*at), **plenty})

    def gpus(self, *lines: str) -> None:
        """What the driver's library answers from now on."""
        self.patch.setenv("NVML_STUB", "\n".join(lines))

    def told(self) -> tuple[int, list[str], str]:
        """The doctor's exit code, the names of its findings, and what it says for people."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            code = doctor.main(["--json"])
        told = json.loads(printed.getvalue())
        assert told["exit_code"] == code
        words = [" ".join((x["what"], x["why"], x["fix"])) for x in told["findings"]]
        return code, [x["id"] for x in told["findings"]], "\n".join(words)
