"""What to train: a forecast of the electricity that a town needs."""

from dataclasses import dataclass

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    window: int = 168
    """Hours of the past that a forecast starts from."""
    horizon: int = 24
    """Hours to forecast."""
    units: int = 128
    """Width of the hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.window < 1 or self.horizon < 1:
            raise UserError("window and horizon must be at least 1 hour")


def demand() -> Config:
    """A day's demand for electricity, from the week before: seconds on a CPU."""
    return Config(recipe="demand", epochs=30, batch_size=64)


RECIPES = {"demand": demand}
