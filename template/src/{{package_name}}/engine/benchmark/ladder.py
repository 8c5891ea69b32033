# Managed by gpu-ml-template: copier update merges fixes into this file.
"""How fast is training here? A ladder of settings, on the model of the recipe `benchmark`.

Each rung is measured in a process of its own (measure_setting.py), with its own setting and those
below that made it faster. This process imports no framework.
"""

import dataclasses
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from .. import config
from ..config import UserError
from ..runtime import files
from . import report as benchmark_report


@dataclasses.dataclass(frozen=True)
class Setting:
    """What a rung is measured with."""

    quick: bool = False
    deterministic: bool = False
    batch_size: int | None = None
    image_size: int | None = None
    tf32: bool = False
    half: bool = False
    xla: bool = False
    steps_per_execution: int = 1
    cached: bool = False
    seconds: float = 3.0
    repeats: int = 5

    def config(self, framework: str, on_gpu: bool, half: str) -> config.Config:
        """Return the recipe with this setting: smaller if quick or on a CPU, unless it is asked."""
        sizes = {} if on_gpu else {"image_size": 32, "batch_size": 8}
        if self.quick:
            sizes = {"image_size": 64, "batch_size": 256} if on_gpu else {"image_size": 32}
            sizes["model"] = "cnn"
        wishes = {"batch_size": self.batch_size, "image_size": self.image_size}
        sizes |= {name: value for name, value in wishes.items() if value is not None}
        return dataclasses.replace(
            config.benchmark(),
            precision=f"mixed_{half}" if self.half else "float32",
            jit_compile="on" if self.xla or framework == "jax" else "off",
            steps_per_execution=self.steps_per_execution,
            deterministic=self.deterministic,
            **sizes,
        )


LADDER = {
    "float32": {},
    "TF32": {"tf32": True},
    "bfloat16": {"half": True},
    "XLA": {"xla": True},
    "steps_per_execution": {"steps_per_execution": 4},
    "data on the device": {"cached": True},
}


def left_out(rung: str, machine: dict, deterministic: bool) -> str:
    """Return why a rung does not apply, or nothing; `machine` is what the first rung found."""
    framework, gpus = machine["framework"], machine["gpus"]
    if rung == "TF32" and tuple(machine["capability"]) < (8,):
        return "TF32 is for NVIDIA GPUs from Ampere on"
    if rung == "TF32" and os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return "NVIDIA_TF32_OVERRIDE=0 forbids it"
    if rung == "XLA" and framework == "jax":
        return "JAX compiles every step with XLA: the rungs before have it already"
    if rung == "XLA" and framework == "tensorflow" and deterministic:
        return "TensorFlow turns XLA off where results have to be deterministic"
    if rung == "XLA" and framework == "torch" and not gpus:
        return "on a CPU torch.compile runs a C++ compiler, for minutes"
    if rung == "steps_per_execution" and framework == "torch":
        return "Keras does not have it for torch"
    if rung == "data on the device" and not gpus:
        return "the device is the CPU, in whose memory the data is anyway"
    return ""


def take(setting: Setting) -> dict:
    """Measure a setting in this process, which imports the framework only now."""
    from .measure_setting import take

    return take(setting)


def in_a_process(setting: Setting) -> dict:
    """Measure a setting in a new process: its memory is its own, and is free again afterwards."""
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(take, setting).result()
    except BrokenProcessPool:
        return {"left_out": "it failed: its process was killed, perhaps for want of memory"}


def climb(start: Setting) -> list[dict]:
    """Measure all rungs, and return a row for each; UserError if the first one fails."""
    rows, setting, fastest = [], start, 0.0
    for rung, own in LADDER.items():
        machine = rows[0]["machine"] if rows else {}
        if rows and (reason := left_out(rung, machine, start.deterministic)):
            found = {"left_out": reason}
        else:
            found = in_a_process(dataclasses.replace(setting, **own))
        if not rows and "left_out" in found:
            raise UserError(f"float32 {found['left_out']}: there is nothing to compare with")
        kept = found.get("examples_per_s", 0) > fastest
        if kept:
            setting = dataclasses.replace(setting, **own)
            fastest = found["examples_per_s"]
        name = machine.get("half", rung) if rung == "bfloat16" else rung
        rows.append({"rung": name, "kept": kept, **found})
        cells = benchmark_report.cells(rows[-1], rows[0])
        print(benchmark_report.line(cells), flush=True)
    return rows


def run(setting: Setting) -> None:
    """Measure the ladder, print it, and write reports/benchmark.json and .html."""
    setting.config("jax", True, "bfloat16")  # refuses sizes before there is any work
    files.make_folder(benchmark_report.JSON.parent)
    load = [list(os.getloadavg())] if hasattr(os, "getloadavg") else []
    print(benchmark_report.line(list(benchmark_report.COLUMNS)), flush=True)
    rows = climb(setting)
    load += [list(os.getloadavg())] if load else []
    report = benchmark_report.write(rows, setting, load)
    print(f"{report['sentence']}\n{report['mfu_says']}")
    print(f"wrote {benchmark_report.JSON} and {benchmark_report.HTML}")
