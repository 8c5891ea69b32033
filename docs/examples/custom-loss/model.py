"""A network whose outputs are quantiles in rising order."""

import keras
import numpy as np
from keras import layers, ops

from .recipes import Config


def build(config: Config, hours: np.ndarray, minutes: np.ndarray) -> keras.Model:
    """Return a model from hours (n, 1) to quantiles of the minutes (n, quantiles).

    The arrays are the training split: inputs and outputs are scaled to it.
    """
    inputs = keras.Input((1,), name="hours")
    x = layers.Normalization(mean=hours.mean(), variance=hours.var(), name="normalize")(inputs)
    for i in range(2):
        x = layers.Dense(config.units, activation="gelu", name=f"hidden{i}")(x)
    x = layers.Dense(len(config.quantiles), name="steps")(x)
    # A quantile is the one below it and a positive step: they cannot cross.
    steps = ops.concatenate([x[:, :1], ops.softplus(x[:, 1:])], axis=1)
    x = ops.cumsum(steps, axis=1)
    x = layers.Rescaling(minutes.std(), offset=minutes.mean(), name="minutes")(x)
    return keras.Model(inputs, x, name="quantiles")
