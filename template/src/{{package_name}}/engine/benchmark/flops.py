# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Number of additions and multiplications of a model."""

import math
from collections.abc import Iterator

import keras

COUNTED = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv2D,
)


def leaves(network: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model and of the models in it."""
    for layer in network.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


def operations(network: keras.Model) -> tuple[int, list[str]]:
    """Return the operations of one example's forward pass, and the names of uncounted layers.

    Products and convolutions count, padding included, and nothing else does: the usual "model
    FLOPs". A training step has three times as many. A layer that is used twice counts once. Other
    layers with matrices are uncounted, and so are those of models that are not a graph of layers.
    """
    total, uncounted = 0, []
    for layer in leaves(network):
        matrices = [weight for weight in layer.weights if len(weight.shape) > 1]
        output = getattr(layer, "output", None)
        if isinstance(layer, COUNTED) and output is not None:
            shape = output.shape
            first = getattr(layer, "data_format", "") == "channels_first"
            places = shape[2:] if first else shape[1:-1]
            total += 2 * math.prod(matrices[0].shape) * math.prod(places)
        elif matrices:
            uncounted.append(layer.name)
    return total, uncounted
