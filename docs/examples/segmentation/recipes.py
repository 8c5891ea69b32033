"""What to train: which pixels of an image belong to a handwritten digit."""

from dataclasses import dataclass

from . import engine
from .engine import UserError


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    images: int = 1500
    """Number of images that are made, in all splits together."""
    filters: int = 8
    """Filters at full size; each halving of the size doubles them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.images < 100:
            raise UserError(f"images is {self.images}, but must be at least 100")


def digits_on_photos() -> Config:
    """Handwritten digits on photographs, both from scikit-learn: a minute on a CPU."""
    return Config(recipe="digits_on_photos", epochs=15, batch_size=50, learning_rate=3e-3)


RECIPES = {"digits_on_photos": digits_on_photos}
