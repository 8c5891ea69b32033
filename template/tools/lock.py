# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Lock pyproject.toml's ranges: training (cpu, gpu), tools (dev), Ray (scale), checks (audit).

Every lock serves all systems and Pythons, carries hashes and names no index. dev.txt and scale.txt
hold what the locks before them lack, and go on top of cpu.txt or gpu.txt; audit.txt stands alone.
Pins that still fit are kept. The pre-commit hooks follow the locks; a version that you set stays.
"""

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

# What each lock is made of; each is held to the pins of those before it, but for the last one.
LOCKS = {
    "cpu.txt": ["pyproject.toml", "--extra=cpu"],
    "gpu.txt": ["pyproject.toml", "--extra=gpu"],
    "dev.txt": ["--group=pyproject.toml:dev"],
    "scale.txt": ["pyproject.toml", "--extra=scale"],
    "audit.txt": ["--group=pyproject.toml:audit"],
}
UV = ["pip", "compile", "--universal", "--generate-hashes", "--no-annotate", "--no-header"]
UV += ["--no-emit-index-url", "--no-emit-find-links", "--quiet"]
HOOKS = ".pre-commit-config.yaml"
PIN = re.compile(r"([\w.-]+)==([\w.!+*-]+)")
HEADER = "# Made by `nox -s lock` from the ranges in pyproject.toml: edit those, not these pins.\n"


def blocks(lock: str) -> list[str]:
    """Return the requirements and options in a lock, each with its hashes and a last newline."""
    # A line continues after a backslash, and in the indented lines below it.
    block, lock = r"^[^#\s].*(?:(?<=\\)\n.*|\n[ \t]+.*)*", lock.replace("\r\n", "\n")
    found = re.findall(block, lock, re.MULTILINE)
    # A backslash at the end of a cut-off lock would pull in the requirement that follows later.
    return [re.sub(r"[\\\s]+\Z", "", block) + "\n" for block in found]


def head(pyproject: dict, bodies: list[str]) -> str:
    """The head of the last of these locks; its digest tells whether the ranges changed since."""
    keys = ("requires-python", "dependencies", "optional-dependencies")
    ranges = [pyproject["project"].get(key) for key in keys]
    ranges += [pyproject.get("dependency-groups"), pyproject.get("tool", {}).get("uv")]
    text = json.dumps([ranges, UV, bodies], sort_keys=True, default=str)
    return f"{HEADER}# digest: {hashlib.sha256(text.encode()).hexdigest()}\n"


def versions(locks: str) -> dict[str, list[str]]:
    """Return the versions that the locks pin, by package: several if they depend on the system."""
    found: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;\\]+)", locks, re.MULTILINE):
        found.setdefault(name, []).append(version)
    return {name: list(dict.fromkeys(pins)) for name, pins in found.items()}


def hooks(config: str, old_locks: str, new_locks: str) -> str:
    """Return the pre-commit settings with each pin that the old locks had as the new ones have it.

    Any other version was set by you: it stays.
    """
    old, new = versions(old_locks), versions(new_locks)

    def pin(hit: re.Match) -> str:
        name, version = hit.groups()
        follows = version in old.get(name, ()) and version not in new.get(name, [version])
        return f"{name}=={new[name][-1]}" if follows else hit[0]

    return PIN.sub(pin, config)


def out_of_step(config: str, locks: str) -> list[str]:
    """Return a note for each pin in the pre-commit settings that differs from the locks.

    Notes, no failure: the files alone do not tell a version that you set from a hook that somebody
    forgot, and `nox -s lock` would not change either of them.
    """
    locked = versions(locks)
    return [
        f"{HOOKS}: {name}=={version} is not the locked version ({', '.join(locked[name])})."
        " It stays; edit it if it is to follow."
        for name, version in dict.fromkeys(PIN.findall(config))
        if version not in locked.get(name, [version])
    ]


def compile_locks(root: Path, options: list[str], old: list[str], scratch: str) -> list[str]:
    """Let uv make every lock, starting from the old one's pins."""
    uv = os.environ.get("UV") or shutil.which("uv") or sys.exit("lock: uv is missing: install it.")
    # UV_TORCH_BACKEND would take torch from an index that fits this machine alone.
    env = {key: value for key, value in os.environ.items() if key != "UV_TORCH_BACKEND"}
    bodies: list[str] = []
    for (name, source), pins in zip(LOCKS.items(), old, strict=True):
        Path(scratch, name).write_text(pins, "utf-8")
        held = [f"--constraints={scratch}/{earlier}" for earlier in list(LOCKS)[: len(bodies)]]
        held = [] if name == "audit.txt" else held
        command = [uv, *UV, *options, *source, *held, f"--output-file={scratch}/{name}"]
        if subprocess.run(command, cwd=root, env=env, stdout=subprocess.DEVNULL).returncode:
            sys.exit(f"lock: uv could not make {name} (see above); no lock was changed.")
        found = blocks(Path(scratch, name).read_text("utf-8"))
        if name in ("dev.txt", "scale.txt"):
            found = [block for block in found if not all(block in body for body in bodies[:2])]
        bodies.append("".join(found))
    return bodies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("project", nargs="?", default=".", type=Path, help="its folder")
    parser.add_argument("--check", action="store_true", help="only compare, without the network")
    parser.add_argument("--upgrade", nargs="?", const="", metavar="PACKAGE", help="to newest pins")
    args = parser.parse_args()
    root = args.project.resolve()
    files = [root / "requirements" / name for name in LOCKS] + [root / HOOKS]
    old = [file.read_text("utf-8") if file.is_file() else "" for file in files]
    pyproject = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    if args.check:
        bodies = ["".join(blocks(lock)) for lock in old[:-1]]
    else:
        python = re.search(r">=\s*([\d.]+)", pyproject["project"].get("requires-python", ">=3.11"))
        options = [f"--python-version={python[1]}"]
        if args.upgrade is not None:
            options += [f"--upgrade-package={args.upgrade}" if args.upgrade else "--upgrade"]
        with tempfile.TemporaryDirectory() as scratch:
            bodies = compile_locks(root, options, old[:-1], scratch)
    new = [head(pyproject, bodies[: n + 1]) + body for n, body in enumerate(bodies)]
    locks = "".join(new)
    new += [hooks(old[-1], "\n".join(old[:-1]), locks)]
    changed = {file: now for file, was, now in zip(files, old, new, strict=True) if was != now}
    names = ", ".join(file.name for file in changed)
    print(*(f"lock: {note}\n" for note in out_of_step(new[-1], locks)), sep="", end="")
    if args.check and changed:
        sys.exit(f"lock: {names} out of step with pyproject.toml: run `nox -s lock`.")
    for file, now in changed.items():
        file.parent.mkdir(exist_ok=True)
        file.with_name(f"{file.name}.tmp").write_text(now, "utf-8", newline="\n")
    for file in changed:
        os.replace(file.with_name(f"{file.name}.tmp"), file)
    print(f"lock: changed {names}" if changed else "lock: nothing to change")


if __name__ == "__main__":
    try:
        main()
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        sys.exit(f"lock: {error}; no lock was changed.")
