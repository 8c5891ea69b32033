# Yours: gpu-ml-template gave this file once and never changes it.
"""Data sets: load the train, validation and test split that config.data names.

Images are uint8 (0 to 255) of shape (height, width, channels), labels are int32 class numbers.
"""

import numpy as np

from .engine import Dataset, load_image_folder
from .recipes import Config


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
    """Return the images below config.data_dir: a folder per class, or train/, val/ and test/.

    What is left out, split and checked, and how: see load_image_folder.
    """
    return load_image_folder(
        config.data_dir,
        config.image_size,
        resize=config.resize,
        skip_bad=config.skip_bad,
        cache=config.cache,
    )
