"""A small network for tables, with its scaling inside: it takes raw measurements."""

import keras
from keras import layers

from .engine import Dataset
from .engine.tables import table_inputs, table_outputs
from .recipes import Config


def build(config: Config, dataset: Dataset) -> keras.Model:
    """Return a model, not compiled: columns by name to the target (n, 1) in its own unit."""
    inputs, x = table_inputs(dataset)
    for i in range(2):
        x = layers.Dense(config.units, activation="gelu", name=f"hidden{i}")(x)
        x = layers.Dropout(config.dropout, name=f"dropout{i}")(x)
    return keras.Model(inputs, table_outputs(dataset, x), name="diabetes")
