# Managed by gpu-ml-template: copier update merges fixes into this file.
"""What decides a run: one frozen dataclass, and recipes, plain functions that return it.

This module imports no framework, so `--help` and wrong arguments answer at once.
"""

import dataclasses
import math
from pathlib import Path
from typing import Literal, get_args, get_origin

import tyro


class UserError(Exception):
    """Something the user can put right: one sentence with what, where and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run; it is saved as config.json in the run directory."""

    recipe: tyro.conf.Suppress[str]
    """Recipe that these values started from; it names the run directory."""
    data: Literal["digits", "image_folder", "synthetic"]
    """Data set, see data.py."""
    data_dir: Path = Path("data/raw")
    """Folder with a folder of images per class (image_folder only)."""
    image_size: int = 64
    """Height and width that images are resized to, in pixels (not for digits)."""
    model: Literal["cnn", "resnet50"] = "cnn"
    """Network, see model.py."""
    dropout: float = 0.3
    """Share of features dropped before the last layer, 0 to below 1."""
    epochs: int = 30
    """Most passes over the training data."""
    batch_size: int = 32
    """Examples per training step."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached after a short warm-up and followed by a cosine decay."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of AdamW."""
    patience: int = 8
    """Stop after this many epochs without a lower validation loss; 0 never stops early."""
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    """Keras dtype policy; mixed_bfloat16 is the fast one from the Ampere GPUs on."""
    jit_compile: Literal["auto", "on", "off"] = "auto"
    """XLA (or torch.compile); auto leaves it off for TensorFlow on a CPU, where it is slower."""
    steps_per_execution: int = 1
    """Training steps per call into the framework; more hides Python's share in small models."""
    deterministic: bool = False
    """Ask the framework for deterministic GPU kernels: slower, and TensorFlow turns XLA off."""
    workers: int = 4
    """Threads that read batches ahead."""
    seed: int = 0
    """Seed of the weights, the dropout and the data order."""

    def __post_init__(self) -> None:
        least = {
            "image_size": 8,
            "epochs": 1,
            "batch_size": 1,
            "steps_per_execution": 1,
            "workers": 1,
        }
        for name, low in (least | {"patience": 0, "seed": 0}).items():
            if (value := getattr(self, name)) < low:
                raise UserError(f"{name} is {value}, but must be at least {low}")
        for field in dataclasses.fields(self):
            choices = get_args(field.type) if get_origin(field.type) is Literal else ()
            if choices and (value := getattr(self, field.name)) not in choices:
                raise UserError(f"{field.name} is {value!r}, but must be one of {choices}")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UserError(f"learning_rate is {self.learning_rate}, but must be above 0")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise UserError(f"weight_decay is {self.weight_decay}, but must be at least 0")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}, but must be from 0 to below 1")

    def to_json(self) -> dict:
        """Return the fields as values that JSON can hold."""
        return dataclasses.asdict(self) | {"data_dir": str(self.data_dir)}

    @classmethod
    def from_json(cls, values: dict) -> "Config":
        """Return the config that `to_json` gave; TypeError if the fields are not this version's."""
        return cls(**values | {"data_dir": Path(values["data_dir"])})


def digits() -> Config:
    """1,797 scans of handwritten digits (8 x 8 pixels, from scikit-learn): seconds on a CPU."""
    return Config(recipe="digits", data="digits")


def image_folder() -> Config:
    """Your own pictures, data/raw/<class>/*.png or *.jpg, streamed from disk."""
    return Config(recipe="image_folder", data="image_folder", image_size=128, epochs=50)


def benchmark() -> Config:
    """ResNet-50 on one synthetic batch, for throughput only: its accuracy means nothing."""
    return Config(
        recipe="benchmark", data="synthetic", image_size=224, model="resnet50", epochs=3, patience=0
    )


RECIPES = {recipe.__name__: recipe for recipe in (digits, image_folder, benchmark)}
