# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The networks of the GPU check and of the benchmark, and the task that trains them."""

import keras
from keras import layers

from ..task import Task
from .workload import CLASSES, WorkloadConfig, digits, synthetic


class Workload(Task):
    """Images of one of ten classes: a WorkloadConfig and a data set of workload.py."""

    config: WorkloadConfig
    tag = "image-classification"

    def build(self) -> keras.Model:
        """Return a model, not compiled: uint8 images to float32 logits of shape (n, 10)."""
        images, _ = self.example
        inputs = keras.Input(images.shape[1:], dtype="uint8", name="images")
        x = layers.Rescaling(1 / 127.5, offset=-1, name="rescale")(inputs)
        x = {"cnn": cnn, "resnet50": resnet50}[self.config.model](x)
        x = layers.GlobalAveragePooling2D(name="pool")(x)
        x = layers.Dropout(0.3, name="dropout")(x)
        # The last layer stays in float32: a softmax over 16-bit logits loses accuracy.
        logits = layers.Dense(CLASSES, dtype="float32", name="logits")(x)
        return keras.Model(inputs, logits, name=self.config.model)

    def loss(self) -> keras.losses.Loss:
        """Return the cross-entropy of integer labels and logits, in nats."""
        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def metrics(self) -> list[str]:
        """Return the accuracy."""
        return ["accuracy"]


def synthetic_task(config: WorkloadConfig) -> Workload:
    """Return the task on a batch of random images: for speed, its accuracy has no meaning."""
    return Workload(config, synthetic(config))


def digits_task(config: WorkloadConfig) -> Workload:
    """Return the task on scans of handwritten digits: it learns within seconds."""
    return Workload(config, digits())


def cnn(x: keras.KerasTensor) -> keras.KerasTensor:
    """Two convolutions a block, the second with a stride of 2, until less than 4 x 4 is left.

    Maps images (n, height, width, channels) to features (n, height', width', filters).
    """
    for block, filters in enumerate((32, 64, 128, 256, 256)):
        if min(side or 0 for side in x.shape[1:3]) < 4:
            break
        for stride in (1, 2):
            name = f"{block}{'ab'[stride - 1]}"
            convolution = layers.Conv2D(
                filters, 3, stride, padding="same", use_bias=False, name=f"conv{name}"
            )
            x = layers.BatchNormalization(momentum=0.9, name=f"norm{name}")(convolution(x))
            x = layers.Activation("relu", name=f"relu{name}")(x)
    return x


def resnet50(x: keras.KerasTensor) -> keras.KerasTensor:
    """ResNet-50 without its top, with random weights: images of 32 x 32 pixels or more."""
    pixels = keras.Input(x.shape[1:], name="pixels")
    body = keras.applications.ResNet50(
        include_top=False, weights=None, input_tensor=pixels, name="resnet50_body"
    )
    return body(x)
