"""What to train: quantiles of the duration of a bus ride."""

from dataclasses import dataclass

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    """Quantiles to predict, in rising order, each between 0 and 1."""
    units: int = 64
    """Width of the two hidden layers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        rising = list(self.quantiles) == sorted(set(self.quantiles))
        if len(self.quantiles) < 2 or not rising or not 0 < min(self.quantiles) < 1:
            raise UserError(f"quantiles are {self.quantiles}, but must rise between 0 and 1")
        if max(self.quantiles) >= 1:
            raise UserError(f"quantiles are {self.quantiles}, but must be below 1")


def bus_rides() -> Config:
    """The 10 %, 50 % and 90 % quantiles of a bus ride's minutes: seconds on a CPU."""
    return Config(recipe="bus_rides", epochs=40, learning_rate=5e-3)


RECIPES = {"bus_rides": bus_rides}
