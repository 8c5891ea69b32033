"""What to train: a network on six digits, then the same network on four others, from few images."""

from dataclasses import dataclass

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    digits: tuple[int, ...]
    """Digits to tell apart."""
    images: int | None = None
    """Number of training images, which the seed chooses; all if it is left out."""
    freeze: bool = False
    """Leave the feature extractor as it is, and train the head only."""
    features_rate: float = 1.0
    """Learning rate of the feature extractor, as a multiple of the head's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.features_rate <= 0:
            raise UserError(
                f"features_rate is {self.features_rate}, but must be above 0: "
                "use --freeze to leave the features as they are"
            )


def pretrain() -> Config:
    """Digits 0 to 5 from scratch, with all images."""
    return Config(recipe="pretrain", digits=(0, 1, 2, 3, 4, 5), epochs=15)


def fine_tune() -> Config:
    """Digits 6 to 9 from 40 images: --init-from a run of pretrain."""
    return Config(
        recipe="fine_tune",
        digits=(6, 7, 8, 9),
        images=40,
        learning_rate=0.01,
        epochs=40,
        batch_size=10,
        patience=0,
    )


RECIPES = {recipe.__name__: recipe for recipe in (pretrain, fine_tune)}
