"""Read JPEGs of 500 x 375 pixels as training does, against what Keras and torchvision have.

Run it with a project's Python: reading.py PACKAGE RIVAL TURNS, where RIVAL is keras (TensorFlow) or
torchvision. The images are made here, noise of all scales, 40 KB each on average. Its last line is
JSON: images per second of each way, in turns, and the seconds of the check of all files.
"""

import contextlib
import functools
import importlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE, RIVAL, TURNS = sys.argv[1], sys.argv[2], int(sys.argv[3])
engine = importlib.import_module(f"{PACKAGE}.engine")
pipeline = importlib.import_module(f"{PACKAGE}.engine.pipeline")
SIDE, BATCH, MADE, FILES, CLASSES = 224, 32, 400, 10_000, 4


def make(root: Path) -> None:
    """Make the images, each with several names."""
    random = np.random.default_rng(0)
    for i in range(MADE):
        pixels = np.zeros((375, 500, 3), "float32")
        for scale in (4, 8, 16, 32, 64, 128):
            noise = random.integers(0, 256, (375 // scale + 2, 500 // scale + 2, 3), "uint8")
            pixels += np.asarray(Image.fromarray(noise).resize((500, 375))) * np.float32(scale**0.5)
        pixels += random.normal(0, 150, pixels.shape).astype("float32")
        pixels -= pixels.min()
        first = root / f"class-{i % CLASSES}" / f"{i}.jpg"
        first.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 255 / pixels.max()).astype("uint8")).save(first, quality=90)
        for copy in range(1, FILES // MADE):
            os.link(first, first.with_stem(f"{i}-{copy}"))


def ours(
    root: Path, cache_dir: Path, resize: str, cache: bool = False, feed: bool = True
) -> Callable[[], Iterable]:
    """Return an epoch over the training split, in order, as the framework takes it, or as NumPy."""
    with contextlib.redirect_stdout(io.StringIO()):
        dataset = engine.load_image_folder(root, SIDE, resize, cache=cache, cache_dir=cache_dir)
    split = dataset.train
    batches = functools.partial(pipeline.Batches, split, BATCH, order=np.arange(split.size))
    return lambda: batches().feed() if feed else iter(batches())


def keras_folder(root: Path, **options: bool) -> Callable[[], Iterable]:
    import keras

    size = {"image_size": (SIDE, SIDE), "batch_size": BATCH, "shuffle": False, "verbose": False}
    return lambda: keras.utils.image_dataset_from_directory(root, **size, **options)


def torchvision_folder(root: Path) -> Callable[[], Iterable]:
    import torch
    from torchvision import datasets, transforms

    steps = transforms.Compose([transforms.Resize((SIDE, SIDE)), transforms.PILToTensor()])
    folder = datasets.ImageFolder(root, steps)
    workers = len(os.sched_getaffinity(0))
    return lambda: torch.utils.data.DataLoader(folder, BATCH, num_workers=workers)


def rate(epoch: Callable[[], Iterable], most: int = 4000) -> float:
    """Return images per second, of an epoch or its first part."""
    began, images = time.perf_counter(), 0
    for inputs, *_ in epoch():
        images += len(inputs)
        if images >= most:
            break
    return images / (time.perf_counter() - began)


def main() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        root, cache_dir = Path(folder, "raw"), Path(folder, "cache")
        make(root)
        began = time.perf_counter()
        ways = {"fit": ours(root, cache_dir, "fit")}
        found["check, s"] = [time.perf_counter() - began]
        ways |= {name: ours(root, cache_dir, name) for name in ("crop", "stretch")}
        if RIVAL == "keras":
            ways["keras, stretch"] = keras_folder(root)
            ways["keras, fit"] = keras_folder(root, pad_to_aspect_ratio=True)
        else:
            ways["torchvision, stretch"] = torchvision_folder(root)
        cached = ours(root, cache_dir, "fit", cache=True)
        everything = functools.partial(rate, most=FILES)
        found["first epoch with cache"] = [everything(cached)] * TURNS
        cached_numpy = ours(root, cache_dir, "fit", cache=True, feed=False)
        for _ in range(TURNS):
            for name, epoch in ways.items():
                found.setdefault(name, []).append(rate(epoch))
            found.setdefault("with cache", []).append(everything(cached))
            found.setdefault("with cache, as NumPy", []).append(everything(cached_numpy))
        found["whole epoch, s"] = [FILES / everything(ways["fit"])]
        for cores in (1, 2, 4, 8, 16):
            if cores <= (os.cpu_count() or 1):
                os.sched_setaffinity(0, range(cores))
                found[f"fit, cores: {cores}"] = [rate(ways["fit"]) for _ in range(TURNS)]
    print(json.dumps(found))


main()
