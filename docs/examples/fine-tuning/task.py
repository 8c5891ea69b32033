"""Classification with two learning rates: one for the feature extractor, one for the head."""

import keras

from . import model
from .engine import Dataset, Task
from .engine.tasks import Classification
from .recipes import Config


class FineTuning(Classification):
    """Digits, with an optimizer for each part of the network."""

    def build(self) -> keras.Model:
        images, _ = self.example
        return model.build(self.config, images.shape[1:], len(self.dataset.class_names))

    def optimizer(self, steps: int) -> keras.optimizers.Optimizer:
        """Return Adam for each part; scaling gradients instead would not change Adam's steps."""
        rate, decay = self.config.learning_rate, keras.optimizers.schedules.CosineDecay
        head = keras.optimizers.Adam(decay(rate, steps), name="head")
        features = keras.optimizers.Adam(
            decay(rate * self.config.features_rate, steps), name="features"
        )
        by_path = keras.optimizers.OptimizerMap(head, {r".*\bfeatures/.*": features})
        return keras.optimizers.MultiOptimizer(by_path, name="by_part")


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config."""
    return FineTuning(config, dataset)
