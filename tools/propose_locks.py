"""Propose newer locks in a pull request: weekly.yml runs this, in two jobs.

`prepare PATCH` writes what `nox -s lock -- --upgrade` has changed into a file, with a line for
CHANGELOG.md; the tests follow in that job, which may write nothing. `propose PATCH` takes the file
to a branch and opens the pull request; that job may, and runs nothing of what the locks install.
"""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]
PREFIX = "newer-locks/"
CHANGED = ("template/", "CHANGELOG.md")  # what a patch may touch
HELPER = '!echo username=x-access-token; echo "password=$GH_TOKEN"; :'
AUTHOR = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)
ALLOW = "in the repository's settings, Actions, allow workflows to create pull requests"


def fail(sentence: str) -> NoReturn:
    sys.exit(f"propose_locks: {sentence}.")


def run(*command: str, text: str | None = None) -> str:
    env = os.environ | {"GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, env=env, cwd=ROOT
        )
    except FileNotFoundError:
        fail(f"{command[0]} is missing on this runner: install it")
    if done.returncode:
        said = done.stderr.strip()
        fail(f"{command[0]} failed: {said}" + (f"; {ALLOW}" if "not permitted" in said else ""))
    return done.stdout


def git(*args: str) -> str:
    return run("git", "-c", "credential.helper=", "-c", f"credential.helper={HELPER}", *args)


def news(*sides: str) -> list[str]:
    """Each package that has other versions in the locks than before, as text."""
    found: list[dict[str, set[str]]] = [{}, {}]
    for name in git("diff", "--name-only", "-z", *sides[:1]).split("\0"):
        if "requirements" in name and name.endswith(".txt"):
            texts = git("show", f"HEAD:{name}"), (ROOT / name).read_text("utf-8")
            for pins, text in zip(found, texts, strict=True):
                for package, version in PIN.findall(text):
                    pins.setdefault(package, set()).add(version)
    old, new = found
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = (", ".join(sorted(side.get(name, "-"))) for side in found)
        lines += [f"{name} {before} -> {after}"] * (before != after)
    return lines


def note(changelog: str, line: str) -> str:
    """The changelog with a line under Unreleased, Changed."""
    top, first, rest = re.split(r"^(?=## )", changelog, maxsplit=1, flags=re.MULTILINE), "", ""
    head, rest = top[0], top[1] if len(top) > 1 else ""
    if not rest.startswith("## Unreleased\n"):
        return f"{head}## Unreleased\n\n### Changed\n{line}\n\n{rest}"
    first, *others = re.split(r"(?<=\n)(?=## )", rest, maxsplit=1)
    if "### Changed\n" in first:
        first = first.replace("### Changed\n", f"### Changed\n{line}\n", 1)
    else:
        first = f"{first.rstrip()}\n\n### Changed\n{line}\n\n"
    return "".join([head, first, *others])


def prepare(patch: Path) -> None:
    changed = bool(git("diff", "--name-only", "HEAD").strip())
    if changed:
        packages = len(news("HEAD"))
        log = ROOT / "CHANGELOG.md"
        line = f"* Locks: other versions of {packages} packages."
        log.write_text(note(log.read_text("utf-8"), line), "utf-8", newline="\n")
        patch.write_text(git("diff", "--binary", "HEAD"), "utf-8", newline="\n")
    print("There are newer versions." if changed else "There is nothing newer.")
    if output := os.environ.get("GITHUB_OUTPUT"):
        with open(output, "a", encoding="utf-8") as file:
            file.write(f"changed={str(changed).lower()}\n")


def propose(patch: Path) -> None:
    def gh(*args: str, text: str | None = None) -> str:
        return run("gh", "pr", *args, f"--repo={os.environ['GITHUB_REPOSITORY']}", text=text)

    fields = "--json=url,headRefName,isCrossRepository --jq"
    query = '.[] | select(.isCrossRepository | not) | "\\(.headRefName) \\(.url)"'
    for line in gh("list", "--state=open", "--limit=1000", *fields.split(), query).splitlines():
        if line.startswith(PREFIX):
            return print(f"Proposed already: {line.split()[1]} is open. Merge or close it.")
    numstat = git("apply", "--numstat", "-z", str(patch)).split("\0")
    names = [entry.split("\t", 2)[2] for entry in numstat if entry]
    if wrong := [name for name in names if not name.startswith(CHANGED)]:
        fail(f"the patch changes {wrong[0]}, which is no lock")
    start = git("rev-parse", "HEAD").strip()
    git("apply", "--index", str(patch))
    listing = "\n".join(f"* `{line}`" for line in news("HEAD"))
    green = os.environ.get("TESTS") == "success"
    verdict = "passed" if green else "failed"
    url = "{GITHUB_SERVER_URL}/{GITHUB_REPOSITORY}".format_map(os.environ)
    text = (
        f"`nox -s lock -- --upgrade` found newer versions. The tests **{verdict}** with them:"
        f" {url}/actions/runs/{os.environ['GITHUB_RUN_ID']}\n\n"
        "Workflows do not start by themselves here, since a workflow opened this: close it and open"
        f" it again.\n\n{listing}\n"
    )
    title, branch = "Take newer versions of what the locks pin", f"{PREFIX}{date.today()}"
    who = ("-c", f"user.name={AUTHOR[0]}", "-c", f"user.email={AUTHOR[1]}")
    git(*who, "commit", "--quiet", "--no-verify", f"--message={title}")
    ref = f"refs/heads/{branch}"
    git("push", "--no-verify", f"{url}.git", f"HEAD:{ref}")
    git("switch", "--quiet", "--detach", start)
    create = ("create", f"--head={branch}", f"--base={os.environ['GITHUB_REF_NAME']}")
    options = (f"--title={title}", "--body-file=-", *([] if green else ["--draft"]))
    try:
        print(gh(*create, *options, text=text), end="")
    except SystemExit:
        git("push", "--delete", f"{url}.git", ref)  # so that the next run tries again
        raise


if __name__ == "__main__":
    if "GITHUB_ACTIONS" not in os.environ:
        fail("this is what CI runs; here it is `nox -s lock -- --upgrade`")
    action = {"prepare": prepare, "propose": propose}.get(" ".join(sys.argv[1:2]))
    if action is None or len(sys.argv) != 3:
        fail("say `prepare PATCH` or `propose PATCH`")
    action(Path(sys.argv[2]).resolve())
