"""Release HEAD as a version: check it, tag it, record it. `nox -s release -- v0.2.0` runs this."""

import subprocess
import sys
from pathlib import Path

from packaging.version import Version

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from guards import sections, unready  # noqa: E402
from releases import git, read_releases  # noqa: E402


def obstacle(version: str) -> str | None:
    """What keeps HEAD from being released as this version."""
    changelog = (ROOT / "CHANGELOG.md").read_text()
    last = list(read_releases())[-1]
    if complaints := unready(version, changelog):
        return complaints[0]
    if next(iter(sections(changelog))).split(" - ")[0] != version:
        return f"CHANGELOG.md has a section above ## {version}."
    if Version(version) <= Version(last):
        return f"{version} is not above {last}, the last release."
    if git(ROOT, "tag", "--list", version):
        return f"There is a tag {version} already: a tag is never moved, take the next version."
    if git(ROOT, "status", "--porcelain"):
        return "There are changes that are not committed."
    if not git(ROOT, "branch", "--show-current"):
        return "HEAD is on no branch: `git switch main`."
    guards = [sys.executable, "-m", "pytest", "--quiet", "tests/test_guards.py"]
    if subprocess.run(guards, cwd=ROOT).returncode:
        return "The guards have complaints, see above."
    return None


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("release: name the version: `nox -s release -- v0.2.0`")
    version, record = sys.argv[1], ROOT / "releases.txt"
    if reason := obstacle(version):
        sys.exit(f"release: {reason}")
    commit, before = git(ROOT, "rev-parse", "HEAD").strip(), record.read_text()
    record.write_text(f"{before}{version} {commit}\n")
    try:
        git(ROOT, "commit", "--quiet", f"--message=Record {version}", "releases.txt")
    except subprocess.CalledProcessError as error:
        record.write_text(before)
        sys.exit(f"release: git commit failed, nothing was released: {error.stderr}")
    git(ROOT, "tag", "--annotate", f"--message={version}", version, commit)
    print(f"{version} is {commit}. Next: `git push --follow-tags origin main`")


if __name__ == "__main__":
    main()
