# Managed by gpu-ml-template: copier update merges fixes into this file.
"""From a task to a compiled model: built, compiled, and tried on one batch before any epoch."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Any

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
    # Only now a subclassed model has its variables.
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
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
        try:
            model = task.build()
        except NotImplementedError:
            if type(task).build is not Task.build:
                raise
            kind = type(task).__name__
            raise UserError(f"task.py: {kind} has no model: define build()") from None
        return model if isinstance(model, keras.Model) else wrap(model, task)
    finally:
        keras.config.set_dtype_policy(before)  # a notebook's other models keep theirs


def wrap(module: Any, task: Task) -> keras.Model:
    """Return a torch module as a Keras model of the same inputs, in the precision of now.

    UserError if it is no torch module, or if it does not take an example of the data.
    """
    fits = False
    if keras.config.backend() == "torch":
        import torch

        fits = isinstance(module, torch.nn.Module)
    if not fits:
        kind = type(module).__name__
        raise UserError(f"task.py: build returned {kind}, but must return a keras.Model")
    outputs = output_example(module, task)  # makes the parameters of lazy modules, too
    shapes = keras.tree.map_structure(lambda output: (None, *output.shape[1:]), outputs)
    layer = TorchModule(module, output_shape=shapes, name="module")
    inputs = inputs_like(task.example[0], ["inputs"])
    # The layer's own structure has Keras' kind of dict, which losses by name do not take.
    symbolic = keras.tree.flatten(layer(inputs))
    model = keras.Model(inputs, keras.tree.pack_sequence_as(outputs, symbolic), name="wrapped")
    if isinstance(outputs, (list, tuple)):
        model.output_names = [f"output{i}" for i in range(len(symbolic))]  # all are the layer's
    return model


def output_example(module: Any, task: Task) -> Any:
    """Return the output of a torch module for one example; UserError if it has none that fits."""
    import torch

    tensors = keras.tree.map_structure(
        lambda array: keras.ops.convert_to_tensor(
            array, "float32" if array.dtype.kind == "f" else None
        ),
        task.example[0],
    )
    module.to(keras.tree.flatten(tensors)[0].device)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            outputs = module(tensors)
    except (ValueError, TypeError, RuntimeError, ArithmeticError) as error:
        raise UserError(
            f"task.py: the torch module does not fit the data ({describe(task)}): "
            f"{first_line(error)}"
        ) from error
    finally:
        module.train(training)
    for output in keras.tree.flatten(outputs):
        if not isinstance(output, torch.Tensor) or output.shape[:1] != (1,):
            shape = f" of shape {(*output.shape,)}" if isinstance(output, torch.Tensor) else ""
            raise UserError(
                f"task.py: the torch module returns {type(output).__name__}{shape} for a batch of "
                "one: return a tensor with a batch axis, or a dict or tuple of them"
            )
    return outputs


class TorchModule(keras.layers.TorchModuleWrapper):
    """A torch module as a layer: variables are named as its parameters, 16 bits are torch's.

    Keras' own wrapper numbers the variables through the process, casts the inputs but not the
    parameters to 16 bits, and pickles the module into model.keras, which it then does not load.
    """

    def __init__(self, module: Any, **options: Any) -> None:
        self.computed_in = keras.config.dtype_policy().compute_dtype
        super().__init__(module, dtype="float32", **options)

    def _track_module_parameters(self) -> None:
        for name, parameter in self.module.named_parameters():
            *scopes, last = self.name, *name.split(".")
            with contextlib.ExitStack() as stack:
                for scope in scopes:
                    stack.enter_context(keras.name_scope(scope))
                variable = keras.Variable(parameter, trainable=parameter.requires_grad, name=last)
            self._track_variable(variable)
        self.built = True

    def call(self, *args: Any, training: bool | None = None, **kwargs: Any) -> Any:
        """Return the module's outputs; floating-point ones in float32."""
        if self.computed_in == "float32":
            return super().call(*args, training=training, **kwargs)
        import torch

        device = next(self.module.parameters()).device.type
        with torch.autocast(device, getattr(torch, self.computed_in)):
            outputs = super().call(*args, training=training, **kwargs)
        return keras.tree.map_structure(
            lambda output: output.float() if output.is_floating_point() else output, outputs
        )

    def get_config(self) -> dict[str, Any]:
        """Return the config without the module."""
        return keras.layers.Layer.get_config(self)

    @classmethod
    def from_config(cls, config: dict, custom_objects: Any = None, safe_mode: Any = None) -> Any:
        """Raise ValueError: evaluate.load_model then asks the task."""
        raise ValueError("only build() of task.py makes its torch module")


def inputs_like(examples: Any, names: Sequence[str] = ()) -> Any:
    """Return Keras inputs for examples, named after a dict's keys, otherwise by `names`."""
    arrays = keras.tree.flatten(examples)
    if type(examples) is dict and not any(map(keras.tree.is_nested, examples.values())):
        # Sorted as Keras sorts: on torch, map_structure visits a dict in its own order.
        names = [str(key).replace("/", "_") for key in keras.tree.flatten({k: k for k in examples})]
    named = itertools.chain(names, itertools.repeat(None))
    inputs = [
        keras.Input(array.shape[1:], dtype=array.dtype, name=name)
        for array, name in zip(arrays, named, strict=False)
    ]
    return keras.tree.pack_sequence_as(examples, inputs)


def compile_model(task: Task, model: keras.Model, steps: int) -> None:
    """Compile the model of a task; UserError if the task has no loss."""
    try:
        task.compile(model, steps)
    except NotImplementedError:
        if type(task).loss is not Task.loss:
            raise
        raise UserError(f"task.py: {type(task).__name__} has no loss: define loss()") from None


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
