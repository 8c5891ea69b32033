"""A feature extractor and a head: the first keeps what it has learned, the second is new."""

import keras
from keras import layers

from .recipes import Config


def build(config: Config, image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a model, not compiled: uint8 images (n, *image_shape) to float logits (n, classes).

    A frozen feature extractor runs in inference mode, its batch statistics included.
    """
    features = keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Rescaling(1 / 127.5, offset=-1, name="rescale"),
            *(block for i, filters in enumerate((32, 64)) for block in convolution(i, filters)),
            layers.GlobalAveragePooling2D(name="pool"),
        ],
        name="features",
    )
    features.trainable = not config.freeze
    images = keras.Input(image_shape, dtype="uint8", name="images")
    logits = layers.Dense(classes, dtype="float32", name="logits")(features(images))
    return keras.Model(images, logits, name="digits")


def convolution(i: int, filters: int) -> list[layers.Layer]:
    """Return the layers of a convolution, its stride is 2 from the second one on."""
    return [
        layers.Conv2D(filters, 3, 1 + (i > 0), padding="same", use_bias=False, name=f"conv{i}"),
        layers.BatchNormalization(momentum=0.9, name=f"norm{i}"),
        layers.Activation("relu", name=f"relu{i}"),
    ]
