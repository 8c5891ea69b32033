# Managed by gpu-ml-template: copier update merges fixes into this file.
"""How fast is training here? Settings that build on each other, each measured on its own.

Each setting is measured in a new process (measure_setting.py), together with the earlier ones that
made the training faster. This process imports no framework.
"""

import dataclasses
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from ..config import UserError
from ..runtime import files
from . import report as benchmark_report
from .records import LeftOut, Machine, Measurement, Result, Setting

SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {},
    "TF32": {"tf32": True},
    "bfloat16": {"half": True},
    "XLA": {"xla": True},
    "steps_per_execution": {"steps_per_execution": 4},
    "data on the device": {"cached": True},
}
"""The settings by name, in the order of measurement: the fields of `Setting` that each changes."""


def reason_to_leave_out(name: str, machine: Machine, deterministic: bool) -> str:
    """Return why a setting does not apply to a machine, or an empty string if it does."""
    framework, gpus = machine.framework, machine.gpus
    if name == "TF32" and tuple(machine.capability) < (8,):
        return "TF32 is for NVIDIA GPUs from Ampere on"
    if name == "TF32" and os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return "NVIDIA_TF32_OVERRIDE=0 forbids it"
    if name == "XLA" and framework == "jax":
        return "JAX compiles every step with XLA: the settings before have it already"
    if name == "XLA" and framework == "tensorflow" and deterministic:
        return "TensorFlow turns XLA off where results have to be deterministic"
    if name == "XLA" and framework == "torch" and not gpus:
        return "on a CPU torch.compile runs a C++ compiler, for minutes"
    if name == "steps_per_execution" and framework == "torch":
        return "Keras does not have it for torch"
    if name == "data on the device" and not gpus:
        return "the device is the CPU, whose memory holds the data anyway"
    return ""


def measure_here(setting: Setting) -> Measurement | LeftOut:
    """Measure a setting in this process, which imports the framework only now."""
    from .measure_setting import measure_setting

    return measure_setting(setting)


def measure_in_process(setting: Setting) -> Measurement | LeftOut:
    """Measure a setting in a new process: its peak memory is its own, and is freed afterwards."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(measure_here, setting).result()
    except BrokenProcessPool:
        return LeftOut("it failed: its process was killed, perhaps because memory ran out")


def measure_all(start: Setting) -> list[Result]:
    """Measure all settings in turn, print a line for each, and return the results.

    Raises UserError if the first one, plain float32, fails: the others are compared with it.
    """
    setting, fastest = start, 0.0
    results: list[Result] = []
    machine: Machine | None = None
    for name, changes in SETTINGS.items():
        changed = dataclasses.replace(setting, **changes)
        reason = reason_to_leave_out(name, machine, start.deterministic) if machine else ""
        outcome = LeftOut(reason) if reason else measure_in_process(changed)
        kept = isinstance(outcome, Measurement) and outcome.speed.examples_per_s > fastest
        if isinstance(outcome, Measurement):
            machine = machine or outcome.machine
            fastest = max(fastest, outcome.speed.examples_per_s)
        elif machine is None:
            raise UserError(f"float32 {outcome.reason}: there is nothing to compare with")
        setting = changed if kept else setting
        label = machine.half if name == "bfloat16" else name
        results.append(Result(label, outcome, kept))
        benchmark_report.print_result(results[-1], results[0])
    return results


def run(setting: Setting) -> None:
    """Measure all settings, print them, and write reports/benchmark.json and .html."""
    setting.config("jax", True, "bfloat16")  # refuses wrong sizes before the work starts
    files.make_writable(benchmark_report.JSON.parent)
    load = [list(os.getloadavg())] if hasattr(os, "getloadavg") else []
    print(benchmark_report.line(list(benchmark_report.COLUMNS)), flush=True)
    results = measure_all(setting)
    load += [list(os.getloadavg())] if load else []
    report = benchmark_report.write(results, setting, load)
    print(f"{report['sentence']}\n{report['mfu_says']}")
    print(f"wrote {benchmark_report.JSON} and {benchmark_report.HTML}")
