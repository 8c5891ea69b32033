"""tools/hooks.py: what its git hook does with real commits, with an environment and without."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, git

NOTICE = "The pre-commit hooks did not run"

# Stands for an environment's Python: it has pre-commit, which fails if the project holds `bad`.
PYTHON = """#!/bin/sh
case "$*" in
    "-c import pre_commit") exit 0 ;;
    "-m pre_commit run") echo "ran in $(pwd -P)" >&2; test ! -e bad ;;
    *) exit 99 ;;
esac
"""


def install(project: Path) -> str:
    """Run the tool from elsewhere, and return the one line that it prints."""
    tool = project / "tools" / "hooks.py"
    done = subprocess.run([sys.executable, tool], cwd="/", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    return line


def environment(folder: Path, name: str = "bin/python", text: str = PYTHON) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def commit(folder: Path, **variables: str) -> subprocess.CompletedProcess:
    """Commit as an editor may do it: with next to nothing in the environment variables."""
    isolated = ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM")
    env = {name: os.environ[name] for name in isolated} | variables
    line = [shutil.which("git"), "commit", "--allow-empty", "--message=Work"]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True)


@pytest.fixture
def project(tmp_path) -> Path:
    folder = tmp_path / "my $project"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(ROOT / "template/tools/hooks.py", folder / "tools")
    (folder / ".pre-commit-config.yaml").touch()
    return folder


@pytest.fixture
def repository(project) -> Path:
    git(project, "init", "--quiet")
    assert install(project) == "hooks: each commit runs pre-commit (.git/hooks/pre-commit)."
    return project


def test_without_an_environment_a_commit_passes_with_a_notice(repository):
    done = commit(repository)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        f"{NOTICE}: `nox -s setup`, or commit in the container.",
    ]


def test_with_an_environment_the_hooks_decide(repository):
    environment(repository / ".venv")
    (repository / "sub").mkdir()
    for folder in (repository, repository / "sub"):
        done = commit(folder)
        assert (done.returncode, done.stderr) == (0, f"ran in {repository}\n")
    (repository / "bad").touch()
    assert commit(repository).returncode != 0
    assert commit(repository / "sub").returncode != 0
    assert git(repository, "rev-list", "--count", "HEAD") == "2\n"


@pytest.mark.parametrize("name", ["bin/python", "Scripts/python.exe"])
def test_the_containers_environment_comes_first(repository, tmp_path, name):
    environment(repository / ".venv", text="#!/bin/sh\nexit 98\n")
    environment(tmp_path / "opt venv", name)
    done = commit(repository, UV_PROJECT_ENVIRONMENT=str(tmp_path / "opt venv"))
    assert (done.returncode, done.stderr) == (0, f"ran in {repository}\n")
    done = commit(repository)  # an environment without pre-commit is none
    assert done.returncode == 0 and NOTICE in done.stderr


def test_an_environment_of_another_machine_is_none(repository):
    (repository / ".venv/bin").mkdir(parents=True)
    (repository / ".venv/bin/python").symlink_to("/nowhere/python")
    done = commit(repository)
    assert done.returncode == 0
    [line] = done.stderr.splitlines()
    assert NOTICE in line


def test_else_the_pre_commit_on_the_path_runs(repository, tmp_path):
    path = f"{tmp_path}{os.pathsep}{os.defpath}"  # without the one of these tests
    broken = "#!/nowhere/python\n"
    environment(tmp_path, "pre-commit", broken)
    done = commit(repository, PATH=path)
    assert done.returncode == 0 and NOTICE in done.stderr
    environment(tmp_path, "pre-commit", '#!/bin/sh\n[ "$*" = --version ] || exit 1\n')
    assert commit(repository, PATH=path).returncode == 1


def test_a_branch_without_settings_has_nothing_to_run(repository):
    environment(repository / ".venv")
    (repository / "bad").touch()
    (repository / ".pre-commit-config.yaml").unlink()
    done = commit(repository)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_a_repository_it_says_so(project):
    assert "not the top of a git repository" in install(project)
    git(project.parent, "init", "--quiet")
    assert "not the top of a git repository" in install(project)
    (project / ".git").mkdir()
    assert "not the top of a git repository" in install(project)
    assert not any(project.parent.glob("**/hooks/pre-commit"))


def test_a_worktree_takes_part_where_its_repository_is(repository, tmp_path):
    commit(repository)
    git(repository, "worktree", "add", "--quiet", tmp_path / "tree")
    tree = tmp_path / "tree"
    shutil.copytree(repository / "tools", tree / "tools")
    (tree / ".pre-commit-config.yaml").touch()
    assert "each commit runs pre-commit" in install(tree)
    environment(tree / ".venv")
    assert commit(tree).stderr == f"ran in {tree}\n"
    repository.rename(tmp_path / "not mounted")
    assert "run `nox -s hooks` where it is" in install(tree)


def test_hooks_of_the_users_own_stay(repository):
    hook = repository / ".git/hooks/pre-commit"
    assert "each commit runs pre-commit" in install(repository)  # again, over its own
    hook.write_text("#!/bin/sh\nexit 0\n")
    assert "is your own: it was left alone" in install(repository)
    assert hook.read_text() == "#!/bin/sh\nexit 0\n"
    hook.write_text("#!/bin/sh\n# File generated by pre-commit: https://pre-commit.com\n")
    (hook.parent / "pre-commit.legacy").touch()
    assert "is your own: it was left alone" in install(repository)
    (hook.parent / "pre-commit.legacy").unlink()
    assert "each commit runs pre-commit" in install(repository)
    hook.unlink()
    git(repository, "config", "core.hooksPath", "elsewhere")
    assert install(repository).startswith("hooks: core.hooksPath is elsewhere: ")
    assert not hook.exists() and not (repository / "elsewhere").exists()


def test_a_folder_that_cannot_be_written_is_named(repository):
    shutil.rmtree(repository / ".git/hooks")
    (repository / ".git/hooks").touch()
    assert ".git/hooks" in install(repository)
