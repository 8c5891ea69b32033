# Yours: gpu-ml-template gave this file once and never changes it.
"""Data sets: load the train, validation and test split that config.data names.

Images are uint8 (0 to 255) of shape (height, width, channels), labels are int32 class numbers.
"""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np

from .engine import Dataset, Split, UserError, read_images
from .recipes import Config

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg"}


def load(config: Config) -> Dataset:
    """Return the data set of a config; UserError if the data is not there or cannot be used."""
    sets = {"digits": digits, "image_folder": image_folder}
    return sets[config.data](config)


def digits(config: Config) -> Dataset:
    """Return scikit-learn's 1,797 scans of digits, 8 x 8 pixels, split 70/15/15 class by class."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    raw = load_digits()
    images = (raw.images[..., None] * (255 / 16)).astype("uint8")
    labels = raw.target.astype("int32")
    everything = np.arange(len(labels))
    train, rest = train_test_split(everything, test_size=0.3, stratify=labels, random_state=0)
    validation, test = train_test_split(rest, test_size=0.5, stratify=labels[rest], random_state=0)
    splits = ((images[part], labels[part]) for part in (train, validation, test))
    return Dataset(*splits, class_names=tuple("0123456789"))


def image_folder(config: Config) -> Dataset:
    """Return the images below config.data_dir, a folder per class, split 70/15/15 class by class.

    A hash of the file names chooses the split: seeds have no effect, new images move few others.
    """
    root = config.data_dir
    folders = sorted(p for p in root.glob("[!.]*") if p.is_dir())
    if len(folders) < 2:
        raise UserError(
            f"{root} holds {len(folders)} class folders: "
            f"put images into two or more, {root}/<class>/*.png or *.jpg"
        )
    parts: dict[str, list[tuple[Path, int]]] = {"test": [], "validation": [], "train": []}
    for label, folder in enumerate(folders):
        files = [(p, label) for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES]
        if len(files) < 3:
            raise UserError(
                f"{folder} holds {len(files)} images: a class needs at least 3, one for each part"
            )
        files.sort(
            key=lambda file: hashlib.sha256(str(file[0].relative_to(root)).encode()).digest()
        )
        held_out = max(1, round(0.15 * len(files)))
        parts["test"] += files[:held_out]
        parts["validation"] += files[held_out : 2 * held_out]
        parts["train"] += files[2 * held_out :]
    splits = {
        name: Split(len(files), partial(read_images, files, size=config.image_size))
        for name, files in parts.items()
    }
    seen = [
        f"{path.relative_to(root)} {path.stat().st_size}"
        for part in parts.values()
        for path, _ in part
    ]
    digest = hashlib.sha256("\n".join(seen).encode()).hexdigest()
    return Dataset(
        splits["train"],
        splits["validation"],
        splits["test"],
        class_names=tuple(folder.name for folder in folders),
        digest=digest,
    )
