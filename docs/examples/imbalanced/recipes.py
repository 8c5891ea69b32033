"""What to train: a detector of rare machine failures."""

from dataclasses import dataclass

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    failure_weight: float = 5.0
    """Weight of a failure in the training loss; 1 treats all examples alike."""
    units: int = 64
    """Width of the two hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.failure_weight <= 0:
            raise UserError(f"failure_weight is {self.failure_weight}, but must be above 0")


def failures() -> Config:
    """Made sensor readings, 5 % of them of failing machines: seconds on a CPU."""
    return Config(recipe="failures", epochs=20, batch_size=128, learning_rate=3e-3)


RECIPES = {"failures": failures}
