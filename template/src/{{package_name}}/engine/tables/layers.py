# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The first and the last layers of a model for tables: it takes raw numbers and scales them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..pipeline import Dataset
from .columns import KNOWN, Columns, key_of

if TYPE_CHECKING:
    import keras


def table_inputs(dataset: Dataset) -> tuple[dict[str, keras.KerasTensor], keras.KerasTensor]:
    """Return the inputs of a model by key, and all of them as one tensor of features (n, k).

    Numbers are centred on the median of the training split and divided by its standard deviation.
    A missing one becomes the median, and a second feature of each number tells that it was missing.
    Categories become a vector each, texts the mean of the vectors of their words. All layers are
    Keras' own, so `model.keras` loads anywhere.
    """
    import keras
    from keras import layers

    columns, features = Columns.of(dataset), []
    inputs: dict[str, Any] = {}
    for name in columns.numeric:
        inputs[key_of(name)] = keras.Input((1,), dtype="float32", name=key_of(name))
    if columns.numeric:
        # In float32 whatever the precision: 16 bits do not tell the year 2015 from 2016.
        exact: dict[str, Any] = {"dtype": "float32"}
        numbers = list(inputs.values())
        raw = (
            layers.Concatenate(name="table_numbers", **exact)(numbers)
            if numbers[1:]
            else numbers[0]
        )
        center, spread = zip(*columns.numeric.values(), strict=True)
        variance = [value**2 for value in spread]
        scale = layers.Normalization(mean=center, variance=variance, name="table_scale", **exact)
        missing = keras.ops.isnan(raw)
        features += [
            keras.ops.where(missing, 0.0, scale(raw)),
            keras.ops.cast(missing, "float32"),
        ]
    for name, known in columns.categorical.items():
        key = key_of(name)
        inputs[key] = keras.Input((1,), dtype="int32", name=key)
        # With zeros a category that the training split lacks has no effect.
        size, zeros = vector_size(len(known)), "zeros"
        embed = layers.Embedding(KNOWN + len(known), size, zeros, name=f"table_embed_{key}")
        features.append(layers.Flatten(name=f"table_flat_{key}")(embed(inputs[key])))
    for name, known in columns.text.items():
        key = key_of(name)
        inputs[key] = keras.Input((columns.length,), dtype="int32", name=key)
        size = vector_size(len(known))
        embed = layers.Embedding(
            KNOWN + len(known), size, mask_zero=True, name=f"table_embed_{key}"
        )
        features.append(layers.GlobalAveragePooling1D(name=f"table_mean_{key}")(embed(inputs[key])))
    both = layers.Concatenate(name="table_features")(features) if features[1:] else features[0]
    return inputs, both


def table_outputs(dataset: Dataset, x: keras.KerasTensor) -> keras.KerasTensor:
    """Return the output of a model: logits (n, classes), or the target (n, 1) in its own unit."""
    from keras import layers

    columns = Columns.of(dataset)
    if not columns.target_scale:
        # float32: a softmax over 16-bit logits loses accuracy.
        return layers.Dense(len(dataset.class_names), dtype="float32", name="table_logits")(x)
    mean, spread = columns.target_scale
    x = layers.Dense(1, dtype="float32", name="table_scaled")(x)
    return layers.Rescaling(spread, offset=mean, dtype="float32", name="table_target")(x)


def vector_size(known: int) -> int:
    """Return how many numbers describe a category or a word, by fastai's rule of thumb."""
    return min(64, round(1.6 * (known + KNOWN) ** 0.56))
