# Managed by gpu-ml-template: copier update merges fixes into this file.
"""What the benchmark passes from function to function and between its processes."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from .workload import WorkloadConfig, benchmark_config, mixed


@dataclass(frozen=True)
class Setting:
    """What a training is measured with, and for how long."""

    quick: bool = False
    """Measure a small network."""
    deterministic: bool = False
    """Ask the framework for deterministic kernels."""
    batch_size: int | None = None
    """Examples per step; None: as fits the device."""
    image_size: int | None = None
    """Height and width of the images in pixels; None: as fits the device."""
    tf32: bool = False
    """Round float32 to TF32 in products and convolutions."""
    half: bool = False
    """Compute in 16 bits, by Keras' mixed precision."""
    xla: bool = False
    """Compile the training step with XLA or torch.compile."""
    steps_per_execution: int = 1
    """Training steps per call into the framework."""
    cached: bool = False
    """Keep the data in the device's memory."""
    seconds: float = 3.0
    """Approximate duration of one measurement."""
    repeats: int = 5
    """Number of measurements, of which the median counts."""

    def config(self, framework: str, on_gpu: bool, half: str) -> WorkloadConfig:
        """Return the config of this setting; UserError for sizes that do not work.

        Without sizes of its own, a setting has smaller ones if it is quick or on a CPU. `half` is
        the 16-bit type of the device, bfloat16 or float16.
        """
        config = benchmark_config()
        model, image_size, batch_size = config.model, config.image_size, config.batch_size
        if not on_gpu:
            image_size, batch_size = 32, 8
        if self.quick:
            model = "cnn"
            image_size, batch_size = (64, 256) if on_gpu else (32, config.batch_size)
        return dataclasses.replace(
            config,
            model=model,
            image_size=image_size if self.image_size is None else self.image_size,
            batch_size=batch_size if self.batch_size is None else self.batch_size,
            precision=mixed(half) if self.half else "float32",
            jit_compile="on" if self.xla or framework == "jax" else "off",
            steps_per_execution=self.steps_per_execution,
            deterministic=self.deterministic,
        )


@dataclass(frozen=True)
class Machine:
    """What the measuring process found."""

    system: str
    """Operating system and number of CPU cores."""
    framework: str
    """Keras' backend."""
    gpus: list[str]
    """Names of the GPUs that the framework sees."""
    capability: list[int]
    """Compute capability of the first NVIDIA GPU, such as [9, 0]; [] without one."""
    half: str
    """The 16-bit type that this device computes in."""


@dataclass(frozen=True)
class Network:
    """The network that was trained."""

    model: str
    image_size: int
    batch_size: int
    forward_gflop: float
    """10^9 additions and multiplications of one example's forward pass."""
    uncounted_layers: list[str]
    """Names of layers whose operations are not counted."""


@dataclass(frozen=True)
class Speed:
    """How fast a training is: medians of several measurements."""

    examples_per_s: float
    step_seconds: float
    waiting: float
    """Share of the time that the host waited for data."""
    first_call: float
    """Seconds of the first execution, which compiles."""
    steps: int
    """Steps of one measurement."""
    runs: list[float]
    """Seconds per step of each measurement."""


@dataclass(frozen=True)
class Measurement:
    """What one setting gave."""

    machine: Machine
    network: Network
    speed: Speed
    jit_compile: bool
    mfu: float
    """Model FLOPs utilization: share of the GPU's peak, 0 where no peak is known."""
    peak_tflops: float | None
    """The GPU's peak in the precision of the setting, in TFLOP/s; None if it is not known."""
    peak_memory: int | None
    """Most memory that was in use, in bytes; None if the system does not tell."""
    memory_of: str
    """What has that memory: GPU or process."""


@dataclass(frozen=True)
class LeftOut:
    """Why a setting was not measured."""

    reason: str


@dataclass(frozen=True)
class Result:
    """A setting by its name, and what came of it."""

    setting: str
    outcome: Measurement | LeftOut
    kept: bool = False
    """Whether it was the fastest so far, so that later settings include it."""

    def to_json(self) -> dict[str, Any]:
        """Return a row of reports/benchmark.json: either `left_out`, or speed, memory and MFU."""
        row = {"setting": self.setting, "kept": self.kept}
        if isinstance(self.outcome, LeftOut):
            return row | {"left_out": self.outcome.reason}
        found = dataclasses.asdict(self.outcome)
        del found["machine"], found["network"]  # the report has them once
        return row | found.pop("speed") | found
