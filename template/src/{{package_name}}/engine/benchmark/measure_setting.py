# Managed by gpu-ml-template: copier update merges fixes into this file.
"""One setting of the benchmark, measured in a process of its own."""

import math
import os
import statistics
import sys
import time
import traceback

import keras
import numpy as np

from ..config import Config, UserError
from ..modelling import compiled_model
from ..pipeline import Batches, Dataset, Examples, Split
from ..runtime import devices, timing
from ..runtime.files import resource
from .flops import operations
from .networks import synthetic_task
from .records import LeftOut, Machine, Measurement, Network, Setting, Speed


def measure_setting(setting: Setting) -> Measurement | LeftOut:
    """Return what `measure` does, or what went wrong as text that another process can read.

    Raises UserError for settings that the framework does not have.
    """
    try:
        return measure(setting)
    except UserError:
        raise
    except Exception as error:
        traceback.print_exc()
        reason = next(iter(str(error).strip().splitlines()), "")[:200]
        return LeftOut(f"it failed: {type(error).__name__}: {reason}")


def measure(setting: Setting) -> Measurement:
    """Train with a setting, and return the machine, the network, the speed and the memory."""
    keras.utils.set_random_seed(0)
    if setting.deterministic:
        devices.make_deterministic("on" if setting.xla else "off")
    gpus, capability = devices.gpus(), devices.capability()
    if capability >= (8,):
        devices.set_tf32(setting.tf32)
    framework, half = keras.config.backend(), timing.half()
    config = setting.config(framework, bool(gpus), half)
    task = synthetic_task(config)
    model = compiled_model(task, steps=100_000)
    flops, uncounted = operations(model)
    dtype = keras.DTypePolicy(config.precision).compute_dtype
    peak = timing.peak(gpus[0], "convolution", dtype) if gpus and not uncounted else None
    trained, split = model, task.dataset.train
    if setting.cached:
        trained, split = cached(model, task.dataset)
    speed = measure_speed(trained, split, config, setting.seconds, setting.repeats)
    memory, memory_of = peak_memory()
    return Measurement(
        machine=Machine(
            system=f"{sys.platform} with {os.cpu_count()} CPU cores",
            framework=framework,
            gpus=gpus,
            capability=list(capability),
            half=half,
        ),
        network=Network(
            model=config.model,
            image_size=config.image_size,
            batch_size=config.batch_size,
            forward_gflop=flops / 1e9,
            uncounted_layers=uncounted,
        ),
        speed=speed,
        jit_compile=bool(trained.jit_compile),
        mfu=3 * flops * speed.examples_per_s / peak / 1e12 if peak else 0.0,
        peak_tflops=peak,
        peak_memory=memory,
        memory_of=memory_of,
    )


class Stored(keras.layers.Layer):
    """Images in the device's memory: numbers (n,) in, images (n, height, width, channels) out."""

    def __init__(self, images: np.ndarray) -> None:
        super().__init__(name="stored", dtype="float32", trainable=False)
        # float16 holds 0 to 255 exactly, and GPUs gather it on all backends.
        self.images = self.add_weight(shape=images.shape, dtype="float16", name="images")
        self.images.assign(images.astype("float16"))

    def call(self, numbers):
        return keras.ops.cast(keras.ops.take(self.images, numbers, axis=0), "uint8")


def cached(model: keras.Model, dataset: Dataset) -> tuple[keras.Model, Split]:
    """Return the model with a batch's images stored in it, and a split of their numbers."""
    images, labels = dataset.train.read(np.arange(dataset.validation.size))
    numbers = keras.Input((), dtype="int32", name="numbers")
    whole = keras.Model(numbers, model(Stored(images)(numbers)), name="cached")
    whole.compile(
        model.optimizer,
        model.loss,
        metrics=["accuracy"],
        jit_compile=model.jit_compile,
        steps_per_execution=model.steps_per_execution,
    )

    def read(indices: np.ndarray) -> Examples:
        return (indices % len(images)).astype("int32"), labels[indices % len(images)]

    return whole, Split(dataset.train.size, read)


class Clock(keras.callbacks.Callback):
    """When the first step of `fit` began, by time.perf_counter()."""

    began = 0.0

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self.began = self.began or time.perf_counter()


def fit(model: keras.Model, split: Split, config: Config, steps: int) -> tuple[float, float]:
    """Train as train.py does, and return the seconds of the steps and those spent waiting."""
    order = np.arange(steps * config.batch_size) % split.size
    batches, clock = Batches(split, config.batch_size, order, workers=config.workers), Clock()
    with batches.own_errors():  # the end of fit waits for the last step
        model.fit(
            batches.feed(), steps_per_epoch=steps, callbacks=[clock], shuffle=False, verbose=0
        )
    return time.perf_counter() - clock.began, batches.waited


def measure_speed(
    model: keras.Model, split: Split, config: Config, enough: float, repeats: int
) -> Speed:
    """Return medians over `repeats` trainings of `enough` seconds each, after two to warm up."""
    at_once = config.steps_per_execution
    first, _ = fit(model, split, config, at_once)
    took, _ = fit(model, split, config, 2 * at_once)
    executions = math.ceil(enough / (took / 2))
    steps = at_once * max(2, min(executions, 1000))
    runs = [fit(model, split, config, steps) for _ in range(repeats)]
    step = statistics.median(took / steps for took, _ in runs)
    return Speed(
        examples_per_s=config.batch_size / step,
        step_seconds=step,
        waiting=statistics.median(waited / took for took, waited in runs),
        first_call=first,
        steps=steps,
        runs=[took / steps for took, _ in runs],
    )


def peak_memory() -> tuple[int | None, str]:
    """Return the most memory so far in bytes, the GPU's or else this process's, and which it is."""
    if peak := devices.memory().peak:
        return peak, "GPU"
    if resource is None:  # Windows
        return None, "process"
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most * (1 if sys.platform == "darwin" else 1024), "process"
