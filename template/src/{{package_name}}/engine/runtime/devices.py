# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The devices that the framework computes on: names, memory, precision, determinism."""

import os
import re
from dataclasses import dataclass

import keras
import numpy as np

from ..config import UserError

XLA_FLAG = "--xla_gpu_deterministic_ops=true"


def gpus() -> list[str]:
    """Return the names of the GPUs that the backend can use; with none it computes on the CPU."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        return [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in found
        ]
    if backend == "jax":
        import jax

        return [device.device_kind for device in jax.devices() if device.platform == "gpu"]
    import torch

    if torch.backends.mps.is_available():
        return ["an Apple GPU"]
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]


def capability() -> tuple[int, ...]:
    """Return the compute capability of the first NVIDIA GPU, such as (8, 0); () with none."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.config.list_physical_devices("GPU")
        details = [tf.config.experimental.get_device_details(gpu) for gpu in found[:1]]
        return details[0].get("compute_capability", ()) if details else ()
    if backend == "jax":
        import jax

        number = str(getattr(jax.devices()[0], "compute_capability", ""))  # "8.0"
        return tuple(map(int, re.findall(r"\d+", number)))
    import torch

    return torch.cuda.get_device_capability() if torch.cuda.is_available() else ()


@dataclass(frozen=True)
class Memory:
    """How this process uses the memory of the first GPU; None where the framework does not say."""

    applies: bool
    """Whether there is a GPU whose memory the framework manages."""
    grows: bool | None = None
    """Whether memory is allocated as needed, rather than nearly all of it at the start."""
    in_use: int | None = None
    """Bytes in use now."""
    peak: int | None = None
    """Most bytes in use so far."""


def memory() -> Memory:
    """Return how this process uses the memory of the first GPU."""
    backend, environment = keras.config.backend(), os.environ
    if not gpus():
        return Memory(applies=False)
    if backend == "tensorflow":
        import tensorflow as tf

        grows = environment.get("TF_FORCE_GPU_ALLOW_GROWTH", "") == "true"
        grows |= bool(
            tf.config.experimental.get_memory_growth(tf.config.list_physical_devices("GPU")[0])
        )
        now = tf.config.experimental.get_memory_info("GPU:0")
        return Memory(True, grows, now["current"], now["peak"])
    if backend == "jax":
        import jax

        grows = environment.get("XLA_PYTHON_CLIENT_PREALLOCATE", "") in ("false", "False", "0")
        now = jax.devices()[0].memory_stats() or {}
        return Memory(True, grows, now.get("bytes_in_use"), now.get("peak_bytes_in_use"))
    import torch

    if not torch.cuda.is_available():
        return Memory(applies=False)
    return Memory(True, True, torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated())


def describe() -> str:
    """Return one line for people: the backend and what it computes on."""
    names = gpus()
    return f"{keras.config.backend()} on " + (
        " + ".join(names) if names else "the CPU (it sees no GPU)"
    )


def make_deterministic(jit_compile: str) -> None:
    """Ask for kernels with bit-identical results; call it before the first computation.

    Raises UserError where the framework cannot give them with these settings.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if jit_compile == "on":
            raise UserError(
                "deterministic turns XLA off on TensorFlow: drop it or jit_compile, or set "
                "KERAS_BACKEND=jax, which supports both"
            )
        tf.config.experimental.enable_op_determinism()  # jit_compile "auto" is then off
    elif backend == "jax":
        if gpus() and XLA_FLAG not in os.environ.get("XLA_FLAGS", ""):
            # JAX reads it once, at its start.
            raise UserError(
                "deterministic on JAX needs an XLA flag: "
                f"set XLA_FLAGS={XLA_FLAG} before Python starts"
            )
    else:
        import torch

        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)


def to_numpy(variable: keras.Variable) -> np.ndarray:
    """Return a variable's value, joined if TensorFlow keeps it on several devices."""
    return keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable))


def random_state() -> dict[str, np.ndarray]:
    """Return torch's random state, which dropout uses; {} on other backends: variables hold it."""
    if keras.config.backend() != "torch":
        return {}
    import torch

    states = {"torch/cpu": torch.get_rng_state()}
    states |= {f"torch/cuda{i}": state for i, state in enumerate(torch.cuda.get_rng_state_all())}
    return {name: state.numpy() for name, state in states.items()}


def set_random_state(states: dict[str, np.ndarray]) -> None:
    """Restore what `random_state` returned, for the GPUs that exist here."""
    if not states:
        return
    import torch

    torch.set_rng_state(torch.from_numpy(states["torch/cpu"]))
    for i in range(torch.cuda.device_count()):
        if f"torch/cuda{i}" in states:
            torch.cuda.set_rng_state(torch.from_numpy(states[f"torch/cuda{i}"]), i)


def set_tf32(on: bool) -> None:
    """Allow or forbid rounding float32 to TF32 in products and convolutions."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_tensor_float_32_execution(on)
    elif backend == "jax":
        import jax

        jax.config.update("jax_default_matmul_precision", None if on else "highest")
    else:
        import torch

        torch.set_float32_matmul_precision("high" if on else "highest")
        torch.backends.cudnn.allow_tf32 = on
