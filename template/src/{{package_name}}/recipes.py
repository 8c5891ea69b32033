# Yours: gpu-ml-template gave this file once and never changes it.
"""What to train: the fields of a run, and recipes, functions that return a Config.

This module imports no framework, so `--help` and wrong arguments answer at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and your own: each one is an option of the command line."""

    MAY_CHANGE: ClassVar[frozenset[str]] = engine.Config.MAY_CHANGE | {
        "data_dir",
        "skip_bad",
        "cache",
    }

    data: Literal["digits", "image_folder"]
    """Data set, see data.py."""
    data_dir: Path = Path("data/raw")
    """Folder with one folder of images per class, or train, val, test (image_folder only)."""
    image_size: int = 64
    """Height and width that images are resized to, in pixels (not for digits)."""
    resize: Literal["fit", "crop", "stretch"] = "fit"
    """fit pads to a square, crop cuts off the longer side, stretch distorts (image_folder only)."""
    skip_bad: bool = False
    """Leave out images that cannot be read instead of refusing to train (image_folder only)."""
    cache: bool = False
    """Keep decoded images in a file in .cache/, for all epochs after the first (image_folder only).
    It takes 3 x image_size x image_size bytes per image."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced lets each class count the same in the training loss, however rare it is."""
    model: Literal["cnn", "resnet50"] = "cnn"
    """Network, see model.py."""
    dropout: float = 0.3
    """Dropout rate before the final layer, 0 to below 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_size < 8:
            raise UserError(f"image_size is {self.image_size}, but must be at least 8")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}, but must be from 0 to below 1")


def digits() -> Config:
    """1,797 scans of handwritten digits (8 x 8 pixels, from scikit-learn): seconds on a CPU."""
    return Config(recipe="digits", data="digits")


def image_folder() -> Config:
    """Your own images, data/raw/<class>/*.jpg (or *.png and others), streamed from disk."""
    return Config(recipe="image_folder", data="image_folder", image_size=128, epochs=50)


RECIPES = {recipe.__name__: recipe for recipe in (digits, image_folder)}
