"""The tasks of the template: `nox -l` lists them, plain `nox` runs lint and tests."""

import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

import nox

if sys.version_info < (3, 11):  # noqa: UP036  (nox itself runs on older ones)
    sys.exit("gpu-ml-template needs Python 3.11 or newer: make .venv anew with such a python3.")

nox.options.default_venv_backend = "uv"
nox.options.sessions = ["lint", "tests"]

ROOT = Path(__file__).parent
FRAMEWORKS = ("tensorflow", "jax", "torch")
# The frameworks have no wheels for newer Pythons yet: uv fetches one that they have.
PYTHON = None if sys.version_info < (3, 14) else "3.13"
GROUPS = nox.project.load_toml("pyproject.toml")


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group of pyproject.toml."""
    session.install(*nox.project.dependency_groups(GROUPS, group))


def copy(session: nox.Session, destination: Path, *options: str) -> None:
    """Generate a project from the working tree, uncommitted changes included."""
    options = ("--quiet", "--defaults", "--vcs-ref=HEAD", *options)
    session.run("copier", "copy", *options, str(ROOT), str(destination), silent=True)


@nox.session(python=PYTHON)
def demo(session: nox.Session) -> None:
    """Do what docs/first-day.md says, in build/demo: a trained project, report and notebook."""
    install(session, "copier")
    env = {"SMOKE": "1"}  # small sizes are enough for the notebook
    session.run("python", "tools/first_day.py", str(ROOT / "build" / "demo"), env=env)


@nox.session(python=PYTHON)
def pictures(session: nox.Session) -> None:
    """Make docs/images from a project that has been trained: `nox -s demo`, or `-- FOLDER`."""
    install(session, "container")
    session.run("python", "tools/pictures.py", *session.posargs or ["build/demo/myproj"])


@nox.session(python=PYTHON)
def tests(session: nox.Session) -> None:
    """Test the template, and the first days of the project that it makes."""
    install(session, "tests")
    # Two at a time, file by file, in their order: the long ones of the end come at once.
    workers = ["--numprocesses=2", "--dist=loadfile", "--no-loadscope-reorder"]
    quick = "not projects and not container and not images and not scale and not thorough"
    session.run("pytest", *workers, "-m", quick, *session.posargs)


@nox.session(python=PYTHON)
def projects(session: nox.Session) -> None:
    """Test the projects for TensorFlow, JAX and torch, whose environments are 6 GB of downloads."""
    install(session, "tests")
    session.run("pytest", "-m", "projects and not thorough", *session.posargs)


@nox.session(python=PYTHON)
def thorough(session: nox.Session) -> None:
    """Test updates from every release and step by step, and all own tests of each project."""
    install(session, "tests")
    session.run("pytest", "--numprocesses=2", "-m", "thorough", *session.posargs)


@nox.session(python=PYTHON)
def scale(session: nox.Session) -> None:
    """Test training in several processes with Ray, and that ten killed workers change nothing."""
    install(session, "tests")
    session.run("pytest", "-m", "scale", *session.posargs)


@nox.session(python=PYTHON)
def container(session: nox.Session) -> None:
    """Test the dev container on a real engine, up to a notebook in a browser."""
    install(session, "container")
    session.run("pytest", "-m", "container", *session.posargs)


@nox.session(python=PYTHON)
def images(session: nox.Session) -> None:
    """Run what takes long: jax's and torch's images for the GPU, podman, GitLab's jobs."""
    install(session, "container")
    session.run("pytest", "-m", "images", *session.posargs)


@nox.session(python=PYTHON)
def update_fuzz(session: nox.Session) -> None:
    """Draw 500 random updates and record them in docs/update-fuzz.md; `-- SEED` repeats some."""
    install(session, "tests")
    seed = session.posargs[0] if session.posargs else str(random.randrange(2**32))
    session.log(f"The seed is {seed}")
    counts = tempfile.mkdtemp(dir=session.create_tmp())
    env = {"EXAMPLES": "500", "SEED": seed, "COUNTS": counts}
    env = {f"UPDATE_FUZZ_{name}": value for name, value in env.items()}
    session.run("pytest", "--numprocesses=2", "tests/test_update_fuzz.py", env=env)
    session.run("python", "tests/fuzz/record.py", counts, seed)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style of this repository."""
    install(session, "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("pyrefly", "check")
    session.run("shellcheck", ".ci/run")


@nox.session
def lock(session: nox.Session) -> None:
    """Pin the frameworks' dependencies anew: `-- --upgrade [PACKAGE]` takes newer versions."""
    install(session, "copier")
    before = locked_tools()
    with tempfile.TemporaryDirectory() as scratch:
        for framework in FRAMEWORKS:
            project = Path(scratch, framework)
            copy(session, project, f"--data=framework={framework}")
            tool = str(ROOT / "template" / "tools" / "lock.py")
            session.run("python", tool, str(project), *session.posargs)
        for framework in FRAMEWORKS:  # only now, when all could be made
            project = Path(scratch, framework)
            folder = "{% if framework == '" + framework + "' %}requirements{% endif %}"
            shutil.copytree(
                project / "requirements", ROOT / "template" / folder, dirs_exist_ok=True
            )
            shutil.copy(project / ".pre-commit-config.yaml", ROOT / "template")
    pin_ci(before)


def locked_tools() -> str:
    """Return the lock of the tools, which holds nox and uv."""
    [dev] = ROOT.glob("template/*tensorflow*/dev.txt")
    return dev.read_text("utf-8")


def pin_ci(before: str) -> None:
    """Let CI, here and in the template, take the locked nox and uv where it had those of before."""
    sys.path.insert(0, str(ROOT / "template" / "tools"))
    from lock import hooks  # what a project uses for its own hooks

    for file in (*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob("template/**/*.yml*")):
        old = file.read_text("utf-8")
        if (new := hooks(old, before, locked_tools())) != old:
            file.write_text(new, "utf-8", newline="\n")


@nox.session(python=PYTHON)
def release(session: nox.Session) -> None:
    """Check, tag and record a release of HEAD: `-- v0.2.0`."""
    install(session, "tests")
    session.run("python", os.path.join("tools", "release.py"), *session.posargs)


@nox.session(python=PYTHON)
def publish(session: nox.Session) -> None:
    """In CI, make GitHub's release of a tag."""
    install(session, "copier")
    session.run("python", os.path.join("tools", "publish.py"))


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the figures that this template aims at: `-- copy digits` runs some of them."""
    install(session, "copier")
    session.run("python", os.path.join("bench", "bench.py"), *session.posargs)
