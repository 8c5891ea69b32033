"""What the doctor learns from the NVIDIA driver's library, which a stand-in plays."""

import os
import re
import shutil
import subprocess
import sys
import time

import pytest
from nvml import BLACKWELL, DESKTOP, H100, OLD, Machine, build
from test_doctor import FILE, doctor, fill


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def machine(tmp_path, library, monkeypatch):
    return Machine(tmp_path, library, monkeypatch)


# What the library answers, the exit code, the findings, and words of what is said.
CASES = {
    "H100": ([H100], 0, ["gpu"], "GPU: NVIDIA H100 80GB HBM3, driver 580.95.05"),
    "desktop": ([DESKTOP], 0, ["gpu"], "GPU: NVIDIA GeForce RTX 4070, driver 580.95.05"),
    "another driver": (["driver 535.129.03", OLD], 0, ["gpu"], "1080 Ti, driver 535.129.03"),
    "eight": ([H100] * 8, 0, ["gpu"], "GPU: 8 x NVIDIA H100 80GB HBM3, driver"),
    "mixed": (
        [H100, DESKTOP, H100, OLD, BLACKWELL],
        0,
        ["gpu"],
        "GPU: 2 x NVIDIA H100 80GB HBM3, NVIDIA GeForce RTX 4070, NVIDIA GeForce GTX 1080 Ti, "
        "NVIDIA GeForce RTX 5090, driver",
    ),
    "says nothing of itself": (["gpu NVIDIA Tegra"], 0, ["gpu"], "GPU: NVIDIA Tegra, driver"),
    "name in Latin-1": (["gpu NVIDIA \udcae"], 0, ["gpu"], "GPU: NVIDIA \ufffd, driver"),
    "MIG": ([H100 + "mig 7 2"], 0, ["gpu"], "GPU: NVIDIA H100"),
    "MIG, others hold the most": (
        [H100.replace("80995", "9000") + "mig 7 7\ncompute 41 70000"],
        0,
        ["gpu"],
        "GPU: NVIDIA H100",
    ),
    "MIG without instances": (
        [H100 + "mig 7 0"],
        1,
        ["gpu-unusable", "no-mig"],
        "NVIDIA H100 80GB HBM3 is in MIG mode, and no part of it is there",
    ),
    "MIG without instances, and another": (
        [H100 + "mig 7 0", DESKTOP],
        0,
        ["gpu", "no-mig"],
        "NVIDIA H100 80GB HBM3 is in MIG mode",
    ),
    "row 6": (["init 9"], 1, ["no-driver"], "install the driver on the host and reboot"),
    "row 8": (["init 18", H100], 1, ["driver-mismatch"], "Reboot the host"),
    "row 10": (["init 999", H100], 1, ["lost-device"], "native.cgroupdriver=cgroupfs"),
    "row 11": (["init 4", H100], 1, ["device-mode"], "NVreg_DeviceFileMode=0666"),
    "row 11, later": (["count 4", H100], 1, ["device-mode"], "NVreg_DeviceFileMode=0666"),
    "lost": (["init 15", H100], 1, ["gpu-lost"], "dmesg"),
    "lost, later": (["count 15", H100], 1, ["gpu-lost"], "dmesg"),
    "not known to the doctor": (
        ["init 3"],
        1,
        ["odd"],
        "NVML says: Failed to initialize NVML: Not",
    ),
    "no GPUs": ([], 1, ["no-devices"], "nvidia-smi -L"),
    "one of three lost": (
        [H100, H100 + "handle 15", H100],
        0,
        ["gpu", "lost"],
        "GPU 1: GPU is lost",
    ),
    "one of two lost, later": (
        [DESKTOP, H100 + "answers 15"],
        0,
        ["gpu", "lost"],
        "GPU 1: GPU is lost",
    ),
    # NVML counts those that are given to others, too.
    "one of two is for others": (
        [H100 + "handle 4", DESKTOP],
        0,
        ["gpu"],
        "GPU: NVIDIA GeForce RTX 4070, driver",
    ),
    "all are for others": ([H100 + "handle 4"] * 2, 1, ["device-mode"], "NVreg_DeviceFileMode"),
    "all lost": ([H100 + "handle 15"] * 2, 1, ["gpu-lost"], "dmesg"),
    "a screen recorder": (
        [DESKTOP.replace("encoder 0", "encoder 41").replace("busy 7", "busy 22")],
        0,
        ["gpu", "gpu-in-use"],
        "10.3 of 12.0 GB free, 22 % busy, its video encoder 41 %",
    ),
    "another training": (
        [H100, H100.replace("80995", "2000").replace("busy 0", "busy 99") + "compute 41 78400"],
        0,
        ["gpu", "gpu-in-use"],
        "GPU 1 is in use: 2.0 of 79.6 GB free, 99 % busy",
    ),
    "a notebook that holds the memory": (
        [H100.replace("80995", "5000") + "compute 41 75000"],
        0,
        ["gpu", "gpu-in-use"],
        "GPU 0 is in use: 4.9 of 79.6 GB free, 0 % busy",
    ),
    # As long as a GPU that has just been woken checks its memory (ECC), says nvml.h.
    "busy with waking up": ([H100.replace("busy 0", "busy 100 0")], 0, ["gpu"], "GPU: NVIDIA H100"),
    "blocked": (["init 17", DESKTOP], 1, ["blocked"], "wsl --shutdown"),
}


@pytest.mark.parametrize("lines, code, names, says", CASES.values(), ids=CASES)
def test_what_the_library_answers_gets_its_findings(machine, lines, code, names, says):
    machine.gpus(*lines)
    result, found, words = machine.told()
    assert (result, found) == (code, names)
    assert says in words


def test_every_fact_is_read(machine):
    machine.gpus("driver 570.1", DESKTOP + "mig 7 3", H100 + "busy 3\nencoder 2")
    facts = doctor.gather()
    assert (facts.smi, facts.asked, facts.driver) == ("ok", "NVML", "570.1")
    first, second = facts.gpus
    assert first == doctor.Gpu(
        "NVIDIA GeForce RTX 4070", "8.9", 12282 << 20, 10540 << 20, 0, 0, 3, first.holders
    )
    assert second == doctor.Gpu("NVIDIA H100 80GB HBM3", "9.0", 81559 << 20, 80995 << 20, 3, 2)


def test_who_holds_the_memory_is_told(machine, monkeypatch):
    mine = os.getpid()
    lines = [f"compute {mine} 30000", f"graphics {mine} 30000", "compute 2 -1", "graphics 3 80"]
    machine.gpus(H100.replace("80995", "9000") + "\n".join(lines))
    _, names, words = machine.told()
    assert names == ["gpu", "gpu-in-use"]
    held = re.search(r"\(held by (.*)\)\.", words)[1]
    assert re.findall(r"pid (\d+)", held) == ["2", "3", str(mine)]
    assert re.search(rf"pid {mine}( of the host)?, 29.3 GB", held)
    # In a container, the number is one of the host, where another process may have it in here.
    here = os.path.exists
    for inside in (False, True):
        marks = dict.fromkeys(("/.dockerenv", "/run/.containerenv"), inside)
        monkeypatch.setattr(os.path, "exists", lambda path, m=marks: m.get(path, here(path)))
        own = doctor.read(doctor.Path("/proc/self/comm")).strip()
        told = f"pid {mine} of the host, 0.5 GB" if inside else f"{own} (pid {mine}, 0.5 GB)"
        assert doctor.named(mine, 1 << 29) == told
    assert doctor.named(mine, (1 << 64) - 1) == f"pid {mine} of the host"


def test_more_processes_than_anybody_lists(machine):
    many = "\n".join(f"compute {number} 300" for number in range(90))
    machine.gpus(H100.replace("80995", "9000") + many)
    assert machine.told()[:2] == (0, ["gpu", "gpu-in-use"])


def test_a_driver_from_before_mig(tmp_path, monkeypatch):
    machine = Machine(tmp_path, build(tmp_path, "-DOLD_DRIVER"), monkeypatch)
    machine.gpus("driver 418.226.00", OLD)
    assert machine.told()[:2] == (0, ["gpu"])
    [gpu] = doctor.gather().gpus
    assert gpu == doctor.Gpu("NVIDIA GeForce GTX 1080 Ti", "6.1", 11264 << 20, 11100 << 20)


def test_a_library_that_hangs(machine):
    machine.patch.setattr(doctor.gather, "__defaults__", (machine.root, machine.project, 0.5, 0))
    machine.gpus("init hang")
    start = time.monotonic()
    code, names, words = machine.told()
    assert time.monotonic() - start < 8  # the machine may be busy
    assert (code, names) == (1, ["slow"])
    assert "NVML has not answered in 0.5 s" in words


def test_a_library_that_crashes_leaves_the_word_to_nvidia_smi(machine):
    machine.gpus("init crash", H100)
    assert machine.told()[:2] == (2, ["none"])
    fill(machine.root / "dev/nvidiactl", "")
    assert machine.told()[:2] == (1, ["no-smi"])
    fill(machine.folder / "bin/nvidia-smi", "#!/bin/sh\necho NVIDIA A100, 580.95.05\n", 0o755)
    code, names, words = machine.told()
    assert (code, names) == (0, ["gpu"])
    assert "GPU: NVIDIA A100, driver 580.95.05" in words
    assert doctor.gather().asked == "nvidia-smi"


def test_a_library_of_another_make_leaves_the_word_to_nvidia_smi(machine):
    fill(machine.folder / "other/libnvidia-ml.so.1", "\x7fELF, but of another machine")
    machine.patch.setenv("LD_LIBRARY_PATH", str(machine.folder / "other"))
    fill(machine.folder / "bin/nvidia-smi", "#!/bin/sh\necho NVIDIA A100, 580.95.05\n", 0o755)
    assert machine.told()[:2] == (0, ["gpu"])


# --- As a user calls it, in a project of theirs ---------------------------------------------------


@pytest.fixture
def call(tmp_path, library):
    """Run `python .devcontainer/doctor.py` with these GPUs, on this very machine."""
    own = tmp_path / "project/.devcontainer/doctor.py"
    own.parent.mkdir(parents=True)
    shutil.copy(FILE, own)

    def run(lines: str, *args: str, short: bool = False) -> subprocess.CompletedProcess:
        text = FILE.read_text()
        assert text.count("BRIEF, PATIENT = 5.0, 15.0") == 1
        own.write_text(text.replace("BRIEF, PATIENT = 5.0, 15.0", "BRIEF, PATIENT = 0.5, 0.5"))
        own.write_text(own.read_text() if short else text)
        env = {"PATH": str(tmp_path), "HOME": str(tmp_path), "NVML_STUB": lines}
        env["LD_LIBRARY_PATH"] = str(library.parent)
        command = [sys.executable, str(own), *args]
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)

    return run


def test_the_command_tells_the_gpu(call):
    done = call(H100)
    assert done.stderr == ""
    assert "NVIDIA H100 80GB HBM3" in done.stdout
    done = call("init 18")
    assert (done.returncode, done.stderr) == (1, "")
    assert "GPU: not usable. The NVIDIA driver was updated" in done.stdout


@pytest.mark.parametrize("lines", [H100, "init 18", "init crash", "init hang", "", "gpu \xff"])
def test_brief_never_keeps_a_container_from_starting(call, lines):
    start = time.monotonic()
    done = call(lines, "--brief", short="hang" in lines)
    assert time.monotonic() - start < 12  # the machine may be busy
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(("GPU: ", "CPU: "))
    if "hang" in lines:
        assert done.stdout.startswith("GPU: cannot tell, NVML has not answered in 0.5 s.")
