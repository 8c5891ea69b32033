# Managed by gpu-ml-template: copier update merges fixes into this file.
"""From a task to a compiled model: built, compiled, and tried on one batch before any epoch."""

import keras
import numpy as np

from .config import UserError
from .distributed.cluster import SINGLE_PROCESS, Cluster
from .pipeline import Batches
from .task import Task


def compiled_model(task: Task, steps: int, cluster: Cluster = SINGLE_PROCESS) -> keras.Model:
    """Return the task's model, compiled for `steps` steps, with all its variables made.

    Raises UserError if the task lacks something, or if model, loss, metrics and data do not fit.
    """
    model = build(task)
    compile_model(task, model, steps)
    check_optimizers(model)
    names = try_on_a_batch(task, model, cluster)
    if task.monitor not in names:
        known = ", ".join(names)
        raise UserError(
            f"task.py: monitor is {task.monitor!r}, which no metric has: use one of {known}"
        )
    return model


def build(task: Task, precision: str | None = None) -> keras.Model:
    """Return the model of a task, not compiled; a torch module is wrapped."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision or task.config.precision)
    try:
        model = task.build()
    except NotImplementedError:
        raise UserError(f"task.py: {type(task).__name__} has no model: define build()") from None
    finally:
        keras.config.set_dtype_policy(before)  # a notebook's other models keep theirs
    if isinstance(model, keras.Model):
        return model
    return wrap(model, task)


def wrap(module: object, task: Task) -> keras.Model:
    """Return a torch module as a Keras model of the same inputs."""
    layer = None
    if keras.config.backend() == "torch":
        import torch

        if isinstance(module, torch.nn.Module):
            layer = keras.layers.TorchModuleWrapper(module, name="module")
    if layer is None:
        kind = type(module).__name__
        raise UserError(f"task.py: build returned {kind}, but must return a keras.Model")
    inputs = keras.tree.map_structure(
        lambda array: keras.Input(array.shape[1:], dtype=array.dtype), task.example[0]
    )
    return keras.Model(inputs, layer(inputs), name="wrapped")


def compile_model(task: Task, model: keras.Model, steps: int) -> None:
    """Compile the model of a task; UserError if the task has no loss."""
    try:
        task.compile(model, steps)
    except NotImplementedError:
        raise UserError(f"task.py: {type(task).__name__} has no loss: define loss()") from None
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def check_optimizers(model: keras.Model) -> None:
    """Raise UserError if an optimizer of the model has no variables yet that could be restored."""
    for name, optimizer in optimizers(model).items():
        if not optimizer.built:
            raise UserError(
                f"task.py: the optimizer {name} is not built, so a checkpoint could not restore "
                f"it: call {name}.build(variables) in compile()"
            )


def optimizers(model: keras.Model) -> dict[str, keras.optimizers.Optimizer]:
    """Return the optimizers that are attributes of the model, by name, but for its main one."""
    return {
        name: value
        for name, value in sorted(vars(model).items())
        if isinstance(value, keras.optimizers.Optimizer) and value is not model.optimizer
    }


def try_on_a_batch(task: Task, model: keras.Model, cluster: Cluster) -> list[str]:
    """Evaluate one validation batch, which makes the metrics' variables; return metric names."""
    batches = Batches(task.dataset.validation, task.config.batch_size, workers=1, cluster=cluster)
    try:
        with batches.own_errors():
            found = model.evaluate(batches.feed(), steps=1, verbose=0, return_dict=True)
    except UserError:
        raise
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise UserError(
            f"task.py: the model does not fit the data ({describe(task)}): {first_line(error)}"
        ) from error
    except Exception as error:
        if not type(error).__module__.startswith("tensorflow"):
            raise
        raise UserError(
            f"task.py: the model does not fit the data ({describe(task)}): {first_line(error)}"
        ) from error
    return [f"val_{name}" for name in found]


def describe(task: Task) -> str:
    """Return shapes and dtypes of a validation example."""
    example = task.dataset.validation.read(np.array([0]))
    parts = zip(("inputs", "targets", "sample weights"), example, strict=False)
    return "; ".join(
        f"{name} "
        + ", ".join(f"{array.dtype} {(*array.shape[1:],)}" for array in keras.tree.flatten(part))
        for name, part in parts
    )


def first_line(error: Exception) -> str:
    """Return the first line of an error with some text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]
