"""A generative adversarial network with a training step of its own, for TensorFlow."""

import math

import keras
import tensorflow as tf
from keras import layers, ops


@keras.saving.register_keras_serializable("gan")
class GAN(keras.Model):
    """A generator draws images from noise; a discriminator learns to tell them from real ones."""

    def __init__(self, noise: int, image_shape: tuple[int, int, int], units: int, **options):
        super().__init__(**options)
        self.arguments = {"noise": noise, "image_shape": image_shape, "units": units}
        self.generator = generator(noise, image_shape, units)
        self.discriminator = discriminator(image_shape, units)
        names = ("generator_loss", "discriminator_loss", "energy_distance")
        self.results = [keras.metrics.Mean(name=name) for name in names]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return self.results

    def get_config(self) -> dict:
        return super().get_config() | self.arguments

    def compile(self, generator_optimizer, discriminator_optimizer, **options) -> None:
        super().compile(optimizer=None, **options)
        self.generator_optimizer = generator_optimizer
        self.discriminator_optimizer = discriminator_optimizer

    def call(self, noise):
        """Return images (n, height, width, channels) from 0 to 1: what an exported model does."""
        return self.generator(noise)

    def train_step(self, data):
        with tf.GradientTape(persistent=True) as tape:
            generator_loss, discriminator_loss = self.measure(*data)
        for loss, part, optimizer in (
            (generator_loss, self.generator, self.generator_optimizer),
            (discriminator_loss, self.discriminator, self.discriminator_optimizer),
        ):
            variables = part.trainable_variables
            optimizer.apply(tape.gradient(loss, variables), variables)
        return self.get_metrics_result()

    def test_step(self, data):
        self.measure(*data)
        return self.get_metrics_result()

    def measure(self, noise, images) -> tuple:
        """Return the losses of generator and discriminator, and add all results to the metrics."""
        drawn = self(noise)
        real, fake = self.discriminator(images), self.discriminator(drawn)
        losses = ops.mean(ops.softplus(-fake)), ops.mean(ops.softplus(-real) + ops.softplus(fake))
        values = (*losses, energy_distance(drawn, images))
        for metric, value in zip(self.results, values, strict=True):
            metric.update_state(value)
        return losses


def generator(noise: int, image_shape: tuple[int, int, int], units: int) -> keras.Model:
    """Return a network from noise (n, noise) to images (n, *image_shape) from 0 to 1."""
    return keras.Sequential(
        [
            keras.Input((noise,)),
            *(layers.Dense(units, activation="relu", name=f"draw{i}") for i in range(2)),
            layers.Dense(math.prod(image_shape), activation="sigmoid", name="pixels"),
            layers.Reshape(image_shape, name="image"),
        ],
        name="generator",
    )


def discriminator(image_shape: tuple[int, int, int], units: int) -> keras.Model:
    """Return a network from images (n, *image_shape) to logits (n, 1), high for real images."""
    return keras.Sequential(
        [
            keras.Input(image_shape),
            layers.Flatten(name="flatten"),
            *(layers.Dense(units, activation="leaky_relu", name=f"look{i}") for i in range(2)),
            layers.Dense(1, name="logit"),
        ],
        name="discriminator",
    )


def energy_distance(a, b):
    """Return how far two samples (n, ...) are apart; its mean is 0 if their distributions match."""

    def mean_distance(x, y):
        x, y = (ops.reshape(z, (ops.shape(z)[0], -1)) for z in (x, y))
        return ops.mean(ops.norm(x[:, None] - y[None] + 1e-7, axis=-1))

    n = ops.cast(ops.shape(a)[0], "float32")
    without_self = n / (n - 1)  # the n distances of an image to itself do not count
    return 2 * mean_distance(a, b) - without_self * (mean_distance(a, a) + mean_distance(b, b))
