# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Check an image folder from the command line, and move files that cannot be read elsewhere."""

import os
import sys
from pathlib import Path

import tyro

from ..config import UserError
from .check import check_images
from .find import count, find_images, printable
from .load import CACHE

PROGRAM = f"python -m {__name__.rpartition('.')[0]}"


def check(root: tyro.conf.Positional[Path], move_bad: Path | None = None) -> int:
    """Decode all images of a folder, and list those that cannot be read.

    Args:
        root: Folder of images, as data_dir in a recipe.
        move_bad: Folder to move them to, by the same names. Nothing is overwritten.
    """
    found = find_images(root)
    examined = check_images(root, found.files, CACHE)
    bad = [file.name for file in found.files if examined[file.name].error]
    for name in bad:
        print(f"{printable(name)}: {examined[name].error}")
    for line in found.left_out():
        print(line)
    good = len(found.files) - len(bad)
    print(f"{root}: {count(good, 'good image')}, {len(bad):,} that cannot be read")
    if bad and move_bad:
        for name in bad:
            move(root / name, move_bad / name)
        print(f"moved {count(len(bad), 'file')} to {move_bad}")
        return 0
    return 1 if bad else 0


def move(source: Path, target: Path) -> None:
    """Move a file; UserError if there is one already, or if that is not possible."""
    if os.path.lexists(target):
        raise UserError(f"{target} exists: choose another folder for --move-bad")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        import shutil

        shutil.move(source, target)
    except OSError as error:
        raise UserError(
            f"{source} cannot be moved to {target} ({error.strerror}): choose another folder for "
            "--move-bad"
        ) from None


def main() -> None:
    try:
        sys.exit(tyro.cli(check, prog=PROGRAM))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
