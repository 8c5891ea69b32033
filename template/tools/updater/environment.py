# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The updater's own environments, in the user's cache, apart from the project's packages."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from .files import Refused, digest

COPIER = "copier>=9.17.2,<10"  # see _min_copier_version in the template's copier.yml


def cache() -> Path:
    """The folder with the environments and the copies of templates."""
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(base or Path.home() / ".cache", "gpu-ml-template").absolute()
    except RuntimeError:  # this uid has no home
        raise Refused("this user has no home folder: set HOME or XDG_CACHE_HOME") from None


def environment(package: str) -> Path:
    """The Python of an environment with this package, which is made if it is not there."""
    folder = cache() / f"{re.split('[<>=]', package)[0]}-{digest(package + sys.version)[:12]}"
    python = Path("bin", "python")
    if (folder / python).exists():
        return folder / python
    uv = os.environ.get("UV")
    if not uv and sys.version_info < (3, 11):
        raise Refused(
            f"Python {sys.version.split()[0]} is too old for Copier: run this with Python 3.11 or"
            " newer, or install uv (`pip install uv`), which fetches one"
        )
    print(f"update: installing {package} into {folder}", file=sys.stderr, flush=True)
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    if uv:
        base = sys.executable if sys.version_info >= (3, 11) else ">=3.11"
        make = [uv, "venv", "--quiet", "--python", base, fresh]
        fill = [uv, "pip", "install", "--quiet", "--compile-bytecode"]
        fill += ["--python", fresh / python, package]
    else:
        make = [sys.executable, "-m", "venv", fresh]
        fill = [fresh / python, "-m", "pip", "install", "--quiet", package]
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        for command in (make, fill):  # not in the project, whose settings for uv are not ours
            subprocess.run(command, check=True, cwd=fresh.parent, stdout=sys.stderr)
        if folder.exists() and not (folder / python).exists():
            shutil.rmtree(folder)  # its own Python has gone
        with contextlib.suppress(OSError):  # where another update was faster
            fresh.rename(folder)
    except subprocess.CalledProcessError:
        raise Refused(
            f"{package} could not be installed (see above). It takes the package index once, and"
            " no network after that"
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder / python


def find_uv() -> str | None:
    if found := os.environ.get("UV") or shutil.which("uv"):
        return found
    try:
        import uv  # comes with `pip install nox[uv]`

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError):
        return None
