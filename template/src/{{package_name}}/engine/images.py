# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Reading image files."""

from pathlib import Path

import numpy as np

from .config import UserError
from .pipeline import Arrays


def read_images(files: list[tuple[Path, int]], indices: np.ndarray, size: int) -> Arrays:
    """Return the images at `indices` of `files` as RGB of size x size pixels, and their labels."""
    from PIL import Image, ImageOps

    images = np.empty((len(indices), size, size, 3), "uint8")
    for row, index in enumerate(indices):
        path = files[index][0]
        try:
            with Image.open(path) as image:
                image.draft("RGB", (size, size))  # lets JPEG decode at a smaller scale
                if image.mode.startswith("I;16"):  # Pillow would clip 16 bits, not scale them
                    image = Image.fromarray((np.asarray(image) >> 8).astype("uint8"))
                upright = ImageOps.exif_transpose(image).convert("RGB")
                images[row] = upright.resize((size, size))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise UserError(f"{path} is not a readable image: replace or delete it") from error
    return images, np.array([files[index][1] for index in indices], "int32")
