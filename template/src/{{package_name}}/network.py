# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The network of a config, ready to train: optimizer, schedule, loss and precision."""

import keras

from . import model
from .cluster import ALONE, Cluster
from .config import Config
from .pipeline import Batches, Dataset


def compiled_model(
    config: Config, dataset: Dataset, steps: int, cluster: Cluster = ALONE
) -> keras.Model:
    """Return the config's model, compiled for a number of steps, with all its variables made."""
    batches = Batches(dataset.validation, config.batch_size, workers=1, cluster=cluster)
    image_shape = next(iter(batches))[0].shape[1:]
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        network = model.build(config, image_shape, len(dataset.class_names))
    finally:
        keras.config.set_dtype_policy(policy)  # a notebook's other models keep theirs
    rate, warmup = config.learning_rate, max(1, steps // 20)
    schedule = keras.optimizers.schedules.CosineDecay(
        rate / 10, max(1, steps - warmup), warmup_target=rate, warmup_steps=warmup
    )
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, name="adamw")
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    network.compile(
        optimizer,
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        weighted_metrics=["accuracy"],  # on several devices weights mark what fills a batch
        jit_compile={"auto": "auto", "on": True, "off": False}[config.jit_compile],
        steps_per_execution=config.steps_per_execution,
    )
    network.optimizer.build(network.trainable_variables)
    network.evaluate(batches.feed(), steps=1, verbose=0)  # makes the variables of the metrics
    return network
