"""The safe update as its users run it, and what they do to a project in between."""

import json
import os
import subprocess
import sys
from pathlib import Path

from conftest import ROOT, git

TOOL = ROOT / "template/tools/update.py"


def update(
    project: Path, *options: str, tool: Path | str = TOOL, **env: str
) -> subprocess.CompletedProcess:
    """Run a safe update in a project, with nobody to answer."""
    return subprocess.run(
        [sys.executable, str(tool), *options],
        cwd=project,
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def inject(project: Path, code: str, *options: str) -> subprocess.CompletedProcess:
    """Run a safe update in which this code has changed a module of the updater before."""
    [python] = Path(os.environ["XDG_CACHE_HOME"], "gpu-ml-template").glob("copier-*/bin/python")
    script = f"import os, sys\nsys.path.append({str(TOOL.parent)!r})\n"
    script += "from updater import cli, environment, index, journal, merge\n"
    script += f"{code}\nsys.exit(cli.main(sys.argv[1:]))\n"
    return subprocess.run(
        [python, "-I", "-B", "-c", script, *options],
        cwd=project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )


def refused(project: Path, *options: str, **env: str) -> str:
    """The one sentence of an update that is refused and changes nothing."""
    before = contents(project)
    done = update(project, *options, **env)
    assert (done.returncode, done.stdout) == (1, ""), done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert contents(project) == before
    return done.stderr.strip().splitlines()[-1]


def contents(folder: Path) -> dict[str, tuple]:
    """Every file, link and empty folder but git's own: its kind, whether it runs, its bytes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] == ".git":
            continue
        if path.is_symlink():
            found[name] = ("link", os.readlink(path))
        elif path.is_file():
            found[name] = ("file", bool(path.stat().st_mode & 0o100), path.read_bytes())
    return found


def unmerged(project: Path) -> list[str]:
    return git(project, "diff", "--name-only", "--diff-filter=U").splitlines()


def merge_file(yours: bytes, base: bytes, theirs: bytes, folder: Path) -> tuple[bytes, int]:
    """What git's own three-way merge makes of three texts."""
    names = [folder / name for name in ("yours", "base", "theirs")]
    for path, data in zip(names, (yours, base, theirs), strict=True):
        path.write_bytes(data)
    done = subprocess.run(["git", "merge-file", "-p", *names], capture_output=True)
    return done.stdout, done.returncode


def live(project: Path, executed: bool = True) -> None:
    """What a team does to its project in a year; a notebook's outputs do not pass the hooks."""

    def edit(name: str, old: str, new: str) -> None:
        path = project / name
        text = path.read_bytes().decode()
        assert old in text, (name, old)
        path.write_bytes(text.replace(old, new, 1).encode())

    package = next((project / "src").iterdir()).name
    edit("pyproject.toml", '  "tyro', '  "tabulate>=0.8,<0.9.1",\n  "tyro')
    line = [sys.executable, "tools/lock.py"]
    subprocess.run(line, cwd=project, check=True, capture_output=True)
    edit(
        ".devcontainer/devcontainer.json",
        '"mounts": [',
        '"mounts": ["type=volume,source=mine,target=/mine", ',
    )
    train = "engine/train.py" if (project / f"src/{package}/engine").exists() else "train.py"
    for name in (f"src/{package}/{train}", f"src/{package}/data.py"):
        (project / name).write_text((project / name).read_text() + "\n\nMINE = True\n")
    notebook = json.loads((project / "notebooks/gpu_check.ipynb").read_text())
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    code["source"] = ["# mine\n", *code["source"]]
    if executed:
        code["outputs"] = [{"name": "stdout", "output_type": "stream", "text": ["mine\n"]}]
    text = json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
    (project / "notebooks/gpu_check.ipynb").write_text(text)
    (project / "weights.bin").write_bytes(bytes(range(256)))
    (project / "data/README.md").unlink()  # seeded
    (project / ".editorconfig").unlink()  # managed
    git(project, "mv", "AGENTS.md", "HOW_WE_WORK.md")
    (project / "tools/lock.py").chmod(0o755)
    text = (project / "noxfile.py").read_bytes()
    (project / "noxfile.py").write_bytes(text.replace(b"\n", b"\r\n") + b"\r\n\r\nMINE = True\r\n")
    for folder in {path.parent for path in project.rglob("*") if ".git" not in path.parts}:
        (folder / "mine ü.txt").write_text("mine\n")
