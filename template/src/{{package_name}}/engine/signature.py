# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Shape and dtype of an example, so that a model can be used without the data it learned from."""

from typing import Any

import numpy as np

from .config import UserError
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


def without_data(run: dict[str, Any]) -> Dataset:
    """Return a data set with what a run's config.json has of it.

    These are class names, preprocessing, and an example of the same shape and dtype.

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
    )
