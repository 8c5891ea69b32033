"""What the tests on an engine share: the engine, its images, the project, and who runs it."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from . import devcontainer, images, nvidia, users
from .engine import Engine, can_start, daemon, find

BUILD = Path(__file__).parents[2] / "build" / "container"  # kept: downloads and screenshots
NOTES = pytest.StashKey[dict]()


def pytest_configure(config) -> None:
    config.stash.setdefault(NOTES, {})


def pytest_terminal_summary(terminalreporter, config) -> None:
    """Say what the tests ran on: not every machine can do the same."""
    if notes := config.stash.get(NOTES, {}):
        terminalreporter.section("container rig")
        for name, text in notes.items():
            terminalreporter.line(f"{name}: {text}")


@pytest.fixture(scope="session")
def note(pytestconfig):
    """Write a line about this machine at the end of the output."""
    return pytestconfig.stash.setdefault(NOTES, {}).__setitem__


@pytest.fixture(scope="session")
def folder() -> Iterator[Path]:
    """A folder that every user may enter, with a short path."""
    folder = Path(tempfile.mkdtemp(prefix="rig-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def engine(folder, note) -> Iterator[Engine]:
    """The engine that runs, else one of our own. With Debian's base image, and the CLI on PATH."""
    with ExitStack() as stack:
        try:
            try:
                engine = find(folder / "bin")
                note("engine", f"{engine.description}, which was running")
            except LookupError:
                if not can_start():
                    raise
                own = folder / "engine"
                own.mkdir()
                data = BUILD / "engine" if os.environ.get("KEEP_BUILD_CACHE") else None
                host, _ = stack.enter_context(daemon(own, data=data))
                engine = find(folder / "bin", DOCKER_HOST=host)
                note("engine", f"{engine.description}, started for the tests")
            else:
                stack.callback(lambda: note("build cache", prune(engine, engine.before)))
            made = not engine.has("debian:trixie-slim")
            note("debian:trixie-slim", images.debian(engine, "trixie", BUILD))
            if made:
                stack.callback(engine.docker, "image", "rm", "--force", "debian:trixie-slim")
            tool = (Path(__file__).parents[2] / "template/tools/container.py").read_text()
            version = re.search(r"@devcontainers/cli@([\d.]+)", tool)[1]
            devcontainer.install(engine, BUILD, folder, version)
        except LookupError as error:
            pytest.fail(str(error), pytrace=False)
        yield engine


def prune(engine: Engine, before: set[str]) -> str:
    """Remove the build cache that was made since; say what was done."""
    if os.environ.get("KEEP_BUILD_CACHE"):
        return "kept, as KEEP_BUILD_CACHE asks"
    return f"{engine.prune(before)} records removed"


@pytest.fixture(scope="module")
def tidy(engine):
    """For tests with large images: remove their build cache as soon as they are through."""
    before = engine.build_cache()
    yield
    prune(engine, before)


@pytest.fixture(scope="session")
def base(engine, note):
    """Base images: `base("bookworm")` is Debian 12, with Python 3.11."""
    with ExitStack() as stack:

        def get(suite: str) -> str:
            name = f"debian:{suite}-slim"
            if not engine.has(name):
                stack.callback(engine.docker, "image", "rm", "--force", name)
                note(name, images.debian(engine, suite, BUILD))
            return name

        yield get


@pytest.fixture(scope="session")
def stand_in(engine, base):
    """Images like those that people start from: `stand_in("stale_cuda")`."""
    with ExitStack() as stack:

        def get(name: str) -> str:
            image = f"gpu-ml-rig-{name}"
            if not engine.has(image):
                if name == "ubuntu_like":
                    base("bookworm")
                elif name == "stale_cuda":
                    get("ubuntu_like")
                stack.callback(engine.docker, "image", "rm", "--force", image)
                images.stand_in(engine, name)
            return image

        yield get


@pytest.fixture(scope="session")
def project(copy, tmp_path_factory, note) -> Path:
    """The generated project, with the certificates that this machine needs to reach anything."""
    folder = tmp_path_factory.mktemp("generated") / "demo"
    done = copy(folder)
    assert done.returncode == 0, done.stderr
    found = images.certificates()
    for number, pem in enumerate(found):
        (folder / f".devcontainer/certs/host-{number}.crt").write_text(pem)
    note("certificates", f"{len(found)} beyond the system's own")
    return folder


@pytest.fixture(scope="session")
def caller(folder) -> users.User:
    """Who runs these tests, with an empty home."""
    home = folder / "home"
    home.mkdir()
    return users.caller(home)


@pytest.fixture(scope="session")
def host_users(engine, folder, caller, note) -> Iterator[dict[str, users.User]]:
    """People with uid 1000, which is the image's own, and with another one."""
    if os.geteuid():
        note("host users", f"only uid {os.geteuid()}: others need root")
        yield {"1000": caller, "1234": caller}
        return
    with ExitStack() as stack:
        made = (users.extra_user(uid, folder, engine) for uid in (1000, 1234))
        note("host users", "uid 1000 and uid 1234")
        yield {str(user.uid): user for user in map(stack.enter_context, made)}


@pytest.fixture(scope="session")
def new_workspace(engine, project, folder):
    """Copy the project for a user; remove what was made for it at the end of the session."""
    with ExitStack() as stack:

        def make(name: str, user: users.User, on: Engine = engine, cpu: bool = True):
            # The same image under one name per folder's name: the CLI names it so.
            copy = folder / name / f"{name}-demo"
            copy.parent.mkdir()
            shutil.copytree(project, copy, symlinks=True)
            user.own(copy)
            workspace = devcontainer.Workspace(copy, user, on, cpu)
            stack.callback(workspace.sweep)
            return workspace

        yield make


@pytest.fixture(scope="session")
def started(new_workspace, host_users):
    """The running dev container (CPU) of a user, made once: `started("1234")`."""
    made = {}

    def get(uid: str) -> devcontainer.Workspace:
        if uid not in made:
            made[uid] = new_workspace(f"uid-{uid}", host_users[uid])
            made[uid].up()
        return made[uid]

    return get


@pytest.fixture(scope="module")
def nvidia_host(engine, stand_in, note) -> Iterator[nvidia.NvidiaHost]:
    """A machine on which Docker can pass NVIDIA GPUs on, as far as Docker and the CLI can tell."""
    if os.geteuid():
        pytest.skip("a simulated NVIDIA host is a second dockerd, which needs root")
    if not can_start():
        pytest.fail("A simulated NVIDIA host needs dockerd: install docker.io.", pytrace=False)
    image = stand_in("small")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="gpu-"))
        stack.callback(shutil.rmtree, folder)
        folder.chmod(0o755)
        options, path = nvidia.prepare(folder)
        host, pid = stack.enter_context(daemon(folder, *options, path=path, alone=True))
        second = Engine(engine.env | {"DOCKER_HOST": host}, "simulated NVIDIA host")
        nvidia.hand_over(image, engine, second)
        yield nvidia.NvidiaHost(second, pid, folder)
