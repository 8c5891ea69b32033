"""Where the figures are measured: a folder with releases, projects and clean settings."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
LEFT_OUT = ("GIT_", "COPIER_", "KERAS_", "UV_PROJECT_", "VIRTUAL_ENV")


class Bench:
    """A folder to work in, with releases of the templates and an environment per framework."""

    def __init__(self, folder: Path, runs: int) -> None:
        self.folder, self.runs = folder, runs
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(LEFT_OUT)}
        (folder / "gitconfig").write_text("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        (folder / "settings.yml").write_text("{}\n")
        self.env |= {"GIT_CONFIG_GLOBAL": str(folder / "gitconfig"), "GIT_CONFIG_NOSYSTEM": "1"}
        self.env |= {"COPIER_SETTINGS_PATH": str(folder / "settings.yml")}
        self.env |= {"COPIER_CACHE_DIR": str(folder / "copier-cache")}
        self.projects: dict[str, Path] = {}
        listing = ("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        files = {n: (ROOT / n).read_bytes() for n in names.split("\0") if (ROOT / n).is_file()}
        self.ours = self.release("ours", files)
        empty = {"copier.yml": b"name: {type: str, default: Ada}\n", "README.md": b"Hello\n"}
        self.empty = self.release("empty", empty)

    def release(self, name: str, files: dict[str, bytes]) -> Path:
        """Make a git repository of these files with one tag."""
        folder = self.folder / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        for git in ("init -q", "add --all --force", "commit -q -m Release", "tag v1.0.0"):
            subprocess.run(["git", *git.split()], cwd=folder, env=self.env, check=True)
        return folder

    def run(self, *command: str | Path, cwd: Path | None = None, **env: str) -> float:
        """Run a command and return its seconds; if it fails, show what it said and raise."""
        began = time.perf_counter()
        options = {"cwd": cwd or self.folder, "env": self.env | env, "stdin": subprocess.DEVNULL}
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run([str(word) for word in command], **options, **pipe)
        seconds = time.perf_counter() - began
        self.output = done.stdout
        words = " ".join(str(word).rpartition("/")[2] for word in command)
        print(f"  {seconds:6.2f} s  {words}", file=sys.stderr, flush=True)
        if done.returncode:
            print(done.stdout[-4000:], file=sys.stderr)
            done.check_returncode()
        return seconds

    def copy(self, template: Path, destination: Path, *options: str) -> float:
        """Copy a template as its users do and return the seconds."""
        shutil.rmtree(destination, ignore_errors=True)
        copier = (sys.executable, "-m", "copier", "copy", "--defaults", *options)
        return self.run(*copier, template, destination)

    def project(self, framework: str) -> tuple[Path, Path, str]:
        """Return a project with its environment: its folder, Python and package."""
        folder = self.projects.setdefault(framework, self.folder / f"bench-{framework}")
        if not folder.exists():
            self.copy(self.ours, folder, f"--data=framework={framework}")
            self.run(sys.executable, "-m", "nox", "-s", "setup", cwd=folder)
        return folder, folder / ".venv/bin/python", next((folder / "src").iterdir()).name
