"""The releases that releases.txt records, and a clone in which each of them is a tag."""

import re
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]
NEXT = "v1000.0.0"  # the working tree, as a release above all others


def git(folder: Path, *args: str) -> str:
    """Run git in a folder and return what it prints."""
    return subprocess.run(
        ["git", *args], cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def read_releases(folder: Path = ROOT) -> dict[str, str]:
    """Version and commit of each release, the oldest first."""
    releases = {}
    for line in (folder / "releases.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            if not re.fullmatch(r"\S+ [0-9a-f]{40}", line):
                raise ValueError(f"releases.txt: {line!r} is not a version and a full commit")
            version, commit = line.split()
            if version in releases:
                raise ValueError(f"releases.txt has {version} twice")
            releases[version] = commit
    return releases


def tagged_clone(destination: Path, files: Path) -> Path:
    """Clone this repository, tag exactly the recorded releases, and release `files` as NEXT."""
    if git(ROOT, "rev-parse", "--is-shallow-repository") == "true\n":
        raise RuntimeError(
            "This clone is shallow and lacks the releases: run `git fetch --unshallow`"
        )
    git(ROOT, "clone", "--quiet", "--no-local", "--no-tags", str(ROOT), str(destination))
    git(destination, "remote", "remove", "origin")
    git(destination, "switch", "--quiet", "--force-create", "main")
    for version, commit in read_releases(files).items():
        git(destination, "tag", version, commit)
    git(destination, "rm", "-r", "--quiet", ".")
    shutil.copytree(files, destination, dirs_exist_ok=True)
    git(destination, "add", "--all", "--force")
    git(destination, "commit", "--quiet", "--allow-empty", "--message", "Working tree")
    git(destination, "tag", NEXT)
    return destination
