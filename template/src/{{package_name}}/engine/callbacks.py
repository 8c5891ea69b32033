# Managed by gpu-ml-template: copier update merges fixes into this file.
"""A task's Keras callbacks, called as Keras documents them, although each epoch is one `fit`.

Train begin and end come once a run (and after a resume), epochs have their real numbers, and logs
at an epoch's end hold the validation metrics.
"""

import keras

BATCH_HOOKS = (
    "on_batch_begin",  # which Keras' own on_train_batch_begin calls
    "on_batch_end",
    "on_train_batch_begin",
    "on_train_batch_end",
    "on_test_begin",
    "on_test_end",
    "on_test_batch_begin",
    "on_test_batch_end",
)


class Forward(keras.callbacks.Callback):
    """Passes what happens within `fit` and `evaluate` on to the task's callbacks."""

    def __init__(self, callbacks: keras.callbacks.CallbackList) -> None:
        super().__init__()
        self.to = callbacks

    def on_train_batch_begin(self, batch, logs=None) -> None:
        self.to.on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None) -> None:
        self.to.on_train_batch_end(batch, logs)

    def on_test_begin(self, logs=None) -> None:
        self.to.on_test_begin(logs)

    def on_test_end(self, logs=None) -> None:
        self.to.on_test_end(logs)

    def on_test_batch_begin(self, batch, logs=None) -> None:
        self.to.on_test_batch_begin(batch, logs)

    def on_test_batch_end(self, batch, logs=None) -> None:
        self.to.on_test_batch_end(batch, logs)


class UserCallbacks:
    """The callbacks of a task, for a whole training."""

    def __init__(
        self,
        callbacks: list[keras.callbacks.Callback],
        model: keras.Model,
        epochs: int,
        steps: int,
    ) -> None:
        self.list = keras.callbacks.CallbackList(
            callbacks, model=model, epochs=epochs, steps=steps, verbose=0
        )
        base = keras.callbacks.Callback
        hooked = any(
            # LambdaCallback has its functions in the instance.
            getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook)
            for callback in callbacks
            for hook in BATCH_HOOKS
        )
        self.of_batches = [Forward(self.list)] if hooked else []
        """For `fit` and `evaluate`; empty if nobody asks, since Keras then waits for each step."""

    def on_train_begin(self) -> None:
        self.list.on_train_begin()

    def on_epoch_begin(self, epoch: int) -> None:
        self.list.on_epoch_begin(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self.list.on_epoch_end(epoch, dict(logs))

    def on_train_end(self, logs: dict[str, float]) -> None:
        self.list.on_train_end(dict(logs))
