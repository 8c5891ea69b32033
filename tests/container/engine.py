"""A Docker engine for the tests: the one that runs, or one of their own."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MISSING = (
    "No Docker engine answers. Start yours, or, as root on Debian or Ubuntu, run `apt-get install "
    "docker.io`: the tests then start one of their own."
)
NO_BUILDKIT = (
    "No docker client on PATH can build with BuildKit: install docker-buildx-plugin or docker.io."
)


@dataclass
class Engine:
    """One engine, as a client sees it."""

    env: dict[str, str]  # for everything that has to reach it
    description: str
    before: set[str] = field(default_factory=set)  # the build cache that was there already

    def try_docker(self, *args: str | Path, **options) -> subprocess.CompletedProcess:
        """Run docker; the caller looks at the return code. Both outputs are in stdout."""
        options = {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options
        options = {"env": self.env} | options
        stdin = {} if "input" in options else {"stdin": subprocess.DEVNULL}
        return subprocess.run(["docker", *map(str, args)], **stdin, **options)

    def docker(self, *args: str | Path, **options) -> str:
        """Run docker and return what it prints; fail if it does."""
        done = self.try_docker(*args, **options)
        assert done.returncode == 0, f"docker {' '.join(map(str, args))}:\n{done.stdout}"
        return done.stdout.strip()

    def ids(self, *listing: str) -> list[str]:
        return self.docker(*listing).split()

    def has(self, image: str) -> bool:
        return self.try_docker("image", "inspect", image).returncode == 0

    def inspect(self, thing: str) -> dict:
        return json.loads(self.docker("inspect", thing))[0]

    def records(self) -> dict[str, str]:
        """The build cache: each record's id, and that of its parent."""
        lines = self.docker("system", "df", "--verbose", "--format", "{{json .BuildCache}}")
        return {record["ID"]: record["Parent"] for record in json.loads(lines or "null") or []}

    def build_cache(self) -> set[str]:
        return set(self.records())

    def prune(self, before: set[str]) -> int:
        """Remove the build cache that was made since, children first; return how much it was.

        Docker cannot tell whose a record is: what others built at the same time goes, too, and is
        built again when it is needed.
        """
        tried, removed = set(before), 0
        while records := {k: v for k, v in self.records().items() if k not in tried}:
            leaves = records.keys() - set(records.values())
            for record in leaves or records:
                line = ("builder", "prune", "--all", "--force", f"--filter=id={record}")
                removed += record in self.try_docker(*line).stdout
                tried.add(record)
        return removed


def find(first: Path, **extra: str) -> Engine:
    """The first client that reaches an engine and can build with BuildKit; a link to it in `first`.

    The dev container CLI takes the first docker on PATH, and that one may lack the plugin buildx.
    """
    why = MISSING
    own = {"PATH": f"{first}{os.pathsep}{os.environ['PATH']}", "DOCKER_BUILDKIT": "1"}
    engine = Engine(os.environ | own | extra, "")
    first.mkdir(exist_ok=True)
    for folder in os.get_exec_path():
        client = shutil.which("docker", path=folder)
        if not client:
            continue
        (first / "docker").unlink(missing_ok=True)
        (first / "docker").symlink_to(client)
        if engine.try_docker("info", timeout=60).returncode == 0:
            nothing = "FROM scratch\nLABEL gpu-ml-template=test\n"
            built = engine.try_docker("build", "--quiet", "-", input=nothing)
            if built.returncode == 0:
                engine.docker("image", "rm", "--force", built.stdout.split()[-1])
                version = engine.docker("version", "--format", "{{.Server.Version}}")
                engine.description = f"Docker {version}"
                engine.before = engine.build_cache()
                return engine
            why = NO_BUILDKIT
    raise LookupError(why)


@contextmanager
def daemon(
    folder: Path, *options: str, data: Path | None = None, path: str | None = None, alone=False
) -> Iterator[tuple[str, int]]:
    """Run a dockerd of our own, `alone` in a network of its own; yield address and process id.

    Its sockets need a short path: 108 characters are the system's limit.
    """
    host = f"unix://{folder}/docker.sock"
    own = [f"--host={host}", f"--pidfile={folder}/docker.pid", f"--exec-root={folder}/exec"]
    own += [f"--data-root={data or folder / 'data'}"]
    env = os.environ | ({"PATH": path} if path else {})
    with (folder / "dockerd.log").open("a") as log:
        process = subprocess.Popen(
            [*(["unshare", "--net"] if alone else []), "dockerd", *own, *options],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for(host, process, folder / "dockerd.log")
        yield host, process.pid
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def wait_for(host: str, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        done = subprocess.run(["docker", "--host", host, "info"], capture_output=True)
        if done.returncode == 0:
            return
        time.sleep(0.2)
    raise LookupError(f"dockerd did not start:\n{log.read_text()[-2000:]}")


def can_start() -> bool:
    return os.geteuid() == 0 and shutil.which("dockerd") is not None


def as_user(uid: int, gid: int, groups: Sequence[int] = ()) -> dict:
    """Options for subprocess, to run a command as somebody else."""
    return {"user": uid, "group": gid, "extra_groups": list(groups)}
