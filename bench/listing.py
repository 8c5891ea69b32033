"""Load an image_folder of many files and read some batches of two epochs: seconds and memory.

Run in a project's environment: listing.py PACKAGE FILES. The files are links to ten pictures.
"""

import dataclasses
import importlib
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image


def main() -> None:
    package, files = sys.argv[1], int(sys.argv[2])
    names = ("recipes", "data", "engine.pipeline")
    recipes, data, pipeline = (importlib.import_module(f"{package}.{name}") for name in names)
    importlib.import_module(f"{package}.engine.train")  # with the framework, as in a training
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as scratch:
        for label in range(10):
            folder = Path(scratch, f"class{label}")
            folder.mkdir()
            first = folder / "0.jpg"
            Image.fromarray(random.integers(0, 256, (64, 64, 3), "uint8")).save(first)
            for number in range(1, files // 10):
                os.link(first, folder / f"{number}.jpg")
        values = dataclasses.replace(recipes.image_folder(), data_dir=Path(scratch))
        began = time.perf_counter()
        dataset = data.load(values)
        loading = time.perf_counter() - began
        listed = []
        sys.addaudithook(
            lambda name, _: name in ("os.listdir", "os.scandir") and listed.append(name)
        )
        began = time.perf_counter()
        for epoch in range(2):
            order = pipeline.epoch_order(dataset.train.size, 0, epoch)[: 20 * 32]
            for _ in pipeline.Batches(dataset.train, 32, order):
                pass
        epochs, listings = time.perf_counter() - began, len(listed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    found = {"loading": loading, "batches": epochs, "peak_gib": peak, "listings": listings}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
