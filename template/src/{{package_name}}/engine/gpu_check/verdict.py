# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The verdict of a GPU check, and facts about the machine that need no framework."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

DOCTOR = Path(".devcontainer/doctor.py")
DRIVER = Path("/proc/driver/nvidia/version")
HIDING = {
    "tensorflow": {"CUDA_VISIBLE_DEVICES": r"|-1.*"},
    "jax": {"CUDA_VISIBLE_DEVICES": r"|-1.*", "JAX_PLATFORMS": "cpu"},
    "torch": {"CUDA_VISIBLE_DEVICES": r"|-1.*", "KERAS_TORCH_DEVICE": "cpu.*"},
}
"""Environment variables, and patterns of values, that hide the GPU from each framework."""
NEEDED = ("machine", "placement", "numbers")
ASK = "`python3 .devcontainer/doctor.py` says why"


def printed(command: list[str], limit: float) -> str:
    """Return the output of a command; "" if it cannot start or exceeds `limit` seconds."""
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True}
    try:
        return subprocess.run(command, timeout=limit, errors="replace", **options).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def ask_doctor() -> dict:
    """Return the doctor's exit code and findings; {} without a doctor that has --json."""
    try:
        answer = json.loads(printed([sys.executable, str(DOCTOR), "--json"], limit=150))
        findings = [{"id": str(x["id"]), "what": str(x["what"])} for x in answer["findings"]]
        return {"exit_code": int(answer["exit_code"]), "findings": findings}
    except (ValueError, TypeError, KeyError):
        return {}


def ask_driver() -> list[dict]:
    """Return name, driver and memory of each GPU that nvidia-smi lists; MiB, None if unknown."""
    program = shutil.which("nvidia-smi") or "/usr/lib/wsl/lib/nvidia-smi"
    query = "--query-gpu=driver_version,memory.total,memory.used,name"
    text = printed([program, query, "--format=csv,noheader,nounits"], limit=20)
    rows = re.findall(r"^(\d+\.[\d.]+), ([^,]+), ([^,]+), (\S.*)$", text, re.MULTILINE)
    return [
        {
            "name": name.strip(),
            "driver": driver,
            "total_mib": int(total) if total.isdigit() else None,
            "used_mib": int(used) if used.isdigit() else None,
        }
        for driver, total, used, name in rows
    ]


def made_for(framework: str) -> str:
    """Return what this environment was installed for, gpu or cpu."""
    try:
        return json.loads(Path(sys.prefix, "gpu_facts.json").read_text("utf-8"))["accelerator"]
    except (OSError, ValueError, TypeError, KeyError):
        wheels = {str(x.metadata["Name"]).lower() for x in importlib.metadata.distributions()}
    cuda = r"nvidia[-_]cuda[-_]runtime.*|jax[-_]cuda\d+[-_]plugin"
    return "gpu" if any(re.fullmatch(cuda, wheel) for wheel in wheels) else "cpu"


def facts(framework: str) -> dict:
    """Return what this machine has, from other sources than the framework."""
    doctor, gpus = ask_doctor(), ask_driver()
    version = DRIVER.read_text("utf-8", "replace") if DRIVER.exists() else ""
    module = re.search(r"Kernel Module.*?\s(\d+\.[\d.]+)", version)
    hiding = [
        f"{name}={os.environ[name]}"
        for name, values in HIDING[framework].items()
        if re.fullmatch(values, os.environ.get(name, "not set").strip())
    ]
    evidence = {
        "nvidia-smi": bool(gpus),
        "its NVIDIA driver": bool(version) and doctor.get("exit_code") != 2,  # 2: and no card
        "the doctor": doctor.get("exit_code") in (0, 1),
    }
    return {
        "driver": gpus[0]["driver"] if gpus else module[1] if module else "",
        "nvidia_smi": gpus,
        "host_gpu": next((name for name, seen in evidence.items() if seen), ""),
        "made_for": made_for(framework),
        "in_image": Path(sys.prefix, "gpu_facts.json").exists(),
        "hidden_by": " ".join(hiding),
        "doctor": doctor.get("findings", []),
    }


def verdict(found: dict) -> tuple[str, str]:
    """Return the verdict over the steps of a check (gpu, cpu, fallback, wrong) and a sentence.

    fallback and wrong are always failures. This is a pure function of the steps' results.
    """
    failed = [f"{name} failed: {x['error']}" for name, x in found.items() if "error" in x]
    failed += [f"{name} was left out" for name in NEEDED if name not in found]
    if failed:
        return "wrong", f"The check is not complete: {failed[0]}"
    for row in found["numbers"]["rows"]:
        if not row["right"]:
            name = f"{row['operation']} in {row['dtype']}"
            off = f"is off by {row['error']:.1e} (allowed: {row['tolerance']:.0e})"
            return "wrong", f"Wrong numbers: {name} {off}; do not train on this device."
    machine, places = found["machine"], found["placement"]["places"]
    stray = {name: where for name, where in places.items() if not on_gpu(where)}
    gpu = " + ".join(machine["gpus"])
    if not stray:
        return "gpu", f"The GPU did the work: {gpu or 'unnamed'}, and its numbers are right."
    all_on_cpu = "The CPU did all the work, because"
    if machine["hidden_by"] and len(stray) == len(places):
        return "cpu", f"{all_on_cpu} {machine['hidden_by']} hides a GPU: unset it to use one."
    if gpu:
        named = ", ".join(f"{name} on {where}" for name, where in stray.items())
        return "fallback", f"Silent fallback: {gpu} is there, and still computed: {named}; {ASK}."
    if machine["made_for"] == "cpu":
        remedy = "`nox -s setup -- gpu` makes it for the GPU"
        if machine["in_image"]:
            remedy = "for the GPU, reopen the folder with .devcontainer/devcontainer.json"
        return "cpu", f"{all_on_cpu} this environment was made for the CPU; {remedy}."
    if machine["host_gpu"]:
        known = f"this machine has an NVIDIA GPU (says {machine['host_gpu']})"
        made = f"this environment was made for it, and {machine['framework']} used the CPU"
        return "fallback", f"Silent fallback: {known}, {made}; {ASK}."
    return "cpu", f"No GPU: the CPU did all the work; if there should be one, {ASK}."


def on_gpu(place: str) -> bool:
    """Whether a place, as timing.place returns it, is on GPUs alone."""
    return place.startswith(("gpu", "mps")) and "cpu" not in place
