"""A small network with one output: the logit of a failure."""

import keras
from keras import layers

from .recipes import Config


def build(config: Config, features: int) -> keras.Model:
    """Return a model, not compiled: floats (n, features) to float logits (n, 1)."""
    readings = keras.Input((features,), name="readings")
    x = readings
    for i in range(2):
        x = layers.Dense(config.units, use_bias=False, name=f"hidden{i}")(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.Activation("relu", name=f"relu{i}")(x)
    x = layers.Dropout(0.2, name="dropout")(x)
    return keras.Model(readings, layers.Dense(1, name="logit")(x), name="failures")
