# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Writing ONNX with Keras' converters, and what they lack for common layers."""

import contextlib
import functools
import os
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import keras

from .config import UserError


def write(model: keras.Model, path: Path) -> None:
    """Write a functional model as ONNX; UserError if ONNX lacks an operator that it needs."""
    import onnx

    backend = keras.config.backend()
    if backend == "tensorflow":
        add_tensorflow_operators()
    elif backend == "torch":
        add_torch_operators()
    with silence() if backend == "torch" else contextlib.nullcontext():
        model.export(path, format="onnx", verbose=False)
    written = onnx.load(path, load_external_data=False)
    kinds = {node.op_type for node in written.graph.node if not node.domain}
    if unknown := sorted(kind for kind in kinds if not onnx.defs.has(kind)):
        raise UserError(f"ONNX has no operator {', '.join(unknown)}")
    if len(written.graph.input) > len(model.inputs) and backend == "tensorflow":
        hold_constants(written.graph, model)
        onnx.save(written, path)


@contextlib.contextmanager
def silence() -> Generator[None]:
    """Discard what is printed: before it raises, torch's C++ code prints whole graphs."""
    sys.stdout.flush()
    before = os.dup(1)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(before, 1)
        os.close(before)


def hold_constants(graph: Any, model: keras.Model) -> None:
    """Make constants of the inputs of an ONNX graph that are none of the model's.

    tf2onnx takes tensors that a layer holds, such as the mean of Normalization, for inputs.
    """
    import onnx
    import tensorflow as tf

    def spec(tensor: Any) -> Any:
        return tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name)

    arguments = keras.tree.map_structure(spec, model.input)
    traced = tf.function(model).get_concrete_function(arguments)
    held = traced.captured_inputs
    names = [tensor.name for tensor in traced.inputs[len(traced.inputs) - len(held) :]]
    values = dict(zip(names, held, strict=True))
    for one in [one for one in graph.input if one.name in values]:
        graph.input.remove(one)
        graph.initializer.append(onnx.numpy_helper.from_array(values[one.name].numpy(), one.name))


@functools.cache
def add_tensorflow_operators() -> None:
    """Teach tf2onnx Erfc, which gelu needs, and Expm1, which celu needs."""
    from tf2onnx.handler import tf_op

    def of(operator: str, other: str, swap: bool) -> type:
        """Return a converter to `operator(x) - 1`, or `1 - operator(x)` if swapped."""

        class Converter:
            @classmethod
            def version_9(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
                import numpy as np

                [output], dtype = node.output, ctx.get_dtype(node.output[0])
                shape = ctx.get_shape(output)
                ctx.remove_node(node.name)
                base = ctx.make_node(operator, node.input, dtypes=[dtype], shapes=[shape])
                kind = np.dtype({1: "float32", 10: "float16", 11: "float64"}[dtype])
                one = ctx.make_const(f"{node.name}_one", np.array(1, kind))
                both = [base.output[0], one.output[0]]
                ctx.make_node(
                    "Sub",
                    both[::-1] if swap else both,
                    name=node.name,
                    outputs=[output],
                    dtypes=[dtype],
                    shapes=[shape],
                )

        return tf_op(other)(Converter)

    of("Erf", "Erfc", swap=True)
    of("Exp", "Expm1", swap=False)


@functools.cache
def add_torch_operators() -> None:
    """Let torch's exporter convert LayerNormalization of Keras, whose shape it takes for dynamic.

    ONNX needs only the number of normalized axes.
    """
    from torch.onnx import register_custom_op_symbolic, symbolic_helper, symbolic_opset17

    @symbolic_helper.parse_args("v", "v", "v", "v", "f", "none")
    def scaled(g: Any, inputs: Any, shape: Any, scale: Any, bias: Any, epsilon: float, _: Any):
        arguments = [inputs, scale] if bias.node().mustBeNone() else [inputs, scale, bias]
        axis = -len(list(shape.node().inputs()))
        result = g.op("LayerNormalization", *arguments, axis_i=axis, epsilon_f=epsilon)
        result.setType(inputs.type())
        return result

    def layer_norm(g: Any, inputs: Any, shape: Any, scale: Any, *others: Any) -> Any:
        if shape.node().kind() == "prim::ListConstruct" and not scale.node().mustBeNone():
            return scaled(g, inputs, shape, scale, *others)
        try:
            return symbolic_opset17.layer_norm(g, inputs, shape, scale, *others)
        except Exception as error:
            raise ValueError("LayerNormalization needs scale=True on torch") from error

    register_custom_op_symbolic("aten::layer_norm", layer_norm, 17)
