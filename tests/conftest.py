"""What the tests share: the template as its users get it, and a way to copy it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from projects import nox
from releases import ROOT, git, read_releases, tagged_clone

SOURCE = "gh:org/gpu-ml-template"  # what users type; git's insteadOf leads it to `template`


def pytest_terminal_summary(terminalreporter) -> None:
    """Name what ran inside of tests: their last lines, which a worker cannot print itself."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            terminalreporter.write_line(f"{name} ({report.nodeid}): {value}")


def each_release() -> list:
    """The releases to test: in CI the oldest, the one in the middle and the last; all weekly."""
    versions = list(read_releases())
    often = {versions[0], versions[len(versions) // 2], versions[-1]}
    weekly = pytest.mark.thorough
    return [one if one in often else pytest.param(one, marks=weekly) for one in versions]


def commit(folder: Path, tag: str | None = None) -> None:
    """Commit all files of a folder, which becomes a repository if it is none yet."""
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--message", tag or "Work")
    if tag:
        git(folder, "tag", tag)


def isolate(patch: pytest.MonkeyPatch, home: Path, template: Path) -> None:
    """Give git and Copier settings of their own, in which SOURCE is this template.

    In CI the programs under test print what they print elsewhere: CI alone makes some use colours.
    """
    home.mkdir(exist_ok=True)
    (home / "gitconfig").write_text(
        "[user]\n\tname = Ada\n\temail = ada@example.org\n"
        "[core]\n\tattributesFile = /dev/null\n\texcludesFile = /dev/null\n"
        f'[url "{template.as_uri()}"]\n\tinsteadOf = https://github.com/org/gpu-ml-template.git\n'
    )
    (home / "settings.yml").write_text("{}\n")
    foreign = ("GIT_", "COPIER_", "FORCE_COLOR", "CLICOLOR_FORCE", "GITHUB_ACTIONS")
    for name in [name for name in os.environ if name == "CI" or name.startswith(foreign)]:
        patch.delenv(name)
    patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
    patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    patch.setenv("COPIER_SETTINGS_PATH", str(home / "settings.yml"))
    patch.setenv("COPIER_CACHE_DIR", str(home / "cache"))


def git_files(folder: str = ".") -> list[str]:
    """What git has of this repository or would add to it: no bytecode, no caches, no builds."""
    listing = git(
        ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", folder
    )
    return [name for name in listing.split("\0") if (ROOT / name).is_file()]


@pytest.fixture(scope="session")
def files(tmp_path_factory) -> Path:
    """The working tree with its uncommitted work and without what git ignores."""
    folder = tmp_path_factory.mktemp("files")
    for name in git_files():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="session", autouse=True)
def template(tmp_path_factory, files):
    """These files as a repository with one release, v1.0.0, in which every test runs."""
    folder = tmp_path_factory.mktemp("session")
    template = shutil.copytree(files, folder / "template")
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home", template)
        # One cache for all tests: the updater's environment in it is dear. uv keeps the user's.
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        patch.setenv("UV_CACHE_DIR", os.environ.get("UV_CACHE_DIR") or str(home / "uv"))
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        commit(template, tag="v1.0.0")
        yield template


@pytest.fixture
def own_template(tmp_path, monkeypatch, template) -> Path:
    """A template that a test may change and release again."""
    own = shutil.copytree(template, tmp_path / "template")
    isolate(monkeypatch, tmp_path / "home", own)
    return own


@pytest.fixture(scope="session")
def tagged(tmp_path_factory, files) -> Path:
    """This repository with a tag for each recorded release, and NEXT for the working tree."""
    return tagged_clone(tmp_path_factory.mktemp("tagged") / "template", files)


@pytest.fixture
def history(tmp_path, monkeypatch, tagged) -> Path:
    """The same as SOURCE, in a home of its own; a test may change it and release again."""
    own = shutil.copytree(tagged, tmp_path / "history")
    isolate(monkeypatch, tmp_path / "home", own)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return own


@pytest.fixture(scope="session")
def copier():
    """Run Copier's command line as a script does: nobody to answer, and never --trust."""

    def run(*args: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "copier", *args],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture(scope="session")
def copy(copier):
    """Run `copier copy --defaults` with these answers."""

    def run(destination: Path, *options: str, **answers: str) -> subprocess.CompletedProcess:
        data = [f"--data={name}={answer}" for name, answer in answers.items()]
        return copier("copy", "--defaults", *options, *data, SOURCE, destination)

    return run


@pytest.fixture(scope="session")
def environment(copy, tmp_path_factory):
    """Make the project myproj of a framework, with its environment, once; tests leave it alone."""
    made: dict[str, Path] = {}

    def make(framework: str) -> Path:
        if framework not in made:
            folder = tmp_path_factory.mktemp(framework) / "myproj"
            assert copy(folder, framework=framework).returncode == 0
            commit(folder)
            (folder.parent / "home").mkdir()
            nox(folder, "-s", "setup", "--", "cpu")
            made[framework] = folder
        return made[framework]

    return make


@pytest.fixture
def release(own_template):
    """Release the template again, with these files changed; None deletes one."""

    def run(edits: dict[str, str | None], tag: str = "v1.1.0") -> None:
        for name, text in edits.items():
            path = own_template / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink() if text is None else path.write_text(text)
        commit(own_template, tag=tag)

    return run


@pytest.fixture
def project(own_template, copy, tmp_path) -> Path:
    """A project of v1.0.0, which is this working tree; `release` makes the next one."""
    assert copy(tmp_path / "project", package_name="cats").returncode == 0
    commit(tmp_path / "project")
    return tmp_path / "project"
