"""Train image_folder on JPEGs of 224 x 224 pixels, and say how long it waits for them.

Run it with a project's Python: waiting.py PACKAGE EPOCHS. The pictures are made here: noise
of all scales, 13 KB each on average. Its last line is JSON: examples per second and the share of
waiting of each epoch but the first.
"""

import dataclasses
import importlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PACKAGE, EPOCHS = sys.argv[1], int(sys.argv[2])
recipes = importlib.import_module(f"{PACKAGE}.recipes")
train = importlib.import_module(f"{PACKAGE}.engine.train")
SIZE, PICTURES = 224, 200


def picture(random: np.random.Generator) -> Image.Image:
    """Return a picture with structure at all scales, as photographs have."""
    total = np.zeros((SIZE, SIZE, 3))
    for scale in (4, 8, 16, 32, 64, 224):
        noise = Image.fromarray(random.integers(0, 256, (scale, scale, 3), "uint8"))
        total += np.asarray(noise.resize((SIZE, SIZE), Image.BICUBIC)) / scale**0.5
    return Image.fromarray((255 * total / total.max()).astype("uint8"))


def main() -> None:
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for i in range(PICTURES):
            path = Path(folder, "raw", "ab"[i % 2], f"{i}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(random).save(path, quality=90)
        sizes = [path.stat().st_size for path in Path(folder).rglob("*.jpg")]
        print(f"{len(sizes)} pictures of {np.mean(sizes) / 1000:.0f} KB on average")
        recipe = dataclasses.replace(
            recipes.image_folder(), data_dir=Path(folder, "raw"), image_size=SIZE, epochs=EPOCHS + 1
        )
        train.train(recipe, Path(folder, "run"))
        lines = Path(folder, "run", "metrics.jsonl").read_text().splitlines()[1:]
    rows = [json.loads(line) for line in lines]
    print(json.dumps({name: [r[name] for r in rows] for name in ("examples_per_s", "data_wait")}))


main()
