# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Look up what the locks pin in a database of known vulnerabilities, and check the workflows.

`nox -s audit` runs this in an environment made from requirements/audit.txt; options go to
pip-audit. What does not concern this project, and why, pyproject.toml says:

    [tool.audit.accepted]
    PYSEC-2026-1 = "we read no pictures of others"
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)", re.MULTILINE)


def read_pins() -> dict[tuple[str, str], list[str]]:
    """Each package and version that a lock has, for whatever system, and in which locks."""
    pins: dict[tuple[str, str], list[str]] = {}
    for lock in sorted(Path("requirements").glob("*.txt")):
        for pin in dict.fromkeys(PIN.findall(lock.read_text("utf-8"))):
            pins.setdefault(pin, []).append(lock.name)
    return pins


def look_up(pins: list[tuple[str, str]], options: list[str]) -> list[dict]:
    """What pip-audit finds for these pins, which hold each package once."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "pins.txt")
        file.write_text("".join(f"{name}=={version}\n" for name, version in pins), "utf-8")
        command = [sys.executable, "-m", "pip_audit", f"--requirement={file}", "--no-deps"]
        command += ["--disable-pip", "--format=json", "--progress-spinner=off", *options]
        done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    try:
        return json.loads(done.stdout)["dependencies"]
    except ValueError:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        if "usage: " in done.stderr:
            sys.exit(f"audit: {said[-1]}")
        sys.exit(
            f"audit: the database of vulnerabilities does not answer ({said[-1][:150]}), so nothing"
            " was looked up: try again where it can be reached (PyPI, if you chose no other)."
        )


def vulnerabilities(options: list[str]) -> list[str]:
    """A line for each that is known and not accepted."""
    pins, found, unknown = read_pins(), [], []
    if not pins:
        sys.exit("audit: requirements/ has no locks: run `nox -s lock`.")
    rounds: list[dict[str, str]] = []
    for name, version in pins:  # a lock may hold one version for each Python
        fits = next((some for some in rounds if name not in some), None)
        if fits is None:
            rounds.append(fits := {})
        fits[name] = version
    pyproject = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))
    accepted = pyproject.get("tool", {}).get("audit", {}).get("accepted", {})
    for some in rounds:
        for package in look_up(list(some.items()), options):
            if "skip_reason" in package:
                unknown.append(package["name"])
            for known in package.get("vulns", []):
                if accepted.keys().isdisjoint([known["id"], *known["aliases"]]):
                    version = package["version"]
                    fixed = ", ".join(known["fix_versions"]) or "no version yet"
                    where = ", ".join(pins.get((package["name"], version), []))
                    line = f"{package['name']} {version}: {known['id']}, fixed in {fixed}"
                    found.append(f"{line} ({where})")
    if len(unknown) == len(pins):
        sys.exit(
            "audit: the database of vulnerabilities knows none of the packages, so nothing was"
            " looked up: try again where PyPI itself answers, not a mirror of it."
        )
    if unknown:
        print("Not known to the database, so not looked up:", ", ".join(sorted(unknown)))
    print(f"{len(pins)} pins, {len(found)} known vulnerabilities, {len(accepted)} accepted")
    return found


def workflows_are_safe() -> bool:
    """What zizmor says of GitHub's workflows; with a token it also looks at their actions."""
    offline = [] if os.environ.get("GH_TOKEN") else ["--offline"]
    zizmor = Path(sys.executable).with_name("zizmor.exe" if os.name == "nt" else "zizmor")
    print(".github: ", end="", flush=True)
    return not subprocess.run([zizmor, "--no-progress", "--quiet", *offline, ".github"]).returncode


def main(options: list[str]) -> None:
    safe = not Path(".github").is_dir() or workflows_are_safe()  # this takes no network
    if found := vulnerabilities(options):
        print(*found, sep="\n", flush=True)
        sys.exit(
            "audit: take versions without these with `nox -s lock -- --upgrade PACKAGE`; what does"
            " not concern this project goes into [tool.audit.accepted] of pyproject.toml, with why."
        )
    if not safe:
        sys.exit("audit: zizmor complains of the workflows in .github, see above.")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except (OSError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"audit: {error}.")
