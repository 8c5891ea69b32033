# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The project's own files, as the engine uses them: recipes.py, data.py and task.py.

They are imported when they are needed: recipes.py imports no framework, the others do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .config import Config, UserError
from .pipeline import Dataset

if TYPE_CHECKING:
    from .task import Task


def recipes() -> Mapping[str, Callable[[], Config]]:
    """Return the recipes by name."""
    from .. import recipes

    return recipes.RECIPES


def config_class() -> type[Config]:
    """Return the project's config class, with its own fields."""
    from .. import recipes

    return recipes.Config


def load_data(config: Config) -> Dataset:
    """Return the data set of a config; UserError if it is missing or cannot be used."""
    from .. import data

    load: Callable[[Any], Any] = data.load  # its config is of the project's own class
    dataset = load(config)
    if not isinstance(dataset, Dataset):
        kind = type(dataset).__name__
        raise UserError(f"data.py: load returned {kind}, but must return a Dataset")
    return dataset


def create_task(config: Config, dataset: Dataset) -> Task:
    """Return the task of a config; importing it also registers the project's own layers."""
    from .. import task
    from .task import Task

    create: Callable[[Any, Dataset], Any] = task.create_task
    created = create(config, dataset)
    if not isinstance(created, Task):
        kind = type(created).__name__
        raise UserError(f"task.py: create_task returned {kind}, but must return a Task")
    return created


def make_task(config: Config) -> Task:
    """Return the task of a config with its data."""
    return create_task(config, load_data(config))
