"""What to train: a generative adversarial network that draws digits."""

from dataclasses import dataclass

from . import engine


@dataclass(frozen=True, kw_only=True)
class Config(engine.Config):
    """The fields of the engine, and those of this problem."""

    noise: int = 16
    """Numbers of noise that an image is drawn from."""
    units: int = 192
    """Width of the hidden layers."""


def gan() -> Config:
    """A GAN that draws digits of 8 x 8 pixels: a minute on a CPU."""
    return Config(recipe="gan", epochs=100, batch_size=64, learning_rate=1e-3, patience=0)


RECIPES = {"gan": gan}
