"""Make GitHub's release of a tag, with its section of CHANGELOG.md: release.yml runs this.

The tag has to be one that `nox -s release` made: releases.txt of the default branch records it.
"""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.version import Version

HERE = Path()  # a checkout, where nox runs its sessions
sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from guards import sections, unready  # noqa: E402
from releases import git, read_releases  # noqa: E402


def recorded(branch: str) -> dict[str, str]:
    """The releases that the newest releases.txt of the default branch knows."""
    with tempfile.TemporaryDirectory() as folder:
        text = git(HERE, "show", f"origin/{branch}:releases.txt")
        Path(folder, "releases.txt").write_text(text)
        return read_releases(Path(folder))


def obstacle(tag: str, record: dict[str, str], changelog: str) -> str | None:
    """What keeps a tag from being published."""
    if tag not in record:
        return (
            f"releases.txt does not record {tag}: release with `nox -s release -- {tag}`, and push"
            " the branch with the tag"
        )
    if (commit := git(HERE, "rev-parse", f"refs/tags/{tag}^{{commit}}").strip()) != record[tag]:
        return (
            f"the tag {tag} is at {commit}, and releases.txt has {record[tag]}: a tag is never"
            " moved, so put it back there"
        )
    if complaints := unready(tag, changelog):
        return complaints[0].rstrip(".")
    return None


def notes(tag: str, changelog: str) -> str:
    """The tag's section, each item on one line: a release breaks its lines where the text does."""
    [text] = [text for head, text in sections(changelog).items() if head.split(" - ")[0] == tag]
    lines = [""]
    for line in text.splitlines():
        goes_on = re.match(r" *[^\s*#|]", line) and re.match(r"[^#|]", lines[-1])
        lines[-1:] = [f"{lines[-1]} {line.strip()}"] if goes_on else [lines[-1], line]
    return "\n".join(lines).strip() + "\n"


def gh(*args: str, text: str = "") -> subprocess.CompletedProcess:
    try:
        return subprocess.run(["gh", "release", *args], input=text, capture_output=True, text=True)
    except FileNotFoundError:
        sys.exit("publish: gh is missing on this runner: install it.")


def main() -> None:
    if os.environ.get("GITHUB_REF_TYPE") != "tag":
        sys.exit("publish: this is what CI does with a tag; here it is `nox -s release -- v0.2.0`.")
    tag = os.environ["GITHUB_REF_NAME"]
    changelog = git(HERE, "show", f"refs/tags/{tag}:CHANGELOG.md")
    if reason := obstacle(tag, recorded(os.environ["DEFAULT_BRANCH"]), changelog):
        sys.exit(f"publish: {reason}.")
    where = f"--repo={os.environ['GITHUB_REPOSITORY']}"
    if gh("view", tag, where).returncode == 0:
        return print(f"{tag} is published already.")
    kind = ["--prerelease"] if Version(tag).is_prerelease else []
    options = (where, "--verify-tag", f"--title={tag}", "--notes-file=-", *kind)
    done = gh("create", tag, *options, text=notes(tag, changelog))
    print(done.stdout, end="")
    if done.returncode:
        sys.exit(f"publish: gh failed: {done.stderr.strip()}.")


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(f"publish: git failed: {error.stderr.strip()}.")
