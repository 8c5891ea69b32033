"""Handwritten digits, painted in some color on a piece of a photograph, and masks of them."""

import numpy as np
from sklearn.datasets import load_digits, load_sample_images

from .engine import Dataset, Examples
from .recipes import Config

SIZE = 32


def load(config: Config) -> Dataset:
    """Return images (n, 32, 32, 3) uint8 and masks (n, 32, 32) int32: 1 is a digit.

    No scan of a digit and no part of a photograph is in two splits.
    """
    order = np.random.default_rng(0).permutation(1797)
    splits = (
        paint(order[:1257], columns=slice(0, 448), images=round(0.7 * config.images)),
        paint(order[1257:1527], columns=slice(448, 544), images=round(0.15 * config.images)),
        paint(order[1527:], columns=slice(544, 640), images=round(0.15 * config.images)),
    )
    return Dataset(*splits, class_names=("photograph", "digit"), augment=flip)


def paint(scans: np.ndarray, columns: slice, images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return so many images of these scans of digits on these columns of photographs, and masks."""
    random = np.random.default_rng(0)
    photos = np.stack(load_sample_images().images)[:, :, columns]
    digits = load_digits().images[random.choice(scans, images)]
    strokes = digits.repeat(3, axis=1).repeat(3, axis=2)
    painted = np.zeros((images, SIZE, SIZE, 3), "uint8")
    masks = np.zeros((images, SIZE, SIZE), "int32")
    for image, mask, stroke in zip(painted, masks, strokes, strict=True):
        photo = photos[random.integers(len(photos))]
        y, x = random.integers(0, np.subtract(photo.shape[:2], SIZE))
        image[:] = photo[y : y + SIZE, x : x + SIZE]
        mask[4:28, 4:28] = stroke > 6  # of 16
        image[mask == 1] = random.integers(0, 256, 3)
    return painted, masks


def flip(examples: Examples, random: np.random.Generator) -> Examples:
    """Return a training batch, half of its images mirrored together with their masks."""
    images, masks = examples
    mirrored = random.random(len(images)) < 0.5
    for array in (images, masks):
        array[mirrored] = array[mirrored, :, ::-1]
    return images, masks
