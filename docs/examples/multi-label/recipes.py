"""What to train: which digits an image shows."""

from dataclasses import dataclass

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    images: int = 4000
    """Number of images that are made, in all splits together."""
    filters: int = 16
    """Filters of the first convolution; each further one has twice as many."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images < 100:
            raise UserError(f"images is {self.images}, but must be at least 100")


def digits_in_a_grid() -> Config:
    """Images of one to four handwritten digits, made from scikit-learn's: a minute on a CPU."""
    return Config(recipe="digits_in_a_grid", epochs=15, batch_size=64, learning_rate=3e-3)


RECIPES = {"digits_in_a_grid": digits_in_a_grid}
