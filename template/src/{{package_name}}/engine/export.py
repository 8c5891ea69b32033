# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Export for serving: SavedModel or ONNX, proven by running it on a batch of the test split."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from . import checkpoint, onnx_format, project, runs, signature
from .config import UserError
from .evaluate import load_model
from .modelling import build, first_line, inputs_like
from .tables.columns import Columns, key_of
from .task import Task

TOLERANCE = 1e-3
"""Largest difference between outputs of Keras and of the export that counts as equal, relative to
the largest output, or to 1 if that is larger."""


def export(run_dir: Path, format: str = "auto") -> tuple[Path, float]:
    """Write a finished run's best model, in float32, as saved_model or onnx.

    Returns its path and the largest difference of its outputs to Keras' on a batch of test data.
    UserError, and nothing written, if the format cannot be had here or the difference is too large.
    """
    backend = keras.config.backend()
    if format == "auto":
        format = "saved_model" if backend == "tensorflow" else "onnx"
    if format == "saved_model" and backend != "tensorflow":
        raise UserError(f"saved_model needs TensorFlow, this is {backend}: use --format onnx")
    task = project.make_task(runs.load_config(run_dir))
    if note := runs.check_classes(run_dir, task.dataset):
        print(f"{run_dir}: {note} The export is compared on the data as it is now.", flush=True)
    test = task.dataset.test
    inputs = test.read(np.arange(min(task.config.batch_size, test.size)))[0]
    if backend == "jax":  # which computes in 32 bits what comes in 64
        inputs = keras.tree.map_structure(
            lambda array: keras.ops.convert_to_numpy(keras.ops.convert_to_tensor(array)), inputs
        )
    model = for_serving(load_model(run_dir, task), task)
    path = run_dir / ("saved_model" if format == "saved_model" else "model.onnx")
    part = path.with_name(f".part-{path.name}")
    try:
        write(model, part, format)
        if format == "saved_model":
            extra = part / "assets.extra"  # where TensorFlow Serving looks for files of its users
            extra.mkdir()
            (extra / "metadata.json").write_text(json.dumps(metadata(task), indent=2) + "\n")
            outputs = run_saved_model(part, inputs)
        else:
            add_metadata(part, metadata(task))
            outputs = run_onnx(part, inputs)
        difference = compare(outputs, model.predict_on_batch(inputs))
        if not difference <= TOLERANCE:
            raise UserError(
                f"the {format} of {run_dir} differs from Keras by {difference:.1e}: not kept"
            )
        remove(path)
        os.replace(part, path)
    finally:
        remove(part)
    return path, difference


def write(model: keras.Model, path: Path, format: str) -> None:
    """Write a model; UserError that says what to do if the format has no form for it."""
    try:
        if format == "saved_model":
            model.export(path, format="tf_saved_model", verbose=False)
        else:
            onnx_format.write(model, path)
    except OSError:  # a full disk is no fault of the model
        raise
    except Exception as error:  # each converter has its own
        raise UserError(refusal(format, first_line(error))) from error


def refusal(format: str, reason: str) -> str:
    """Return the sentence for a model that a format cannot hold."""
    other = ", or use --format saved_model" * (
        format == "onnx" and keras.config.backend() == "tensorflow"
    )
    return f"model.py: this model has no form as {format} ({reason}): change that layer{other}"


def metadata(task: Task) -> dict[str, Any]:
    """Return what a program that serves the model has to know of its inputs and outputs."""
    values = {
        "recipe": task.config.recipe,
        "task": type(task).__name__,
        "class_names": list(task.dataset.class_names),
        "input": signature.describe(task.example[0]),
        "reader": signature.describe_reader(task.dataset.read_file),
        "preprocessing": task.dataset.preprocessing,
    }
    if "table" in task.dataset.preprocessing:  # the model's input of each column
        values["columns"] = {name: key_of(name) for name in Columns.of(task.dataset).names}
    return values


def add_metadata(path: Path, values: dict[str, Any]) -> None:
    """Put values into the metadata of an ONNX file, as texts; what is no text becomes JSON."""
    import onnx

    model = onnx.load(path, load_external_data=False)
    texts = {name: v if isinstance(v, str) else json.dumps(v) for name, v in values.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, path)


def compare(outputs: Any, expected: Any) -> float:
    """Return the largest difference between two structures of arrays, relative as in TOLERANCE."""
    pairs = zip(keras.tree.flatten(outputs), keras.tree.flatten(expected), strict=True)
    arrays = [(np.asarray(one), keras.ops.convert_to_numpy(other)) for one, other in pairs]
    differences = [np.abs(a - b).max() / max(1.0, np.abs(b).max()) for a, b in arrays]
    return float(np.max(differences))  # NaN if one of them is


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def for_serving(model: keras.Model, task: Task) -> keras.Model:
    """Return the model without what is for training, in float32: few runtimes have 16-bit types."""
    plain = model
    if task.config.precision != "float32":
        plain = build(task, precision="float32")
        if not plain.built:
            plain(task.example[0], training=False)  # makes the variables of a subclassed model
        try:
            checkpoint.copy_weights(model, plain)
        except ValueError as error:
            raise UserError("model.py has changed since this run: put it back to export") from error
    examples = task.example[0]
    # Left to itself, Keras exports augmentation layers as they are in training.
    names = [one.name for one in getattr(model, "inputs", None) or ()]
    inputs = inputs_like(examples, names)
    serving = keras.Model(inputs, plain(inputs, training=False), name=model.name)
    serving(examples)  # Keras exports only what was called
    return serving


def run_saved_model(path: Path, inputs: Any) -> Any:
    """Return the outputs of a SavedModel for a batch of inputs."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # serve() needs it alive
    return tf.nest.map_structure(lambda tensor: tensor.numpy(), loaded.serve(inputs))


def run_onnx(path: Path, inputs: Any) -> list[np.ndarray]:
    """Return the outputs of an ONNX model for a batch of inputs."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [one.name for one in session.get_inputs()]
        if isinstance(inputs, dict) and set(names) <= set(inputs):
            values = {name: inputs[name] for name in names}
        else:
            values = dict(zip(names, keras.tree.flatten(inputs), strict=True))
        return [np.asarray(output) for output in session.run(None, values)]
    except Exception as error:  # its classes are private
        raise UserError(refusal("onnx", f"it does not run: {first_line(error)}")) from error
