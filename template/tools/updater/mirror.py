# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The copy of the template's repository in the cache, which makes updates work offline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from .environment import cache
from .files import Refused, digest
from .repository import asks, configure, locked


def public(text: object) -> str:
    """A text without the user names and tokens in its addresses."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", str(text))


def url_of(source: str) -> str:
    """The address behind Copier's short forms."""
    for short, host in (("gh:", "https://github.com/"), ("gl:", "https://gitlab.com/")):
        if source.startswith(short):
            return host + source[len(short) :].removesuffix(".git") + ".git"
    return source.removeprefix("git+")


def mirror(source: str) -> Path:
    """A repository here that has the template; git takes it in the place of the address.

    It makes an update work without a network, once the template was fetched.
    """
    if Path(source).expanduser().exists():
        folder = Path(source).expanduser()
        return folder / ".git" if (folder / ".git").exists() else folder
    url = url_of(source)
    here = cache() / f"template-{digest(url)[:12]}.git"
    here.parent.mkdir(parents=True, exist_ok=True)
    lock = locked(here.with_name(f".{here.name}.lock"), wait=True)  # noqa: F841  (until the return)
    damaged = here.exists() and not intact(here)
    if damaged:
        print(f"update: the copy in {here} is damaged: cloning it again", file=sys.stderr)
    if here.exists() and not damaged:
        if failure := fetch(f"--git-dir={here}", "remote", "update", "--prune"):
            print(
                f"update: {public(url)} does not answer ({public(failure.splitlines()[-1])});"
                " using the copy that was fetched last time",
                file=sys.stderr,
            )
    elif failure := clone(url, here):
        after = f". The update then replaces {here}, which is damaged" if damaged else ""
        raise Refused(
            f"the template at {url} cannot be reached. git says:\n{failure}\nCheck the"
            f" network, your access, and _src_path in the answers file{after}"
        )
    configure(**{f"url_{here.as_uri()}.insteadOf": url})
    return here


def fetch(*args: str) -> str:
    """Run git, which fetches; return what it says if it fails.

    A pack appears as a whole, loose objects one by one; and nothing goes on in the background.
    """
    command = ["git", "-c", "fetch.unpackLimit=1", "-c", "transfer.unpackLimit=1"]
    command += ["-c", "gc.auto=0", "-c", "maintenance.auto=false", *args]
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"} if not sys.stdin.isatty() else None
    done = subprocess.run(command, capture_output=True, env=env)
    said = done.stderr.decode(errors="replace").strip()
    return (said or "no reason given") if done.returncode else ""


def intact(repository: Path) -> bool:
    """Whether all that the refs need is there, and no fetch was killed while it wrote a ref."""
    if any(repository.rglob("*.lock")):
        return False
    # `git fsck --connectivity-only` does not see that a pack was cut off.
    return asks(f"--git-dir={repository}", "rev-list", "--objects", "--all", "--quiet") is not None


def clone(url: str, here: Path) -> str:
    """Put a fresh clone in the place of this folder; return what git says if it fails."""
    with tempfile.TemporaryDirectory(dir=here.parent) as scratch:
        if failure := fetch("clone", "--quiet", "--mirror", "--", url, f"{scratch}/git"):
            return failure
        if here.exists():
            here.rename(f"{scratch}/damaged")
        Path(scratch, "git").rename(here)
    return ""


def find(repository: Path, version: str) -> str:
    """The version as the template spells it: 0.3.0 is v0.3.0."""
    has = f"--git-dir={repository}"
    for name in (version, f"v{version}"):
        if not name.startswith("-") and asks(
            has, "rev-parse", "-q", "--verify", name + "^{commit}"
        ):
            return name
    tags = (asks(has, "tag", "--sort=-version:refname") or "").split()
    raise Refused(
        f"the template has no version {version}; it has {', '.join(tags[:5]) or 'no tags'}"
    )
