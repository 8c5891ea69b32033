# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The steps of the GPU check: each returns a dict for the report. speed.py has those that time.

`notebooks/gpu_check.ipynb` runs them one by one, `python -m PACKAGE gpu-check` all of them.
"""

import dataclasses
import os
import platform
import time
import traceback
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from .. import runs
from ..benchmark.networks import digits_task
from ..benchmark.workload import gpu_check_config
from ..config import UserError
from ..runtime import devices, files, timing
from ..runtime.signals import Interrupted
from ..train import train
from . import report as gpu_report
from . import verdict as gpu_verdict
from .speed import compilation, precision, speed

TOLERANCES = {"float32": 1e-4, "TF32": 3e-3, "float16": 3e-3, "bfloat16": 1e-2}
"""Largest error allowed, as a share of the largest number of the result."""


def machine(quick: bool = False) -> dict[str, Any]:
    """Describe the machine: hardware, what the framework sees of it, and the doctor's findings."""
    facts = gpu_verdict.facts(keras.config.backend())  # before this process is on the GPU itself
    return {
        "system": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores",
        "framework": keras.config.backend(),
        "gpus": devices.gpus(),
        "capability": ".".join(map(str, devices.capability())),
        "versions": runs.versions(),
        **facts,
    }


def placement(quick: bool = False) -> dict[str, Any]:
    """Find where operations ran: their results tell, not a list of devices."""
    places = {}
    for name, operation in timing.OPERATIONS.items():
        run, start, _ = operation(64, "float32")
        places[name] = timing.place(run(start))
    convolution = keras.layers.Conv2D(4, 3, name="convolution")
    layers = [convolution, keras.layers.Flatten(name="flat"), keras.layers.Dense(2, name="dense")]
    network = keras.Sequential(layers, name="network")
    network.compile("adam", "mse")
    network.train_on_batch(np.ones((8, 8, 8, 3), "float32"), np.ones((8, 2), "float32"))
    # Single numbers do not count: frameworks keep some of them, such as counters, on the CPU.
    variables = [*network.trainable_variables, *network.optimizer.variables]
    found = {timing.place(variable) for variable in variables if variable.shape}
    places["training step"] = "+".join(sorted(found))
    return {"places": places}


def numbers(quick: bool = False) -> dict[str, Any]:
    """Compare results with NumPy's in float64, from inputs rounded to the same type."""
    rows = []
    for dtype in ("float32", timing.half()):
        for name, operation in timing.OPERATIONS.items():
            run, start, _ = operation(16 if name == "convolution" else 256, dtype)
            exact, got = reference(name, to_numpy(start), dtype), to_numpy(run(start))
            error = float(np.abs(got - exact).max() / np.abs(exact).max())
            kind = "TF32" if dtype == "float32" and timing.tf32(name) else dtype
            rows.append(
                {
                    "operation": name,
                    "dtype": dtype,
                    "computed_in": kind,
                    "error": error,
                    "tolerance": TOLERANCES[kind],
                    "right": bool(error <= TOLERANCES[kind]),
                }
            )
    return {"rows": rows}


def to_numpy(tensor) -> np.ndarray:
    """Return a tensor of any type as float64."""
    return keras.ops.convert_to_numpy(keras.ops.cast(tensor, "float32")).astype("float64")


def reference(name: str, start: np.ndarray, dtype: str) -> np.ndarray:
    """Return in float64 the exact result of one step of an operation of timing.py."""
    if name == "matmul":
        return start @ start
    _, height, width, channels = start.shape
    kernel = to_numpy(timing.normal((3, 3, channels, channels), dtype, 1 / (9 * channels)))
    padded = np.pad(start, ((0, 0), (1, 1), (1, 1), (0, 0)))
    nine = [(row, column) for row in range(3) for column in range(3)]
    terms = (padded[:, y : y + height, x : x + width] @ kernel[y, x] for y, x in nine)
    return sum(terms, start=np.zeros_like(start))


def memory(quick: bool = False) -> dict[str, Any]:
    """Find whether memory is allocated as needed, and how much of it is in use."""
    return dataclasses.asdict(devices.memory()) | {"nvidia_smi": gpu_verdict.ask_driver()}


def training(quick: bool = False) -> dict[str, Any]:
    """Train a small CNN on scans of digits, as any recipe is trained; the run stays in runs/."""
    config = gpu_check_config(epochs=2 if quick else 3)
    run_dir, began = runs.new_dir(config.recipe), time.perf_counter()
    metrics = train(config, run_dir, lambda _: digits_task(config))
    history, took = runs.read_history(run_dir), time.perf_counter() - began
    return {"run": run_dir.as_posix(), "seconds": took, "metrics": metrics, "history": history}


STEPS = (machine, placement, numbers, speed, precision, compilation, memory, training)


def run_step(step: Callable[[bool], dict[str, Any]], quick: bool) -> dict[str, Any]:
    """Run a step and time it; an exception becomes its result, for the report to show.

    Raises UserError and Interrupted as they are.
    """
    began = time.perf_counter()
    try:
        return step(quick) | {"took": time.perf_counter() - began}
    except (UserError, Interrupted):
        raise
    except Exception as error:
        traceback.print_exc()
        reason = next(iter(str(error).strip().splitlines()), "")[:300]
        return {"error": f"{type(error).__name__}: {reason}"}


attempt = run_step  # notebooks of projects made before version 0.8.0 call this name


def run(quick: bool, expect_gpu: bool) -> None:
    """Run all steps and write the report; UserError if the verdict is a failure."""
    files.make_writable(gpu_report.JSON.parent)  # before minutes of work
    found: dict[str, dict[str, Any]] = {}
    for step in STEPS:
        print(f"{step.__name__}: {step.__doc__}", flush=True)
        found[step.__name__] = run_step(step, quick)
    report = gpu_report.write(found, "command line", quick, expect_gpu)
    print(f"wrote {gpu_report.JSON} and {gpu_report.HTML}")
    gpu_report.raise_for_verdict(report)
    print(report["sentence"])
