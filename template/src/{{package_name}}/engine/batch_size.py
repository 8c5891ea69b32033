# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The examples of a training step, where there are fewer than the config asks for."""

from .config import UserError

LEAST_STEPS = 4
"""Steps of an epoch over a split that does not fill a batch.

With a single one, the averages of BatchNormalization lag behind for tens of epochs: of three
trainings on 16 images, two stopped early at chance level; with four steps none did."""


def training_batch_size(
    batch_size: int, size: int, steps_per_execution: int = 1, devices: int = 1
) -> int:
    """Return `batch_size`, or less if `size` training examples do not fill one execution.

    It depends on its arguments alone, so a resumed run has the same, and divides by the number of
    devices. UserError if there are fewer examples than one for each device and step.
    """
    if size >= batch_size * steps_per_execution:
        return batch_size
    least = steps_per_execution * devices
    if size < least:
        raise UserError(
            f"{size} training examples are fewer than steps_per_execution x devices ({least}): "
            "lower one, or add examples"
        )
    return max(devices, size // (LEAST_STEPS * least) * devices)
