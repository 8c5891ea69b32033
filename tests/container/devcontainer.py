"""The real dev container CLI on a copy of the generated project."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from .engine import Engine
from .users import User

CPU = ".devcontainer/cpu/devcontainer.json"


def install(engine: Engine, cache: Path, folder: Path, version: str) -> None:
    """Put the CLI first on the engine's PATH, unless it is there already."""
    if shutil.which("devcontainer", path=engine.env["PATH"]):
        return
    package = cache / f"cli-{version}"
    if not (package / "node_modules/.bin/devcontainer").exists():
        if not shutil.which("npm"):
            raise LookupError("The dev container CLI needs Node.js: install nodejs and npm.")
        line = ["npm", "install", "--no-save", "--prefix", package, f"@devcontainers/cli@{version}"]
        subprocess.run(line, check=True, capture_output=True)
    # A copy, because other users may not look into this checkout.
    shutil.copytree(package, folder / "cli", symlinks=True)
    bin = folder / "cli/node_modules/.bin"
    engine.env["PATH"] = f"{bin}{os.pathsep}{engine.env['PATH']}"


@dataclass
class Workspace:
    """A copy of the generated project, its owner, and the dev container made for it."""

    folder: Path
    user: User
    engine: Engine
    cpu: bool = True

    def env(self) -> dict[str, str]:
        """Without what these tests set for themselves."""
        own = ("GIT_", "UV_", "VIRTUAL_ENV", "PYTEST_", "COPIER_")
        env = {name: value for name, value in self.engine.env.items() if not name.startswith(own)}
        home = str(self.user.home)
        return env | {"HOME": home, "TMPDIR": home, "USER": str(self.user.uid)}

    def try_run(self, *line: str | Path, **options) -> subprocess.CompletedProcess:
        """Run a command of the host in the folder, as its owner."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        options |= self.user.options
        env = self.env() | options.pop("env", {})
        stdin = {} if "input" in options else {"stdin": subprocess.DEVNULL}
        line = [str(word) for word in line]
        return subprocess.run(line, cwd=self.folder, env=env, text=True, **stdin, **options)

    def cli(self, action: str, *options: str | Path, **more) -> subprocess.CompletedProcess:
        config = ["--config", CPU] if self.cpu else []
        line = ["devcontainer", action, "--workspace-folder", str(self.folder), *config]
        return self.try_run(*line, *options, **more)

    def up(self, *options: str, check: bool = True) -> subprocess.CompletedProcess:
        done = self.cli("up", *options)
        assert not check or done.returncode == 0, done.stdout
        return done

    def try_exec(self, *command: str) -> subprocess.CompletedProcess:
        """Run a command in the container, as VS Code's terminal would."""
        return self.cli("exec", *command)

    def exec(self, *command: str) -> str:
        done = self.try_exec(*command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    @property
    def containers(self) -> list[str]:
        own = f"label=devcontainer.local_folder={self.folder}"
        return self.engine.ids("ps", "--all", "--quiet", "--no-trunc", "--filter", own)

    @property
    def container(self) -> dict:
        [container] = self.containers
        return self.engine.inspect(container)

    @property
    def config(self) -> Path:
        return self.folder / (CPU if self.cpu else ".devcontainer/devcontainer.json")

    def sweep(self) -> None:
        """Remove the container with its volume and its images."""
        if self.engine.try_docker("version").returncode:
            return  # the engine was the tests' own, and has ended
        for name in self.containers:
            container = self.engine.inspect(name)
            volumes = [mount["Name"] for mount in container["Mounts"] if mount["Type"] == "volume"]
            self.engine.docker("rm", "--force", "--volumes", name)
            if volumes:
                self.engine.docker("volume", "rm", *volumes)
        own = f"vsc-{self.folder.name}-*"
        images = self.engine.ids("images", "--format", "{{.Repository}}", own)
        if images:
            self.engine.docker("image", "rm", *images)


def edit(file: Path, old: str, new: str) -> None:
    """Replace a text that has to be there once."""
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has {text.count(old)} of {old!r}"
    file.write_text(text.replace(old, new))
