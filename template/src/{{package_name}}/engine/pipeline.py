# Managed by gpu-ml-template: copier update merges fixes into this file.
"""From a data set to batches: the order, reading ahead, and the time spent waiting for data."""

import collections
import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from .distributed.cluster import ALONE, Cluster

Arrays = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class Split:
    """A part of a data set that is read in pieces, so it need not fit into memory."""

    size: int
    """Number of examples."""
    read: Callable[[np.ndarray], Arrays]
    """Examples at given indices: images (n, height, width, channels) uint8, labels (n,) int32.

    It is called from several threads and must give the same examples for the same indices."""


@dataclass(frozen=True)
class Dataset:
    """What data.load returns: to learn from, to choose the best epoch by, and to judge it on."""

    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    digest: str = ""
    """Changes when the data does, where that is cheap to tell: a resumed run compares it."""

    def summary(self) -> dict:
        """Return what config.json keeps of the data, to notice later that it has changed."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        sizes = {name: split.size for name, split in splits.items()}
        return {"classes": list(self.class_names), "examples": sizes, "digest": self.digest}


@dataclass
class Batches:
    """The batches of one epoch, read ahead by threads."""

    split: Split
    batch_size: int
    """Examples of a batch, in all processes together."""
    order: np.ndarray | None = None
    """Indices in training order: an incomplete last batch is left out. None: all, as they come."""
    start: int = 0
    """Batches to leave out at the front, to go on in the middle of an epoch."""
    workers: int = 4
    cluster: Cluster = ALONE
    """The processes that share each batch: this one reads its part, a slice of it, and no more.

    On several devices every batch is full, and a third array weighs what only fills it with 0."""
    waited: float = field(default=0.0, init=False)
    """Seconds that the host stood still because no batch was ready.

    For the device this is an upper bound: a framework that runs ahead may still have work for it.
    """
    error: Exception | None = field(default=None, init=False)
    """What reading raised; frameworks wrap it beyond recognition on its way up, see own_errors."""

    def __len__(self) -> int:
        """Number of batches, those left out at the front included."""
        if self.order is not None:
            return len(self.order) // self.batch_size
        return -(-self.split.size // self.batch_size)

    def _indices(self, batch: int) -> np.ndarray:
        order = np.arange(self.split.size) if self.order is None else self.order
        return order[batch * self.batch_size : (batch + 1) * self.batch_size]

    def read(self, batch: int) -> Arrays:
        """Return this process's part of a batch: images, labels and, on several devices, weights.

        The weights are there if no order is. Their mean over all batches is 1.
        """
        indices, cluster = self._indices(batch), self.cluster
        if cluster.devices == 1:
            return self.split.read(indices)
        part = self.batch_size // cluster.processes
        here = slice(cluster.process * part, (cluster.process + 1) * part)
        full = np.pad(indices, (0, self.batch_size - len(indices)), "edge")[here]
        if self.order is not None:
            return self.split.read(full)
        weight = np.float32(len(self) * self.batch_size / self.split.size)
        real = np.arange(self.batch_size)[here] < len(indices)
        return *self.split.read(full), real * weight

    def __iter__(self) -> Iterator[Arrays]:
        with ThreadPoolExecutor(self.workers) as pool:
            ahead: collections.deque = collections.deque()
            for batch in range(self.start, len(self)):
                last = min(batch + 2 * self.workers, len(self))
                while batch + len(ahead) < last:
                    ahead.append(pool.submit(self.read, batch + len(ahead)))
                began = time.perf_counter()
                try:
                    arrays = ahead.popleft().result()
                except Exception as error:
                    self.error = error
                    raise
                self.waited += time.perf_counter() - began
                yield arrays

    @contextlib.contextmanager
    def own_errors(self) -> Iterator[None]:
        """Raise what reading raised instead of what a framework made of it."""
        try:
            yield
        except Exception as error:
            raise (self.error or error) from None

    def feed(self):
        """Return the batches as Keras takes them on this backend, with no further reading ahead."""
        import keras

        if keras.config.backend() != "tensorflow":
            return iter(self)
        import tensorflow as tf

        full = self.order is not None or self.cluster.devices > 1  # XLA likes fixed shapes
        size = self.batch_size if full else None
        example = self.split.read(np.array([0]))
        if self.order is None and self.cluster.devices > 1:
            example += (np.zeros(1, "float32"),)
        signature = tuple(tf.TensorSpec((size, *array.shape[1:]), array.dtype) for array in example)
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # its thread would do the waiting
        options.autotune.enabled = False  # its thread holds up the end of an epoch, by seconds
        stream = tf.data.Dataset.from_generator(lambda: iter(self), output_signature=signature)
        return stream.with_options(options)


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of range(size) that depends on the seed and the epoch alone."""
    return np.random.default_rng((seed, epoch)).permutation(size)
