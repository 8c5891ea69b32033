# Managed by gpu-ml-template: copier update merges fixes into this file.
"""How fast is it: operations over sizes, mixed precision, compilation. For steps.py."""

import dataclasses
import time

import keras
import numpy as np

from ... import data
from ..config import benchmark
from ..runtime import devices, timing
from ..train import compiled_model

SIZES = {"matmul": (256, 512, 1024, 2048, 4096, 8192), "convolution": (32, 64, 128, 256, 512, 1024)}


def speed(quick: bool = False) -> dict:
    """Time products and convolutions over sizes, on the CPU and on the GPU, in two precisions."""
    options = {"enough": 0.02, "repeats": 3} if quick else {}
    limit = 0.02 if quick else 0.1  # seconds; larger sizes would only take longer
    gpus, rows = devices.gpus(), []
    for name, sizes in SIZES.items():
        for device in timing.usable():
            for dtype in ("float32", timing.half()):
                for size in sizes[: 2 if quick else None]:
                    row = timing.speed(name, size, dtype, device, **options)
                    known = gpus and device != "cpu:0"
                    peak = timing.peak(gpus[0], name, dtype) if known else None
                    rows.append(row | {"peak": peak, "share": peak and row["tflops"] / peak})
                    if row["seconds"] > limit:
                        break
    return {"rows": rows, "tf32": {name: timing.tf32(name) for name in SIZES}}


def small(
    precision: str, image_size: int, batch_size: int
) -> tuple[keras.Model, tuple[np.ndarray, np.ndarray]]:
    """Return a compiled network and a batch for it, as the recipe `benchmark` makes them."""
    config = dataclasses.replace(
        benchmark(), model="cnn", precision=precision, image_size=image_size, batch_size=batch_size
    )
    dataset = data.load(config)
    batch = dataset.train.read(np.arange(config.batch_size))
    return compiled_model(config, dataset, steps=1), batch


def precision(quick: bool = False) -> dict:
    """Time a training step of a small network in float32 and in mixed precision."""
    sizes = (8, 32) if quick else (64, 256) if devices.gpus() else (32, 32)
    rows = []
    for policy in ("float32", f"mixed_{timing.half()}"):
        network, batch = small(policy, *sizes)
        # Each step takes its batch from the host's memory and waits for the loss.
        options = {"enough": 0.1, "repeats": 3}
        took = timing.seconds(lambda _, n=network, b=batch: n.train_on_batch(*b), None, **options)
        layer = next(layer for layer in network.layers if layer.trainable_variables)
        types = {"computes_in": layer.compute_dtype, "keeps_weights_in": layer.variable_dtype}
        rows.append({"policy": policy, "seconds": took, **types})
    return {"rows": rows, "batch": list(batch[0].shape)}


def fusable(x):
    """Normalise and activate, four times: work that waits for memory unless it is fused."""
    for _ in range(4):
        x = x - keras.ops.mean(x, axis=-1, keepdims=True)
        x = x / keras.ops.sqrt(keras.ops.mean(keras.ops.square(x), axis=-1, keepdims=True) + 1e-6)
        x = keras.ops.gelu(x) + x
    return x


def compilation(quick: bool = False) -> dict:
    """Time the same function op by op, and compiled by XLA or torch.compile."""
    name = "torch.compile" if keras.config.backend() == "torch" else "XLA"
    start = timing.normal((1024, 8192 if devices.gpus() and not quick else 1024), "float32")
    found = {"shape": list(start.shape), "rows": []}
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
