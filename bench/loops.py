"""The rivals of train(): training loops as one would write them by hand for a backend.

Each takes a compiled model and returns a function that takes a number of steps on a batch, waits
for the last one and returns the mean loss and the accuracy. No Python but the loop runs per step.
"""

from collections.abc import Callable

import keras

Loop = Callable[..., tuple[float, float]]


def tensorflow(network: keras.Model) -> Loop:
    """tf.function around a gradient tape; the metrics stay on the device."""
    import tensorflow as tf

    measure_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    mean, accuracy = keras.metrics.Mean(), keras.metrics.SparseCategoricalAccuracy()

    @tf.function(jit_compile=network.jit_compile)
    def step(images, labels):
        with tf.GradientTape() as tape:
            logits = network(images, training=True)
            loss = measure_loss(labels, logits)
            scaled = network.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, network.trainable_weights)
        network.optimizer.apply(gradients, network.trainable_weights)
        mean.update_state(loss)
        accuracy.update_state(labels, logits)

    def loop(steps: int, images, labels):
        mean.reset_state()
        accuracy.reset_state()
        for _ in range(steps):
            step(tf.convert_to_tensor(images), tf.convert_to_tensor(labels))
        return float(mean.result()), float(accuracy.result())

    return loop


def jax(network: keras.Model) -> Loop:
    """jit around value_and_grad; the state is donated from step to step."""
    import jax
    import jax.numpy as jnp

    measure_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = network.optimizer

    def forward(weights, others, images, labels):
        logits, others = network.stateless_call(weights, others, images, training=True)
        return measure_loss(labels, logits), (others, jnp.sum(logits.argmax(-1) == labels))

    def step(state, images, labels):
        weights, others, moments, loss_sum, correct = state
        differentiate = jax.value_and_grad(forward, has_aux=True)
        (loss, (others, right)), gradients = differentiate(weights, others, images, labels)
        weights, moments = optimizer.stateless_apply(moments, gradients, weights)
        return weights, others, moments, loss_sum + loss, correct + right

    step = jax.jit(step, donate_argnums=0)
    groups = network.trainable_variables, network.non_trainable_variables, optimizer.variables
    variables = [[jnp.array(variable.value) for variable in group] for group in groups]

    def loop(steps: int, images, labels):
        state = (*variables, jnp.float32(0), jnp.int32(0))
        for _ in range(steps):
            state = step(state, images, labels)
        *variables[:], loss, right = state
        return float(loss) / steps, int(right) / steps / len(labels)

    return loop


def torch(network: keras.Model) -> Loop:
    """Forward, backward and the optimizer's step; the metrics stay on the device."""
    import torch

    measure_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    weights = network.trainable_weights

    def step(images, labels):
        logits = network(images, training=True)
        loss = measure_loss(labels, logits)
        network.zero_grad()
        network.optimizer.scale_loss(loss).backward()
        with torch.no_grad():
            network.optimizer.apply([weight.value.grad for weight in weights], weights)
            return loss, (logits.argmax(-1) == labels).sum()

    def loop(steps: int, images, labels):
        network.train()
        loss_sum, correct = 0.0, 0
        for _ in range(steps):
            loss, right = step(*map(keras.ops.convert_to_tensor, (images, labels)))
            loss_sum, correct = loss_sum + loss.detach(), correct + right
        return float(loss_sum) / steps, int(correct) / steps / len(labels)

    return loop
