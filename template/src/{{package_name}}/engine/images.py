# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Reading an image file: one function from a path to RGB pixels, for training and prediction.

`load_image` is the only place that decodes pixels for a network. `examine` decodes a file to find
out whether that will work.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np

from .config import UserError
from .pipeline import Arrays

if TYPE_CHECKING:
    from PIL.Image import Image

Resize = Literal["fit", "crop", "stretch"]
Resample = Literal["bilinear", "bicubic"]
PAD = (128, 128, 128)
"""Colour beside an image that `fit` has resized: grey, the zero of a network's input."""
LARGE = 40_000_000
"""Images of more pixels than this are decoded one at a time, so that they fit into memory."""
FULL_SCALES = (255, 1023, 4095, 16383, 65535)
"""Highest values of 8, 10, 12, 14 and 16 bits."""
_one_large = threading.Lock()


@dataclass(frozen=True)
class ImageReader:
    """How the images of a data set are read: call it with a path for an image's pixels."""

    size: int
    """Height and width, in pixels."""
    resize: Resize = "stretch"
    """fit pads, crop cuts off the longer sides, stretch changes the aspect ratio."""
    white: float | None = None
    """Value that becomes 255 in grey images of 16 or 32 bits; None: 65,535, or 255 if none of an
    image's values of 32 bits is higher."""
    white_float: float | None = None
    """The same for images of floats; None: by each image's highest value."""
    resample: Resample = "bilinear"
    """Filter of the resizing. bilinear first shrinks by whole factors, as decoding a JPEG does: it
    is faster. bicubic is what versions before v0.10.0 did."""

    def __post_init__(self) -> None:
        if self.resize not in get_args(Resize):
            known = ", ".join(get_args(Resize))
            raise UserError(f"resize is {self.resize!r}, but must be one of {known}")

    def __call__(self, path: Path) -> np.ndarray:
        return load_image(path, self)


def load_image(path: Path, how: ImageReader) -> np.ndarray:
    """Return an image file as RGB, uint8 (size, size, 3), upright by its EXIF orientation.

    Transparent pixels show white behind them. Raises UserError if the file cannot be read.
    """
    from PIL import ImageOps

    with _refusals(path), _opened(path) as image:
        image.draft("RGB", _target(image.size, how))  # lets JPEG decode at a smaller scale
        ImageOps.exif_transpose(image, in_place=True)
        return _resized(_rgb(image, how), how)


def read_images(
    files: list[tuple[Path, int]], indices: np.ndarray, size: int, resize: Resize = "stretch"
) -> Arrays:
    """Return the images at `indices` of `files` as RGB of size x size pixels, and their labels.

    Grey images of 16 bits are scaled from 0 to 65,535: `load_image_folder` finds their real range.
    """
    how = ImageReader(size, resize, resample="bicubic")
    images = np.empty((len(indices), size, size, 3), "uint8")
    for row, index in enumerate(indices):
        images[row] = load_image(files[index][0], how)
    return images, np.array([files[index][1] for index in indices], "int32")


@dataclass(frozen=True)
class Examined:
    """What is known of an image file whose pixels were decoded once."""

    digest: str = ""
    """Hash of its content."""
    highest: float | None = None
    """Highest value, if it is a grey image of more than 8 bits."""
    floats: bool = False
    """Whether its values are floats."""
    error: str = ""
    """Why it cannot be read, in a few words."""


def examine(path: Path) -> Examined:
    """Decode an image file once, at the lowest scale that reads all of it; it never raises."""
    try:
        content = path.read_bytes()
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        if not content:
            return Examined(digest, error="empty file")
        with _opened(io.BytesIO(content)) as image:
            image.draft("RGB", (1, 1))
            image.load()
            _rgb(image.crop((0, 0, 1, 1)), ImageReader(1))  # a mode that cannot be converted
            if not _is_deep(image):
                return Examined(digest)
            highest = float(np.asarray(image).max())
            if not np.isfinite(highest):
                return Examined(digest, error="has values that are not finite")
            return Examined(digest, highest, image.mode == "F")
    except Exception as error:
        return Examined(error=explain(error))


def full_scale(highest: float, floats: bool) -> float:
    """Return the value that means white in images whose highest value is `highest`.

    Integers: that of the fewest bits (8, 10, 12, 14, 16) that hold it. Floats: 1 or 255.
    """
    scales = (1.0, 255.0) if floats else FULL_SCALES
    return float(next((scale for scale in scales if highest <= scale), highest))


@functools.cache
def readable_suffixes() -> frozenset[str]:
    """Return the suffixes, in lower case, of the formats that Pillow decodes by itself."""
    from PIL import Image

    stubs = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}  # opened, but not decoded
    names = Image.registered_extensions().items()
    return frozenset(s for s, kind in names if kind in Image.OPEN and kind not in stubs)


def explain(error: Exception) -> str:
    """Return in a few words why an image cannot be read."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, FileNotFoundError):
        return "the file has vanished"
    if isinstance(error, OSError) and error.errno:
        return (error.strerror or str(error)).lower()
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        return f"more than {most:,} pixels, which is Pillow's limit: make it smaller"
    if isinstance(error, MemoryError):
        return "too large for this machine's memory: make it smaller"
    lines = str(error).splitlines()
    return f"cannot be decoded ({lines[0] if lines else type(error).__name__})"


@contextlib.contextmanager
def _refusals(path: Path) -> Generator[None]:
    """Raise a UserError that names the file for whatever goes wrong; Pillow raises many kinds."""
    try:
        yield
    except Exception as error:
        raise UserError(
            f"{path} is not a readable image ({explain(error)}): replace or delete it"
        ) from error


@contextlib.contextmanager
def _opened(source: Path | io.BytesIO) -> Generator[Image]:
    """Open an image file; one that is large waits until no other large one is in memory."""
    with _pillow().open(source) as image:
        large = image.width * image.height > LARGE
        with _one_large if large else contextlib.nullcontext():
            yield image


@functools.cache
def _pillow():
    """Return PIL.Image, which warns of images that are large, but below its limit, no more."""
    import warnings

    from PIL import Image

    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    return Image


def _is_deep(image: Image) -> bool:
    """Return whether an image is grey with more than 8 bits: Pillow would clip it, not scale it."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _rgb(image: Image, how: ImageReader) -> Image:
    """Return an image of any mode as RGB."""
    from PIL import Image as pillow

    if _is_deep(image):
        return pillow.fromarray(_scaled(np.asarray(image), image.mode, how)).convert("RGB")
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")
    rgba = image.convert("LA").convert("RGBA") if image.mode == "La" else image.convert("RGBA")
    white = pillow.new("RGBA", rgba.size, "white")
    white.alpha_composite(rgba)
    return white.convert("RGB")


def _scaled(values: np.ndarray, mode: str, how: ImageReader) -> np.ndarray:
    """Return grey values of more than 8 bits as uint8; those below 0 become 0."""
    highest = float(values.max())
    if not np.isfinite(highest):
        raise ValueError("it has values that are not finite")
    if mode == "F":
        white = how.white_float or full_scale(highest, floats=True)
    elif how.white:
        white = how.white
    else:
        white = 255 if mode == "I" and highest <= 255 else max(65535, highest)
    scaled = values.astype("float32") * np.float32(255 / white)
    return np.rint(scaled.clip(0, 255)).astype("uint8")


def _target(size: tuple[int, int], how: ImageReader) -> tuple[int, int]:
    """Return the width and height that an image of a size is resized to, before cut or padding."""
    if how.resize == "stretch":
        return how.size, how.size
    scale = how.size / (max(size) if how.resize == "fit" else min(size))
    width, height = (max(1, round(side * scale)) for side in size)
    return width, height


def _resized(image: Image, how: ImageReader) -> np.ndarray:
    """Return the pixels of an RGB image, resized to (size, size, 3)."""
    from PIL import Image as pillow

    box = None
    if how.resize == "crop":
        side = min(image.size)
        left, top = ((length - side) / 2 for length in image.size)
        box = (left, top, left + side, top + side)
    resized = image.resize(
        _target(image.size, how) if box is None else (how.size, how.size),
        getattr(pillow.Resampling, how.resample.upper()),
        box=box,
        reducing_gap=1.0 if how.resample == "bilinear" else None,
    )
    if resized.size == (how.size, how.size):
        return np.asarray(resized)
    left, top = ((how.size - side) // 2 for side in resized.size)
    padded = np.full((how.size, how.size, 3), PAD, "uint8")
    padded[top : top + resized.height, left : left + resized.width] = resized
    return padded
