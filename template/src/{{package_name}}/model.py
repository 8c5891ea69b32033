# Yours: gpu-ml-template gave this file once and never changes it.
"""Networks: build the one that config.model names, for an image shape and a number of classes.

Give the model and its layers names of their own: checkpoints are matched by name.
"""

import keras
from keras import layers

from .engine import UserError
from .recipes import Config


def build(config: Config, image_shape: tuple[int, int, int], classes: int) -> keras.Model:
    """Return a model, not compiled: uint8 images (n, *image_shape) to float logits (n, classes)."""
    images = keras.Input(image_shape, dtype="uint8", name="images")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(images)
    if config.data == "image_folder":
        x = layers.RandomFlip("horizontal", name="flip")(x)
        x = layers.RandomTranslation(0.1, 0.1, name="shift")(x)
    x = {"cnn": cnn, "resnet50": resnet50}[config.model](x)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = layers.Dropout(config.dropout, name="dropout")(x)
    # The last layer stays in float32: a softmax over 16-bit logits loses accuracy.
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=config.model)


def cnn(x):
    """Two convolutions a block, the second with a stride of 2, until less than 4 x 4 is left.

    Strides instead of max pooling: on JAX, ONNX has no max pooling that its runtimes accept.
    """
    for block, filters in enumerate((32, 64, 128, 256, 256)):
        if min(x.shape[1:3]) < 4:
            break
        for stride in (1, 2):
            name = f"{block}{'ab'[stride - 1]}"
            conv = layers.Conv2D(
                filters, 3, stride, padding="same", use_bias=False, name=f"conv{name}"
            )
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{name}")(conv(x))
            x = layers.Activation("relu", name=f"relu{name}")(x)
    return x


def resnet50(x):
    """ResNet-50 without its top, weights at random; its layers have names of their own."""
    if min(x.shape[1:3]) < 32:
        raise UserError("resnet50 needs images of 32 x 32 pixels or more: choose the model cnn")
    body = keras.applications.ResNet50(include_top=False, weights=None, input_shape=x.shape[1:])
    return body(x)
