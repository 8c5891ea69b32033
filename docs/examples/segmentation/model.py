"""A small U-Net: down to a quarter of the size and back, with the details of the way down."""

import keras
from keras import layers

from .recipes import Config


def build(config: Config, image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a model, not compiled: uint8 images (n, height, width, channels), both sizes
    multiples of 4, to float logits (n, height, width, classes).
    """
    images = keras.Input(image_shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(images)
    full = convolve(x, config.filters, "full")
    half = convolve(full, 2 * config.filters, "half", stride=2)
    x = convolve(half, 4 * config.filters, "quarter", stride=2)
    for name, details in (("up_half", half), ("up_full", full)):
        x = layers.UpSampling2D(name=f"{name}_resize")(x)
        x = layers.Concatenate(name=f"{name}_join")([x, details])
        x = convolve(x, details.shape[-1], name)
    logits = layers.Conv2D(classes, 1, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name="unet")


def convolve(x, filters: int, name: str, stride: int = 1):
    """Return a convolution of 3 x 3 pixels, normalized, of images (n, height, width, any)."""
    options = {"padding": "same", "use_bias": False}
    x = layers.Conv2D(filters, 3, stride, name=f"{name}_conv", **options)(x)
    x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
    return layers.Activation("relu", name=f"{name}_relu")(x)
