# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The processes and devices that train together, and how the processes speak to each other."""

import contextlib
import hashlib
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..config import UserError

T = TypeVar("T")
_steps = itertools.count()


class RaisedTogether(UserError):
    """Raised in all processes at once, so that none waits for another."""


@dataclass(frozen=True)
class Cluster:
    """The processes that train together, and this one's place among them."""

    rank: int = 0
    world_size: int = 1
    devices: int = 1
    """Of all processes; each has as many as the others."""
    launcher: str = ""

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes the run directory and talks to people."""
        return self.rank == 0

    def __str__(self) -> str:
        by = f" by {self.launcher}" if self.launcher else ""
        return (
            f"{self.devices} devices in {self.world_size} process{'es' * (self.world_size > 1)}{by}"
        )

    def scope(self) -> contextlib.AbstractContextManager:
        """Return a context in which models are made and trained on all devices."""
        if self.devices == 1:
            return contextlib.nullcontext()
        import keras

        if keras.config.backend() == "jax":
            return keras.distribution.DataParallel(auto_shard_dataset=False).scope()
        import tensorflow as tf

        names = [device.name for device in tf_devices()]
        return tf.distribute.MirroredStrategy(names).scope()

    def check(self, batch_size: int, steps_per_execution: int) -> None:
        """Raise UserError if the devices cannot train in such batches."""
        if batch_size % self.devices:
            fits = -(-batch_size // self.devices) * self.devices
            raise UserError(
                f"batch_size {batch_size} does not divide by {self.devices} devices: take {fits}, "
                "or fewer devices (CUDA_VISIBLE_DEVICES=0 leaves one)"
            )
        import keras

        mirrored = self.devices > 1 and keras.config.backend() == "tensorflow"
        if mirrored and steps_per_execution > 1:
            raise UserError(
                "steps_per_execution does not work on several devices with TensorFlow: leave it "
                "at 1, or set KERAS_BACKEND=jax"
            )

    def sync_moving_averages(self, network) -> None:
        """Give TensorFlow's devices the moving averages of the first one, which checkpoints have.

        It lets each keep its own, so that a resumed run would measure another validation loss.
        """
        import keras

        if self.devices > 1 and keras.config.backend() == "tensorflow":
            for variable in network.non_trainable_variables:
                variable.assign(keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(variable)))

    def all_gather(self, text: str) -> list[str]:
        """Return what each process says, in their order. All of them have to call it."""
        if self.world_size == 1:
            return [text]
        import numpy as np
        from jax.experimental.multihost_utils import process_allgather

        content = np.frombuffer(text.encode(), "uint8")
        sizes = process_allgather(np.array([len(content)])).ravel()
        rows = process_allgather(np.pad(content, (0, max(sizes) - len(content))))
        return [row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)]

    def broadcast(self, content: Callable[[], bytes]) -> bytes:
        """Return in all processes what `content` returns in the first. All have to call it."""
        if self.world_size == 1:
            return content()
        import numpy as np
        from jax.experimental.multihost_utils import broadcast_one_to_all

        own = np.frombuffer(content() if self.is_main else b"", "uint8")
        size = int(broadcast_one_to_all(np.array(len(own))))
        own = own if self.is_main else np.zeros(size, "uint8")
        return broadcast_one_to_all(own).astype("uint8").tobytes()

    def raise_together(self, call: Callable[[], T]) -> T:
        """Return what `call` returns here; a UserError in one process is raised in all of them."""
        results, refusal = [], ""
        try:
            results.append(call())
        except UserError as error:
            if self.world_size == 1:
                raise
            refusal = str(error)
        for process, sentence in enumerate(self.all_gather(refusal)):
            if sentence:
                raise RaisedTogether(
                    sentence if process == 0 else f"{sentence} (process {process})"
                )
        return results[0]  # no process refused, so this one has a result

    def check_equal(self, texts: dict[str, str]) -> None:
        """Raise UserError in all processes if they have different texts under a name."""
        for what, text in texts.items():
            digests = self.all_gather(hashlib.sha256(text.encode()).hexdigest())
            if other := [i for i, digest in enumerate(digests) if digest != digests[0]]:
                raise RaisedTogether(
                    f"process {other[0]} has another {what} than process 0: start all of them with "
                    "the same command, on the same data"
                )

    def preempted(self) -> bool:
        """Return at the same step in all processes that SIGTERM has come to one; ask once a step.

        For one process see `signals.stop_on_signal`.
        """
        if self.world_size == 1:
            return False
        from jax.experimental.multihost_utils import reached_preemption_sync_point

        return reached_preemption_sync_point(next(_steps))


SINGLE_PROCESS = Cluster()


def tf_devices() -> list:
    """Return the devices that TensorFlow can train on: GPUs, or CPUs if it has none."""
    import tensorflow as tf

    return tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
