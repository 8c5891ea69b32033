"""The task of a GAN: two optimizers, a measure of its images, and a figure of them."""

import keras
import numpy as np
from matplotlib.figure import Figure

from . import model
from .engine import Dataset, Evaluation, Task
from .recipes import Config


class DrawDigits(Task):
    """Draws digits from noise; the model of the best energy distance is kept."""

    monitor = "val_energy_distance"
    tag = "unconditional-image-generation"

    def build(self) -> keras.Model:
        noise, images = self.example
        return model.GAN(noise.shape[1], images.shape[1:], self.config.units, name="gan")

    def compile(self, model: keras.Model, steps: int) -> None:
        """Give the model its two optimizers, built, so that checkpoints hold their state."""
        model.compile(*(keras.optimizers.Adam(self.config.learning_rate, 0.5) for _ in range(2)))
        model.generator_optimizer.build(model.generator.trainable_variables)
        model.discriminator_optimizer.build(model.discriminator.trainable_variables)

    def evaluate(self, model: keras.Model) -> Evaluation:
        evaluation = super().evaluate(model)
        (_, real), drawn = next(self.predictions(model, self.dataset.test))
        evaluation.figures["Digits drawn from noise"] = grid(drawn[:32])
        evaluation.figures["Digits of the test split"] = grid(real[:32])
        return evaluation


def grid(images: np.ndarray, columns: int = 8) -> Figure:
    """Return a figure of images (n, height, width, 1) from 0 to 1, side by side."""
    rows = len(images) // columns
    figure = Figure(figsize=(columns * 0.8, rows * 0.8), layout="constrained")
    for axes, image in zip(figure.subplots(rows, columns).flat, images, strict=False):
        axes.imshow(image[..., 0], cmap="gray_r", vmin=0, vmax=1)
        axes.set_axis_off()
    return figure


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return DrawDigits(config, dataset)
