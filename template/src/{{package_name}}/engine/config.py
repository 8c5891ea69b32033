# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The fields of a run that every project has; a project adds its own in recipes.py.

This module imports no framework, so `--help` and wrong arguments answer at once.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

import tyro


class UserError(Exception):
    """A mistake that the user can correct: the message says what, where and what to do."""


Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that decides a run; it is saved as config.json in the run directory.

    Extend it in recipes.py: a dataclass with fields of any type that tyro can parse.
    """

    MAY_CHANGE: ClassVar[frozenset[str]] = frozenset({"epochs", "workers"})
    """Fields that may differ when a run is resumed, because they do not change its steps."""

    recipe: tyro.conf.Suppress[str]
    """Recipe that these values started from; it names the run directory."""
    epochs: int = 30
    """Maximum number of epochs."""
    batch_size: int = 32
    """Examples per training step, of all devices together."""
    learning_rate: float = 1e-3
    """Peak learning rate, reached after a short warm-up and followed by a cosine decay."""
    weight_decay: float = 1e-4
    """Decoupled weight decay of AdamW."""
    patience: int = 8
    """Stop after this many epochs without a better monitored metric; 0 never stops early."""
    precision: Precision = "float32"
    """Keras dtype policy; mixed_bfloat16 is fast on GPUs from Ampere on."""
    jit_compile: Literal["auto", "on", "off"] = "auto"
    """XLA (or torch.compile); auto leaves it off for TensorFlow on a CPU, where it is slower."""
    steps_per_execution: int = 1
    """Training steps per call into the framework; more reduces Python's share in small models."""
    deterministic: bool = False
    """Ask the framework for deterministic GPU kernels: slower, and TensorFlow turns XLA off."""
    workers: int = 4
    """Number of data-loading threads."""
    seed: int = 0
    """Seed of the weights, dropout, augmentation and data order."""
    init_from: Path | None = None
    """Finished run whose best weights a new run starts with."""

    def __post_init__(self) -> None:
        at_least_one = ("epochs", "batch_size", "steps_per_execution", "workers")
        minimum = dict.fromkeys(at_least_one, 1) | {"patience": 0, "seed": 0}
        for name, low in minimum.items():
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

    def to_json(self) -> dict[str, Any]:
        """Return the fields as values that JSON can hold."""
        return _converter().unstructure(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Return the config that `to_json` gave; ValueError if its fields are others."""
        import cattrs

        try:
            return _converter().structure(values, cls)
        except (cattrs.BaseValidationError, cattrs.StructureHandlerNotFoundError) as error:
            raise ValueError("; ".join(cattrs.transform_error(error, path=cls.__name__))) from None

    def changed_from(self, stored: Self) -> list[str]:
        """Return `name=old, now new` for each field that differs and decides the result."""
        old, new = stored.to_json(), self.to_json()
        return [
            f"{name}={old[name]}, now {new[name]}"
            for name in new
            if name not in self.MAY_CHANGE and old[name] != new[name]
        ]


def _converter():
    """Return what turns a config into JSON values and back, by the types of its fields."""
    from cattrs.preconf.json import make_converter

    return make_converter(forbid_extra_keys=True)
