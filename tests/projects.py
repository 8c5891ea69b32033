"""What the tests of generated projects share: a home of their own, and their tasks in it."""

import os
import subprocess
from pathlib import Path


def own_home(project: Path) -> dict[str, str]:
    """The environment variables of somebody who has only this project."""
    cache = subprocess.run(["uv", "cache", "dir"], check=True, capture_output=True, text=True)
    env = os.environ | {"HOME": str(project.parent / "home"), "UV_CACHE_DIR": cache.stdout.strip()}
    for name in ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT"):
        env.pop(name, None)
    return env


def nox(project: Path, *arguments: str, code: int = 0, **env: str) -> str:
    """Run nox in a project and return what it prints; fail if it does, or ends with another code"""
    done = subprocess.run(
        ["nox", *arguments],
        cwd=project,
        env=own_home(project) | env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert done.returncode == code, done.stdout
    return done.stdout
