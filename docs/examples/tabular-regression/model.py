"""A small network for tables, with its scaling inside: it takes raw measurements."""

import keras
import numpy as np
from keras import layers

from .recipes import Config


def build(config: Config, features: np.ndarray, targets: np.ndarray) -> keras.Model:
    """Return a model, not compiled: floats (n, features) to the target (n, 1) in its own unit.

    The arrays are the training split: inputs and outputs are scaled to it.
    """
    inputs = keras.Input(features.shape[1:], name="measurements")
    normalize = layers.Normalization(name="normalize")
    normalize.adapt(features)
    x = normalize(inputs)
    for i in range(2):
        x = layers.Dense(config.units, activation="gelu", name=f"hidden{i}")(x)
        x = layers.Dropout(config.dropout, name=f"dropout{i}")(x)
    x = layers.Dense(1, name="scaled")(x)
    x = layers.Rescaling(float(targets.std()), offset=float(targets.mean()), name="progression")(x)
    return keras.Model(inputs, x, name="diabetes")
