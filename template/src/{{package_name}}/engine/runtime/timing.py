# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Measures where a result is, how long an operation takes, and the share of the GPU's peak.

Operations run through Keras, as those of a model do. Timings leave out copies to the device and
the first calls, which compile and allocate.
"""

import os
import re
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypedDict

import keras
import numpy as np

from .devices import capability

# TFLOP/s by NVIDIA's data sheets, dense: 16-bit and TF32 on tensor cores (summing in 32 bits),
# and float32. A name has to match as a whole: a part of a GPU (MIG) or a laptop's differs.
PEAKS = {
    r"A100-(SXM4|PCIE)-[48]0GB|A100 80GB PCIe": (312, 156, 19.5),
    r"B200": (2250, None, None),
    r"GeForce RTX 4090": (165.2, 82.6, 82.6),
    r"GeForce RTX 5090": (209.5, None, None),
    r"H100 80GB HBM3": (989, 495, 67),
    r"H100 NVL": (835, None, None),
    r"H100 PCIe": (756, 378, 51),
    r"H200": (989, None, None),
    r"L4": (121, None, None),
    r"L40": (181, 90.5, 90.5),
    r"L40S": (362, 183, 91.6),
    r"T4": (65, None, 8.1),
}


class Operation(NamedTuple):
    """An operation to measure."""

    step: Callable[[Any], Any]
    """Maps a tensor to one of the same shape and type, so that steps can follow each other."""
    start: Any
    """The tensor that the first step begins with."""
    count: float
    """Number of additions and multiplications of one step."""


class SpeedRow(TypedDict):
    """The speed of one operation, as a row of reports/gpu_check.json."""

    operation: str
    dtype: str
    size: int
    device: str
    """Where the result was, such as gpu:0."""
    seconds: float
    tflops: float
    """10^12 additions and multiplications per second."""


def place(tensor) -> str:
    """Return where a tensor or a variable is: gpu:0, cpu:0, or both as cpu:0+gpu:0."""
    value = tensor.value if isinstance(tensor, keras.Variable) else tensor
    backend = keras.config.backend()
    if backend == "tensorflow":  # the device whose kernel made it
        return value.device.rpartition("device:")[2].lower()
    if backend == "jax":
        return "+".join(sorted(f"{device.platform}:{device.id}" for device in value.devices()))
    return f"{value.device.type}:{value.device.index or 0}".replace("cuda", "gpu")


def usable() -> list[str]:
    """Return the devices to compare, as keras.device takes them: the CPU and the first GPU."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return ["cpu:0"] + ["gpu:0"] * bool(tf.config.list_logical_devices("GPU"))
    if backend == "jax":
        import jax

        first = jax.devices()[0].platform
        only = os.environ.get("JAX_PLATFORMS") or "cpu"  # it may leave out the CPU
        return ["cpu:0"] * ("cpu" in only.split(",")) + [f"{first}:0"] * (first != "cpu")
    import torch

    gpus = ["gpu:0"] * torch.cuda.is_available() or ["mps:0"] * torch.backends.mps.is_available()
    return ["cpu:0", *gpus]


def half() -> str:
    """Return the 16-bit type for this device: bfloat16, or float16 on GPUs before Ampere."""
    return "float16" if () < capability() < (8,) else "bfloat16"


def tf32(operation: str) -> bool:
    """Whether this GPU and the framework's settings may round an operation's float32 to TF32."""
    backend = keras.config.backend()
    if capability() < (8,) or os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return False
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.config.experimental.tensor_float_32_execution_enabled()
    if backend == "jax":
        import jax

        return jax.config.jax_default_matmul_precision not in ("highest", "float32", "F32_F32_F32")
    import torch

    if operation == "convolution":
        return torch.backends.cudnn.allow_tf32
    return torch.get_float32_matmul_precision() != "highest"


def peak(gpu: str, operation: str, dtype: str) -> float | None:
    """Return the dense peak of a GPU for an operation in TFLOP/s, or None if it is not known."""
    for names, (in_16_bits, in_tf32, in_float32) in PEAKS.items():
        if re.fullmatch(f"(NVIDIA |Tesla )*({names})", gpu):
            if dtype != "float32":
                return in_16_bits
            return in_tf32 if tf32(operation) else in_float32
    return None


def normal(shape: tuple[int, ...], dtype: str, variance: float = 1):
    """Return a tensor of random numbers, the same ones each time."""
    numbers = np.random.default_rng(0).standard_normal(shape, "float32") * variance**0.5
    return keras.ops.convert_to_tensor(numbers, dtype)


def matmul(n: int, dtype: str) -> Operation:
    """Return a product of n x n matrices."""
    right = normal((n, n), dtype, 1 / n)
    return Operation(lambda left: keras.ops.matmul(left, right), right, 2 * n**3)


def convolution(n: int, dtype: str) -> Operation:
    """Return a 3 x 3 convolution of n to n channels on 32 images of 32 x 32 pixels."""
    kernel, images = normal((3, 3, n, n), dtype, 1 / (9 * n)), normal((32, 32, 32, n), dtype)

    def step(images):
        return keras.ops.conv(images, kernel, padding="same", data_format="channels_last")

    return Operation(step, images, 2 * 9 * n**2 * 32**3)


OPERATIONS: dict[str, Callable[[int, str], Operation]] = {
    "matmul": matmul,
    "convolution": convolution,
}


def wait(tensor) -> None:
    """Return once a tensor is computed: frameworks only queue work, so this fetches a number."""
    if keras.ops.is_tensor(tensor):
        keras.ops.convert_to_numpy(keras.ops.cast(tensor[(0,) * len(tensor.shape)], "float32"))


def seconds(step: Callable, start, enough: float = 0.05, repeats: int = 5) -> float:
    """Return the median seconds of one `step`, whose argument is the result of the step before.

    Each of the `repeats` measurements is a chain of steps that lasts about `enough` seconds and
    waits once, at its end.
    """

    def chain(steps: int) -> float:
        began, result = time.perf_counter(), start
        for _ in range(steps):
            result = step(result)
        wait(result)
        return (time.perf_counter() - began) / steps

    chain(1)
    chain(1)  # some kernels are chosen in the second call
    steps = max(1, min(100, int(enough / chain(1))))
    return statistics.median(chain(steps) for _ in range(repeats))


def speed(
    operation: str, n: int, dtype: str, device: str, enough: float = 0.05, repeats: int = 5
) -> SpeedRow:
    """Time an operation of size n on a device, and find where its result was.

    See `seconds` for `enough` and `repeats`.
    """
    with keras.device(device):
        step, start, count = OPERATIONS[operation](n, dtype)
        took, where = seconds(step, start, enough, repeats), place(step(start))
    return SpeedRow(
        operation=operation,
        dtype=dtype,
        size=n,
        device=where,
        seconds=took,
        tflops=count / took / 1e12,
    )


def compiled(function: Callable) -> Callable:
    """Return a function compiled by XLA, or by torch.compile; its first call may fail.

    Without this a function runs eagerly, one operation after the other.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=True)
    if backend == "jax":
        import jax

        return jax.jit(function)
    import torch

    return torch.compile(function)
