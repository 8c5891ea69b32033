"""Measure reading by our pipeline and by Grain, for ADR 16.

Run it with a Python that has a project's package and Grain, and two cores that are idle:
grain_reading.py PACKAGE FOLDER TURNS. FOLDER holds JPEGs, at any depth. All readers return
the same batches, which is checked. They take turns, and medians count.
"""

import importlib
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import grain
import numpy as np

BATCH, SIZE, THREADS = 32, 224, 4
images = importlib.import_module(f"{sys.argv[1]}.engine.images")
pipeline = importlib.import_module(f"{sys.argv[1]}.engine.pipeline")


@dataclass(frozen=True)
class Jpegs:
    """The images of a folder, repeated, and Python code that holds the interpreter's lock."""

    files: list[Path]
    python_s: float = 0.0

    def one(self, index: int) -> tuple[np.ndarray, np.int32]:
        until = time.thread_time() + self.python_s
        while time.thread_time() < until:
            pass
        path, how = self.files[index % len(self.files)], images.ImageReader(SIZE)
        return images.load_image(path, how), np.int32(index)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.stack([self.one(index)[0] for index in indices]), indices.astype("int32")


@dataclass(frozen=True)
class InMemory:
    pixels: np.ndarray

    def one(self, index: int) -> tuple[np.ndarray, np.int32]:
        return self.pixels[index], np.int32(index)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.pixels[indices], indices.astype("int32")


def ours(data, order: np.ndarray):
    return pipeline.Batches(pipeline.Split(len(order), data.read), BATCH, order, workers=THREADS)


def grain_batches(data, order: np.ndarray, workers: int = 0) -> Iterable:
    batches = grain.MapDataset.source(order).map(data.one).batch(BATCH, drop_remainder=True)
    threads = 1 if workers else THREADS
    ready = batches.to_iter_dataset(grain.ReadOptions(threads, 2 * threads))
    return ready.mp_prefetch(grain.MultiprocessingOptions(workers, 4)) if workers else ready


def grain_elements(data, order: np.ndarray) -> Iterable:
    examples = grain.MapDataset.source(order).map(data.one).to_iter_dataset()
    return examples.batch(BATCH, drop_remainder=True)


def grain_ours(data, order: np.ndarray) -> Iterable:
    """Our batches, with Grain in the place of our thread pool."""
    mine = ours(data, order)
    ready = grain.MapDataset.range(len(mine)).map(mine.read)
    return ready.to_iter_dataset(grain.ReadOptions(THREADS, 2 * THREADS))


READERS = {
    "ours": ours,
    "Grain, batches by threads": grain_batches,
    "Grain, examples by threads": grain_elements,
    "Grain, our batches by threads": grain_ours,
    "Grain, 2 processes": lambda data, order: grain_batches(data, order, workers=2),
}


def measure(make: Callable, data, order: np.ndarray) -> tuple[float, float, float]:
    """Return examples per second after the first batch, seconds to it, CPU ms per example."""
    cpu, began = sum(os.times()[:4]), time.perf_counter()
    batches = iter(make(data, order))
    seen = [next(batches)[1]]
    first = time.perf_counter() - began
    seen += [labels for _, labels in batches]
    rate = BATCH * (len(seen) - 1) / (time.perf_counter() - began - first)
    assert np.array_equal(np.concatenate(seen), order)
    batches.close()  # Grain's processes end, so their CPU time counts
    return rate, first, (sum(os.times()[:4]) - cpu) / len(order) * 1000


def main() -> None:
    jpegs = sorted(Path(sys.argv[2]).rglob("*.jpg"))
    cases = (
        (1, "JPEG", Jpegs(jpegs), 1024),
        (2, "JPEG", Jpegs(jpegs), 1024),
        (2, "JPEG and Python", Jpegs(jpegs, 0.002), 2048),
        (2, "in memory", InMemory(np.zeros((16384, 28, 28), "uint8")), 16384),
    )
    turns = range(int(sys.argv[3]))
    for cores, name, data, examples in cases:
        os.sched_setaffinity(0, range(cores))
        order = np.random.default_rng(0).permutation(examples)
        found = [[measure(make, data, order) for make in READERS.values()] for _ in turns]
        for reader, results in zip(READERS, zip(*found, strict=True), strict=True):
            rate, first, cpu = (statistics.median(column) for column in zip(*results, strict=True))
            row = f"{cores} {name:15} {reader:28} {rate:9,.0f}/s, first {first:.2f} s"
            print(f"{row}, CPU {cpu:.3f} ms", flush=True)


if __name__ == "__main__":
    main()
