# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Image folders as data sets: found, checked, split, and described before the first epoch.

`python -m PACKAGE.engine.image_folder FOLDER` checks a folder by itself.
"""

from .load import CACHE, ImageFiles, load_image_folder

__all__ = ["CACHE", "ImageFiles", "load_image_folder"]
