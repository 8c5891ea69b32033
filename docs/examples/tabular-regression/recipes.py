"""What to train: the progression of diabetes, from ten measurements of a patient."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    MAY_CHANGE: ClassVar[frozenset[str]] = engine.Config.MAY_CHANGE | {"table"}

    table: Path = Path("data/raw/diabetes.csv")
    """CSV with a patient per row."""
    units: int = 32
    """Width of the two hidden layers."""
    dropout: float = 0.2
    """Dropout rate after each hidden layer, 0 to below 1."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.units < 1:
            raise UserError(f"units is {self.units}, but must be at least 1")
        if not 0 <= self.dropout < 1:
            raise UserError(f"dropout is {self.dropout}, but must be from 0 to below 1")


def diabetes() -> Config:
    """Progression of diabetes after a year, 442 patients from scikit-learn: seconds on a CPU."""
    return Config(recipe="diabetes", epochs=60, batch_size=16, learning_rate=5e-3, patience=15)


RECIPES = {"diabetes": diabetes}
