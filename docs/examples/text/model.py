"""A bag of words: the mean of the word vectors decides."""

import keras
from keras import layers

from .recipes import Config


def build(config: Config, vocabulary: int, classes: int) -> keras.Model:
    """Return a model, not compiled: word numbers (n, config.length) to logits (n, classes).

    `vocabulary` is the number of known words; 0 in the input fills up and does not count.
    """
    numbers = keras.Input((config.length,), dtype="int32", name="words")
    x = layers.Embedding(vocabulary + 2, config.units, mask_zero=True, name="embed")(numbers)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    x = layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(numbers, layers.Dense(classes, name="logits")(x), name="bag_of_words")
