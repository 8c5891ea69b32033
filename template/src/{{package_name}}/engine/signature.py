# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Shape and reader of an example, so that a model can be used without the data it learned from."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .config import UserError
from .images import ImageReader
from .pipeline import Dataset, Examples, Split


class NoData(UserError):
    """A task needs more of the data than a run directory holds."""


def describe(tree: Any) -> dict[str, Any]:
    """Return structure, shapes and dtypes of a batch of examples as JSON, without the batch axis.

    An array is `{"dtype": "uint8", "shape": [8, 8, 1]}`, a dict `{"dict": {...}}`, a tuple or list
    `{"tuple": [...]}`.
    """
    if isinstance(tree, dict):
        return {"dict": {str(key): describe(value) for key, value in tree.items()}}
    if isinstance(tree, (tuple, list)):
        return {"tuple": [describe(value) for value in tree]}
    array = np.asarray(tree)
    return {"dtype": array.dtype.str, "shape": list(array.shape[1:])}


def zeros(description: dict[str, Any]) -> Any:
    """Return a batch of one example as `describe` described it: zeros, or empty strings."""
    if "dict" in description:
        return {key: zeros(value) for key, value in description["dict"].items()}
    if "tuple" in description:
        return tuple(zeros(value) for value in description["tuple"])
    dtype = np.dtype(description["dtype"])
    array = np.zeros((1, *description["shape"]), dtype)
    if dtype.kind == "O":
        array.fill("")
    return array


def describe_reader(read_file: Callable[[Path], Any] | None) -> dict[str, Any] | None:
    """Return how a data set reads a file as JSON; only `{}` for a function of the user's own."""
    if isinstance(read_file, ImageReader):
        return {"image": dataclasses.asdict(read_file)}
    return None if read_file is None else {}


def reader(description: dict[str, Any] | None) -> Callable[[Path], Any] | None:
    """Return the reader that `describe_reader` described; NoData for one of the user's own."""
    if description is None:
        return None
    if "image" not in description:
        raise NoData("data.py has a read_file of its own")
    return ImageReader(**description["image"])


def without_data(run: dict[str, Any]) -> Dataset:
    """Return a data set with what a run's config.json has of it.

    These are class names, preprocessing, the reader of files, and an example of the same shape and
    dtype.

    Reading anything but the shape of one example raises NoData.
    """
    if "example" not in run:
        raise NoData("the run is of an older version, which did not store the shape of an example")
    example = zeros(run["example"])

    def read(indices: np.ndarray) -> Examples:
        if list(indices) != [0]:
            raise NoData("the task reads the data set")
        return example

    sizes = run["dataset"]["examples"]
    train, validation, test = (Split(sizes[n], read) for n in ("train", "validation", "test"))
    return Dataset(
        train,
        validation,
        test,
        class_names=tuple(run["dataset"]["classes"]),
        preprocessing=run["dataset"].get("preprocessing"),
        read_file=reader(run.get("reader")),
    )
