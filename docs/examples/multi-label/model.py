"""A small convolutional network with a logit for each label."""

import keras
from keras import layers

from .recipes import Config


def build(config: Config, image_shape: tuple[int, int, int], labels: int) -> keras.Model:
    """Return a model, not compiled: uint8 images (n, *image_shape) to float logits (n, labels)."""
    images = keras.Input(image_shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(images)
    for i, stride in enumerate((1, 2, 2)):
        filters, options = config.filters * 2**i, {"padding": "same", "use_bias": False}
        x = layers.Conv2D(filters, 3, stride, name=f"conv{i}", **options)(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"norm{i}")(x)
        x = layers.Activation("relu", name=f"relu{i}")(x)
    x = layers.GlobalMaxPooling2D(name="anywhere")(x)
    logits = layers.Dense(labels, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="digits_in_a_grid")
