# Managed by gpu-ml-template: copier update merges fixes into this file.
"""From a data set to batches: the order, reading ahead, and the time spent waiting for data."""

import collections
import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .config import UserError
from .distributed.cluster import SINGLE_PROCESS, Cluster

Examples = tuple[Any, ...]
"""Several examples: (inputs, targets) or (inputs, targets, sample weights).

Inputs and targets are NumPy arrays of any dtype, or pytrees of them, with the examples along the
first axis; sample weights are float32 of shape (n,)."""
Arrays = Examples


@dataclass(frozen=True)
class Split:
    """A part of a data set that is read in pieces, so it need not fit into memory."""

    size: int
    """Number of examples."""
    read: Callable[[np.ndarray], Examples]
    """Return the examples at the given indices, an int array of shape (n,).

    It is called from several threads and must return the same examples for the same indices."""
    targets: np.ndarray | None = field(default=None, compare=False, repr=False)
    """Targets of all examples, where they are known without reading: to count classes."""

    def __len__(self) -> int:
        return self.size


Augment = Callable[[Examples, np.random.Generator], Examples]


@dataclass(frozen=True, init=False)
class Dataset:
    """A train, a validation and a test split."""

    train: Split
    """The split to learn from."""
    validation: Split
    """The split that chooses the best epoch."""
    test: Split
    """The split that the best model is measured on once."""
    class_names: tuple[str, ...] = ()
    """Names of the classes, for classification."""
    digest: str = ""
    """Changes when the data does, where that is cheap to tell: a resumed run compares it."""
    target: str | None = None
    """Key of the target, if examples are dicts: all other keys are inputs."""
    augment: Augment | None = None
    """Return a changed training batch. Its generator depends on seed, epoch, batch and process."""
    overview: str = ""
    """What to know of the data before the first epoch: lines that a training prints."""
    read_file: Callable[[Path], Any] | None = None
    """Return the input in a file as the splits have it, without batch axis: for predictions."""
    preprocessing: dict[str, Any] = field(default_factory=dict)
    """What prediction needs of the data, such as a vocabulary, as values that JSON can hold.

    A run's config.json has it, and the data set that `predict` gives to the task has it, too."""

    def __init__(
        self,
        train: Any,
        validation: Any,
        test: Any,
        class_names: tuple[str, ...] = (),
        digest: str = "",
        target: str | None = None,
        augment: Augment | None = None,
        overview: str = "",
        read_file: Callable[[Path], Any] | None = None,
        preprocessing: dict[str, Any] | None = None,
    ) -> None:
        """Make a data set of three splits.

        Each is a `Split`, a tuple of arrays (inputs, targets), or anything with `len()` and integer
        indexing whose items are examples: a torch data set, a Grain source, a Hugging Face data
        set. UserError if one is empty or cannot be indexed.
        """
        fields = {"train": train, "validation": validation, "test": test}
        fields |= {"class_names": tuple(class_names), "digest": digest}
        fields |= {"target": target, "augment": augment}
        fields |= {"overview": overview, "read_file": read_file}
        fields |= {"preprocessing": preprocessing or {}}
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        self.__post_init__()

    def __post_init__(self) -> None:  # also called by the __init__ of a dataclass that extends it
        for name in ("train", "validation", "test"):
            object.__setattr__(self, name, as_split(getattr(self, name), name, self.target))

    def summary(self) -> dict:
        """Return what config.json keeps of the data, to notice later that it has changed."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        sizes = {name: split.size for name, split in splits.items()}
        found = {"classes": list(self.class_names), "examples": sizes, "digest": self.digest}
        return found | ({"preprocessing": self.preprocessing} if self.preprocessing else {})


def as_split(source: Any, name: str, target: str | None = None) -> Split:
    """Return a data source as a split; UserError if it is empty or cannot be indexed."""
    if isinstance(source, Split):
        split = source
    elif isinstance(source, tuple):
        split = _arrays(source, name)
    elif hasattr(source, "__len__") and hasattr(source, "__getitem__"):
        split = Split(len(source), lambda indices: _stack(source, indices, name, target))
    else:
        kind = type(source).__name__
        raise UserError(
            f"data.py: the {name} split is a {kind}, which has no len() or no indexing: use a"
            " Split, a tuple of arrays or a map-style data set"
        )
    if split.size == 0:
        raise UserError(f"data.py: the {name} split is empty")
    return split


def _arrays(arrays: tuple, name: str) -> Split:
    """Return a split over arrays, or pytrees of arrays, in memory."""
    import optree

    leaves = optree.tree_leaves(arrays)
    if not all(getattr(leaf, "shape", ()) for leaf in leaves):
        raise UserError(
            f"data.py: the {name} split needs NumPy arrays: convert lists with np.asarray"
        )
    sizes = {len(leaf) for leaf in leaves}
    if len(sizes) != 1:
        found = ", ".join(map(str, sorted(sizes)))
        raise UserError(f"data.py: the arrays of the {name} split have {found} examples")

    def read(indices: np.ndarray) -> Examples:
        return optree.tree_map(lambda array: array[indices], arrays)

    targets = arrays[1] if len(arrays) > 1 and isinstance(arrays[1], np.ndarray) else None
    return Split(sizes.pop(), read, targets)


def _stack(source: Sequence[Any], indices: np.ndarray, name: str, target: str | None) -> Examples:
    """Return the items of a map-style source at the given indices as one batch."""
    import optree

    items = [_example(source[int(index)], target) for index in indices]
    try:
        return optree.tree_map(lambda *leaves: np.stack(leaves), *items)
    except ValueError as error:
        listed = ", ".join(map(str, indices[:8]))
        raise UserError(
            f"data.py: examples {listed} of the {name} split differ in shape or structure: give"
            f" all of them the same ({error})"
        ) from None


def _example(item: Any, target: str | None) -> Examples:
    """Return an item of a source as (inputs, targets)."""
    if isinstance(item, dict) and target not in item:
        keys = ", ".join(map(str, item))
        raise UserError(f"data.py: examples have the keys {keys}: name one as target= of Dataset")
    if not isinstance(item, dict) or target is None:
        return tuple(item) if isinstance(item, list) else item
    inputs = {key: value for key, value in item.items() if key != target}
    return (next(iter(inputs.values())) if len(inputs) == 1 else inputs), item[target]


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
    """Number of data-loading threads."""
    cluster: Cluster = SINGLE_PROCESS
    """The processes that share each batch: this one reads its part, a slice of it, and no more.

    On several devices every batch is full, and a third array weighs what only fills it with 0."""
    augment: Callable[[Examples, np.random.Generator], Examples] | None = None
    """Changes a batch, with a generator that depends on `seed`, the batch and the process alone."""
    seed: tuple[int, ...] = ()
    """Seed and epoch."""
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

    def read(self, batch: int) -> Examples:
        """Return this process's part of a batch.

        On several devices and without an order, sample weights mark the examples that only fill
        the last batch. The mean of these weights over all batches is 1.
        """
        examples = self._read(batch)
        if self.augment is None:
            return examples
        random = np.random.default_rng((*self.seed, batch, self.cluster.rank))
        return self.augment(examples, random)

    def _read(self, batch: int) -> Examples:
        indices, cluster = self._indices(batch), self.cluster
        if cluster.devices == 1:
            return self.split.read(indices)
        part = self.batch_size // cluster.world_size
        here = slice(cluster.rank * part, (cluster.rank + 1) * part)
        full = np.pad(indices, (0, self.batch_size - len(indices)), "edge")[here]
        if self.order is not None:
            return self.split.read(full)
        weight = np.float32(len(self) * self.batch_size / self.split.size)
        real = np.arange(self.batch_size)[here] < len(indices)
        inputs, targets, *own = self.split.read(full)
        mark = real * weight
        if own:  # one weight per example, or several
            mark = mark.reshape(-1, *[1] * (own[0].ndim - 1)) * own[0]
        return inputs, targets, mark

    def __iter__(self) -> Iterator[Examples]:
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
    def own_errors(self) -> Generator[None]:
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
            weights = example[2] if len(example) > 2 else np.zeros(1)
            example = (*example[:2], weights.astype("float32"))
        if isinstance(example[0], list):
            raise UserError("data.py: TensorFlow takes no list of inputs: use a tuple or a dict")
        if self.augment is not None:
            example = self.augment(example, np.random.default_rng(0))
        signature = keras.tree.map_structure(
            lambda array: tf.TensorSpec((size, *array.shape[1:]), array.dtype), tuple(example)
        )
        options = tf.data.Options()
        options.experimental_optimization.inject_prefetch = False  # its thread would do the waiting
        options.autotune.enabled = False  # its thread holds up the end of an epoch, by seconds
        stream = tf.data.Dataset.from_generator(lambda: iter(self), output_signature=signature)
        return stream.with_options(options)


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """Return a permutation of range(size) that depends on the seed and the epoch alone."""
    return np.random.default_rng((seed, epoch)).permutation(size)
