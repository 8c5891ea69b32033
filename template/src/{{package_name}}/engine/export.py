# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Export for serving: SavedModel or ONNX, proven by running it on a batch of the test split."""

import os
import shutil
from pathlib import Path

import keras
import numpy as np

from .. import data
from ..model import build
from . import runs
from .config import Config, UserError
from .evaluate import load_model

TOLERANCE = 1e-3
"""Largest difference between the logits of Keras and of the export that counts as equal."""


def export(run_dir: Path, format: str = "auto") -> tuple[Path, float]:
    """Write a finished run's best model, in float32, as saved_model or onnx.

    Returns its path and the largest difference of its logits to Keras' on a batch of test images.
    UserError, and nothing written, if the format cannot be had here or the difference is too large.
    """
    backend = keras.config.backend()
    if format == "auto":
        format = "saved_model" if backend == "tensorflow" else "onnx"
    if format == "saved_model" and backend != "tensorflow":
        raise UserError(f"saved_model needs TensorFlow, this is {backend}: use --format onnx")
    config = runs.load_config(run_dir)
    model = for_serving(load_model(run_dir), config)
    dataset = data.load(config)
    runs.check_data(run_dir, dataset)
    test = dataset.test
    images = test.read(np.arange(min(config.batch_size, test.size)))[0]
    path = run_dir / ("saved_model" if format == "saved_model" else "model.onnx")
    part = path.with_name(f".part-{path.name}")
    try:
        if format == "saved_model":
            model.export(part, format="tf_saved_model", verbose=False)
            logits = run_saved_model(part, images)
        else:
            model.export(part, format="onnx", verbose=False)
            logits = run_onnx(part, images)
        difference = float(np.abs(logits - model.predict_on_batch(images)).max())
        if not difference <= TOLERANCE:
            raise UserError(
                f"the {format} of {run_dir} differs from Keras by {difference:.1e}: not kept"
            )
        remove(path)
        os.replace(part, path)
    finally:
        remove(part)
    return path, difference


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def for_serving(model: keras.Model, config: Config) -> keras.Model:
    """Return the model without what is for training, in float32: few runtimes have 16-bit types."""
    if config.precision == "float32":
        plain = model
    else:
        plain = build(config, model.input_shape[1:], model.output_shape[-1])
        try:
            plain.set_weights(model.get_weights())
        except ValueError as error:
            raise UserError("model.py has changed since this run: put it back to export") from error
    # Left to itself, Keras exports augmentation layers as they are in training.
    images = keras.Input(model.input_shape[1:], dtype="uint8", name="images")
    serving = keras.Model(images, plain(images, training=False), name=model.name)
    serving(np.zeros((1, *model.input_shape[1:]), "uint8"))  # Keras exports only what was called
    return serving


def run_saved_model(path: Path, images: np.ndarray) -> np.ndarray:
    """Return the logits of a SavedModel for images (n, height, width, channels) uint8."""
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # serve() needs it alive
    return loaded.serve(images).numpy()


def run_onnx(path: Path, images: np.ndarray) -> np.ndarray:
    """Return the logits of an ONNX model for images (n, height, width, channels) uint8."""
    import onnxruntime

    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: images})[0]
    except Exception as error:  # its classes are private
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the ONNX of this model does not run, change the layer: {reason}"
        ) from error
