"""What to train: which library a docstring is of."""

from dataclasses import dataclass

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    vocabulary: int = 4000
    """Number of words that the network knows, the most frequent of the training split."""
    length: int = 64
    """Words of a text that the network reads."""
    units: int = 64
    """Numbers that describe a word."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.vocabulary, self.length, self.units) < 1:
            raise UserError("vocabulary, length and units must be at least 1")


def docstrings() -> Config:
    """Docstrings of NumPy, SciPy, scikit-learn and Keras: seconds on a CPU."""
    return Config(recipe="docstrings", epochs=15, learning_rate=5e-3)


RECIPES = {"docstrings": docstrings}
