"""Scikit-learn's digits as pairs of noise and an image.

The generator draws from the noise, and the discriminator sees the image. Noise comes with the data,
so that a batch depends on seed, epoch and number alone, and a resumed run continues exactly.
"""

import numpy as np
from sklearn.datasets import load_digits

from .engine import Dataset, Examples
from .recipes import Config


def load(config: Config) -> Dataset:
    """Return noise (n, config.noise) and images (n, 8, 8, 1) from 0 to 1, both float32."""
    images = (load_digits().images[..., None] / 16).astype("float32")
    random = np.random.default_rng(0)
    noise = random.normal(size=(len(images), config.noise)).astype("float32")
    parts = np.split(random.permutation(len(images)), (1285, 1541))
    return Dataset(*((noise[part], images[part]) for part in parts), augment=new_noise)


def new_noise(examples: Examples, random: np.random.Generator) -> Examples:
    """Return a training batch with other noise; validation and test always have the same."""
    noise, images = examples
    return random.normal(size=noise.shape).astype("float32"), images
