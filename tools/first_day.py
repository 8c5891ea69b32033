"""Do what docs/first-day.md says, word for word, in an empty home: `first_day.py FOLDER`.

The template is the working tree, as a release above all others, at the address that the page
has. It prints the commands, the seconds after which each had ended, and where the results are.
"""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from pages import ROOT, commands

ADDRESS = "https://github.com/org/gpu-ml-template.git"
OURS = ("COPIER_", "GIT_", "KERAS_", "NOX_", "PYTEST_", "PYTHON", "UV_PROJECT_", "UV_TOOL_")
OURS += ("VIRTUAL_", "XDG_")
END = "-- ended: "


def snapshot(folder: Path) -> Path:
    """Make a repository of the working tree, uncommitted work included, with one tag."""
    ask = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    listing = subprocess.run(ask, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listing.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    who = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    for words in ("init -q", "add --all --force", "commit -q -m Release", "tag v1000.0.0"):
        subprocess.run(["git", *who, *words.split()], cwd=folder, check=True)
    return folder


def surroundings(folder: Path) -> dict[str, str]:
    """Return the variables of somebody who has nothing but this machine's programs and uv.

    Downloads are those of the machine's user, so that a second day takes none.
    """
    env = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
    env["HOME"] = str(folder / "home")
    for name, what in (("UV_CACHE_DIR", "cache"), ("UV_PYTHON_INSTALL_DIR", "python")):
        found = subprocess.run(["uv", what, "dir"], check=True, capture_output=True, text=True)
        env[name] = found.stdout.strip()
    template = snapshot(folder / "template").as_uri()
    env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_NOSYSTEM": "1"}
    return env | {"GIT_CONFIG_KEY_0": f"url.{template}.insteadOf", "GIT_CONFIG_VALUE_0": ADDRESS}


def work(lines: list[str], folder: Path) -> list[tuple[float, str]]:
    """Type these commands into one shell; return each with the seconds after which it had ended."""
    typed = "".join(f"{line}\necho '{END}{number}'\n" for number, line in enumerate(lines))
    shell = subprocess.Popen(
        ["sh", "-ec", typed],
        cwd=folder,
        env=surroundings(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    )
    began, ended = time.perf_counter(), []
    print(f"$ {lines[0]}", flush=True)
    assert shell.stdout  # it is a pipe
    for line in shell.stdout:
        if not line.startswith(END):
            print(line, end="", flush=True)
            continue
        ended.append((time.perf_counter() - began, lines[len(ended)]))
        if len(ended) < len(lines):
            print(f"$ {lines[len(ended)]}", flush=True)
    if shell.wait():
        sys.exit(f"This ended with exit code {shell.returncode}: {lines[len(ended)]}")
    return ended


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "home").mkdir(parents=True)
    ended = work(commands((ROOT / "docs/first-day.md").read_text("utf-8")), folder)
    print("\nSeconds from the beginning to the end of each command:")
    for seconds, line in ended:
        print(f"{seconds:7.1f}  {line}")
    names = [line.split(" ")[0:2] for _, line in ended]
    copied = names.index(["copier", "copy"])
    trained = [line for _, line in ended].index("nox -s train")
    seconds = ended[trained][0] - (ended[copied - 1][0] if copied else 0)
    print(f"\nFirst model: {trained - copied + 1} commands, {seconds:.0f} s from copier copy on\n")
    [project] = (path.parent for path in folder.glob("*/.copier-answers.yml"))
    [report] = project.glob("runs/*-digits/report.html")
    print(f"The project:  {project}")
    print(f"The report:   {report}")
    print(f"The notebook: {project / 'runs/notebooks/gpu_check.html'}")


if __name__ == "__main__":
    main()
