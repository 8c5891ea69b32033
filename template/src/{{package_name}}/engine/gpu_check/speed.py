# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The steps of the GPU check that time: operations over sizes, mixed precision, compilation."""

import time
from typing import Any, NamedTuple

import keras
import numpy as np

from ..benchmark.networks import synthetic_task
from ..benchmark.workload import WorkloadConfig, mixed
from ..config import Precision
from ..modelling import compiled_model
from ..runtime import devices, timing

SIZES = {"matmul": (256, 512, 1024, 2048, 4096, 8192), "convolution": (32, 64, 128, 256, 512, 1024)}


def speed(quick: bool = False) -> dict[str, Any]:
    """Time products and convolutions over sizes, on the CPU and on the GPU, in two precisions."""
    enough, repeats = (0.02, 3) if quick else (0.05, 5)
    limit = 0.02 if quick else 0.1  # seconds; larger sizes would only take longer
    gpus, rows = devices.gpus(), []
    for name, sizes in SIZES.items():
        for device in timing.usable():
            for dtype in ("float32", timing.half()):
                for size in sizes[: 2 if quick else None]:
                    row = timing.speed(name, size, dtype, device, enough, repeats)
                    known = gpus and device != "cpu:0"
                    peak = timing.peak(gpus[0], name, dtype) if known else None
                    rows.append({**row, "peak": peak, "share": peak and row["tflops"] / peak})
                    if row["seconds"] > limit:
                        break
    return {"rows": rows, "tf32": {name: timing.tf32(name) for name in SIZES}}


class Trainable(NamedTuple):
    """A compiled network and a batch for it."""

    model: keras.Model
    images: np.ndarray
    """uint8 of shape (batch_size, image_size, image_size, 3)."""
    labels: np.ndarray
    """int32 of shape (batch_size,)."""


def small_network(precision: Precision, image_size: int, batch_size: int) -> Trainable:
    """Return a small CNN, compiled for a dtype policy, and a batch of random images."""
    config = WorkloadConfig(
        recipe="gpu_check", precision=precision, image_size=image_size, batch_size=batch_size
    )
    task = synthetic_task(config)
    images, labels = task.dataset.train.read(np.arange(batch_size))
    return Trainable(compiled_model(task, steps=1), images, labels)


def precision(quick: bool = False) -> dict[str, Any]:
    """Time a training step of a small network in float32 and in mixed precision."""
    image_size, batch_size = (8, 32) if quick else (64, 256) if devices.gpus() else (32, 32)
    rows = []
    policies: tuple[Precision, ...] = ("float32", mixed(timing.half()))
    for policy in policies:
        network = small_network(policy, image_size, batch_size)

        def step(_: Any, network: Trainable = network) -> Any:
            """Copy the batch from the host's memory, train on it, and wait for the loss."""
            return network.model.train_on_batch(network.images, network.labels)

        took = timing.seconds(step, None, enough=0.1, repeats=3)
        layer = next(layer for layer in network.model.layers if layer.trainable_variables)
        rows.append(
            {
                "policy": policy,
                "seconds": took,
                "computes_in": layer.compute_dtype,
                "keeps_weights_in": layer.variable_dtype,
            }
        )
    return {"rows": rows, "batch": [batch_size, image_size, image_size, 3]}


def fusable(x):
    """Normalize and activate, four times: without fusion, memory limits the speed."""
    for _ in range(4):
        x = x - keras.ops.mean(x, axis=-1, keepdims=True)
        x = x / keras.ops.sqrt(keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True) + 1e-6)
        x = keras.ops.gelu(x) + x
    return x


def compilation(quick: bool = False) -> dict[str, Any]:
    """Time the same function op by op, and compiled by XLA or torch.compile."""
    name = "torch.compile" if keras.config.backend() == "torch" else "XLA"
    start = timing.normal((1024, 8192 if devices.gpus() and not quick else 1024), "float32")
    found: dict[str, Any] = {"shape": list(start.shape), "rows": []}
    took = timing.seconds(fusable, start, repeats=3)
    found["rows"].append({"how": "op by op", "seconds": took})
    if name == "torch.compile" and not devices.gpus():
        reason = "it runs a C++ compiler, which takes longer than all the rest of this check"
        return found | {"left_out": f"{name} is left out on the CPU: {reason}"}
    compiled, began = timing.compiled(fusable), time.perf_counter()
    try:
        timing.wait(compiled(start))
    except Exception as error:  # torch.compile looks for compilers that need not be there
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        return found | {"left_out": f"{name} does not work here: {type(error).__name__}: {reason}"}
    found["first_call"] = time.perf_counter() - began
    took = timing.seconds(compiled, start, repeats=3)
    found["rows"].append({"how": name, "seconds": took})
    return found
