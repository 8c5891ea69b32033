# Managed by gpu-ml-template: copier update merges fixes into this file.
"""One rung of the ladder, measured in a process of its own."""

import math
import os
import statistics
import sys
import time
import traceback

import keras
import numpy as np

from ... import data
from ..config import Config, UserError
from ..pipeline import Arrays, Batches, Dataset, Split
from ..runtime import devices, timing
from ..runtime.files import resource
from ..train import compiled_model
from .flops import operations
from .ladder import Setting


def take(setting: Setting) -> dict:
    """Return what `climb` does, or what went wrong as text that another process can read."""
    try:
        return climb(setting)
    except UserError:
        raise
    except Exception as error:
        traceback.print_exc()
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        return {"left_out": f"it failed: {type(error).__name__}: {reason}"}


def climb(setting: Setting) -> dict:
    """Train with a setting, and return the machine, the model, the speed and the memory."""
    keras.utils.set_random_seed(0)
    if setting.deterministic:
        devices.make_deterministic("on" if setting.xla else "off")
    gpus, capability = devices.gpus(), devices.capability()
    if capability >= (8,):
        devices.set_tf32(setting.tf32)
    config = setting.config(keras.config.backend(), bool(gpus), timing.half())
    dataset = data.load(config)
    network = compiled_model(config, dataset, steps=100_000)
    flops, uncounted = operations(network)
    dtype = keras.DTypePolicy(config.precision).compute_dtype
    peak = timing.peak(gpus[0], "convolution", dtype) if gpus and not uncounted else None
    if setting.cached:
        network, split = cached(network, dataset)
    else:
        split = dataset.train
    found = speed(network, split, config, setting.seconds, setting.repeats)
    share = 3 * flops * found["examples_per_s"] / peak / 1e12 if peak else 0.0
    return {
        "machine": {
            "system": f"{sys.platform} with {os.cpu_count()} CPU cores",
            "framework": keras.config.backend(),
            "gpus": gpus,
            "capability": list(capability),
            "half": timing.half(),
        },
        "model": {
            "model": config.model,
            "image_size": config.image_size,
            "batch_size": config.batch_size,
            "forward_gflop": flops / 1e9,
            "uncounted_layers": uncounted,
        },
        "jit_compile": bool(network.jit_compile),
        **found,
        "mfu": share,
        "peak_tflops": peak,
        **peak_memory(),
    }


class Stored(keras.layers.Layer):
    """Images in the device's memory: numbers (n,) in, images (n, height, width, channels) out."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__(name="stored", dtype="float32", trainable=False)
        # float16 holds 0 to 255 exactly, and GPUs gather it on all backends.
        self.images = self.add_weight(shape=images.shape, dtype="float16", name="images")
        self.images.assign(images.astype("float16"))

    def call(self, numbers):
        return keras.ops.cast(keras.ops.take(self.images, numbers, axis=0), "uint8")


def cached(network: keras.Model, dataset: Dataset) -> tuple[keras.Model, Split]:
    """Return the model with a batch's images stored in it, and a split of their numbers."""
    images, labels = dataset.train.read(np.arange(dataset.validation.size))
    numbers = keras.Input((), dtype="int32", name="numbers")
    whole = keras.Model(numbers, network(Stored(images)(numbers)), name="cached")
    options = {"jit_compile": network.jit_compile, "metrics": ["accuracy"]}
    options["steps_per_execution"] = network.steps_per_execution
    whole.compile(network.optimizer, network.loss, **options)

    def read(indices: np.ndarray) -> Arrays:
        return (indices % len(images)).astype("int32"), labels[indices % len(images)]

    return whole, Split(dataset.train.size, read)


class Clock(keras.callbacks.Callback):
    """When the first step of `fit` began."""

    began = 0.0

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self.began = self.began or time.perf_counter()


def train(network: keras.Model, split: Split, config: Config, steps: int) -> tuple[float, float]:
    """Train as train.py does, and return the seconds of the steps and those spent waiting."""
    order = np.arange(steps * config.batch_size) % split.size
    batches, clock = Batches(split, config.batch_size, order, workers=config.workers), Clock()
    options = {"steps_per_epoch": steps, "shuffle": False, "verbose": 0}
    with batches.own_errors():
        network.fit(batches.feed(), callbacks=[clock], **options)  # its end waits for the last step
    return time.perf_counter() - clock.began, batches.waited


def speed(
    network: keras.Model, split: Split, config: Config, enough: float, repeats: int
) -> dict[str, float | int | list[float]]:
    """Return medians over `repeats` trainings of `enough` seconds each, after two to warm up."""
    at_once = config.steps_per_execution
    first, _ = train(network, split, config, at_once)
    took, _ = train(network, split, config, 2 * at_once)
    executions = math.ceil(enough / (took / 2))
    steps = at_once * max(2, min(executions, 1000))
    runs = [train(network, split, config, steps) for _ in range(repeats)]
    step = statistics.median(took / steps for took, _ in runs)
    return {
        "examples_per_s": config.batch_size / step,
        "step_seconds": step,
        "waiting": statistics.median(waited / took for took, waited in runs),
        "first_call": first,
        "steps": steps,
        "runs": [took / steps for took, _ in runs],
    }


def peak_memory() -> dict[str, float | str | None]:
    """Return the most memory so far in bytes: the GPU's, else that of this process."""
    if peak := devices.memory().get("peak"):
        return {"peak_memory": peak, "memory_of": "GPU"}
    if resource is None:  # Windows
        return {"peak_memory": None, "memory_of": "process"}
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak_memory": most * (1 if sys.platform == "darwin" else 1024), "memory_of": "process"}
