"""A forecast as a linear one and a correction, both of the scaled past."""

import keras
import numpy as np
from keras import layers

from .recipes import Config


def build(config: Config, past: np.ndarray) -> keras.Model:
    """Return a model, not compiled: floats (n, window) to floats (n, horizon), in the same unit.

    `past` holds windows of the training split: inputs and outputs are scaled to it.
    """
    mean, deviation = float(past.mean()), float(past.std())
    inputs = keras.Input((config.window,), name="past")
    x = layers.Rescaling(1 / deviation, offset=-mean / deviation, name="scale")(inputs)
    hidden = layers.Dense(config.units, activation="gelu", name="hidden")(x)
    parts = [
        layers.Dense(config.horizon, name="linear")(x),
        layers.Dense(config.horizon, name="correction")(hidden),
    ]
    x = layers.Add(name="forecast")(parts)
    return keras.Model(inputs, layers.Rescaling(deviation, mean, name="unscale")(x), name="demand")
