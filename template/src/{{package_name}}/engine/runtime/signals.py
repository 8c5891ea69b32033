# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Stopping in order: a scheduler's SIGTERM or a person's Ctrl-C lets the step end and saves."""

import contextlib
import signal
import sys
import threading
from collections.abc import Generator

import keras

from ..distributed.cluster import Cluster
from . import devices


class Interrupted(Exception):
    """SIGTERM or Ctrl-C arrived; the run is saved and can be resumed."""


@contextlib.contextmanager
def stop_on_signal(cluster: Cluster) -> Generator[threading.Event]:
    """Set the event at SIGTERM or Ctrl-C; a second one ends the process. Threads get none.

    One of several processes cannot stop by itself: `StepCallback` sets the event in all of them.
    """
    stop, before = threading.Event(), {}

    def handler(number: int, frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    if cluster.world_size == 1 and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, handler)
    try:
        yield stop
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class StepCallback(keras.callbacks.Callback):
    """Counts an epoch's steps, shows them on a terminal, and ends the epoch when `stop` is set.

    It works at the beginning of steps: Keras waits for a step to end only for callbacks that ask.
    """

    def __init__(
        self,
        name: str,
        network: keras.Model,
        start: int,
        steps: int,
        stop: threading.Event,
        cluster: Cluster,
    ) -> None:
        super().__init__()
        self.cluster, self.network = cluster, network
        self.name, self.start, self.steps, self.stop = name, start, steps, stop
        self.done = start
        """Steps of the epoch that are done, the `start` ones included, once the epoch has ended."""
        self.metrics = [devices.to_numpy(variable) for variable in network.metrics_variables]
        self.random_state = devices.random_state()

    def on_train_batch_begin(self, batch, logs=None) -> None:
        if self.start and batch == 0:  # what fit has just reset belongs to the interrupted epoch
            for variable, value in zip(self.network.metrics_variables, self.metrics, strict=True):
                variable.assign(value)
            devices.set_random_state(self.random_state)
        self.done = self.start + batch + self.network.steps_per_execution
        if self.cluster.preempted():
            self.stop.set()
        if self.stop.is_set():
            self.network.stop_training = True
        if sys.stdout.isatty():
            bar = "=" * (20 * self.done // self.steps)
            print(f"\r{self.name} [{bar:20}] {self.done}/{self.steps}", end="", flush=True)
