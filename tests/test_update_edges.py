"""Where the safe update meets git's corners: handled, or one sentence and nothing changed."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import commit, git, isolate
from safe_update import TOOL, contents, inject, refused, unmerged, update
from small import LINES, SETTINGS, Small

MINE = LINES + "mine\n"
FIXED = "fixed\n" + LINES


@pytest.fixture
def small(tmp_path, monkeypatch, copier) -> Small:
    """A project of v1, with a file of the template's that the user has edited."""
    isolate(monkeypatch, tmp_path / "home", tmp_path / "template")
    world = Small(tmp_path)
    world.release(**{"a.py": LINES, "b.py": LINES})
    world.copy(copier)
    world.edit(**{"a.py": MINE})
    return world


# Code of the new version.

GIT_NAMES = [
    "{{ '.git' }}/hooks/post-index-change",
    "{{ '.GIT' }}/config",
    "sub/{{ '.git' }}/hooks/post-checkout",
    ".g\u200cit/hooks/x",
    "{{ 'git~1' }}/x",
]


@pytest.mark.parametrize("name", GIT_NAMES)
def test_a_name_that_reaches_into_gits_folder_is_refused(small, name):
    path = small.template / "template" / name
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\ntouch {small.project.parent}/code-ran\n")
    path.chmod(0o755)
    small.release(**{"b.py": FIXED})
    assert "could run code before you have seen it" in refused(small.project)
    assert not (small.project.parent / "code-ran").exists()


def test_no_hook_runs(small):
    """Not even one of the user's: an update is no commit, and a hook may be the template's."""
    for name in ("post-index-change", "post-checkout", "reference-transaction"):
        hook = small.project / ".git/hooks" / name
        hook.write_text(f"#!/bin/sh\ntouch {small.project.parent}/hook-ran\n")
        hook.chmod(0o755)
    (small.project.parent / "hook-ran").unlink(missing_ok=True)
    small.release(**{"b.py": FIXED})
    assert update(small.project).returncode == 0
    assert not (small.project.parent / "hook-ran").exists()


@pytest.mark.parametrize("side", ["old", "new"])
def test_trust_in_copiers_settings_runs_no_tasks(small, tmp_path, copier, side):
    ran = tmp_path / "task-ran"
    settings = tmp_path / "home/settings.yml"
    settings.write_text("trust: [https://github.com/org/, gh:org/]\ndefaults: {name: eve}\n")
    task = (small.template / "copier.yml").read_text() + f"_tasks: ['touch {ran}']\n"
    small.release_files({"copier.yml": task, "template/b.py": FIXED})
    if side == "old":
        done = update(small.project)
        assert done.returncode == 1
        answers = (small.project / ".copier-answers.yml").read_text()
        (small.project / ".copier-answers.yml").write_text(answers.replace("v1", "v2"))
        commit(small.project)
        small.release_files({"copier.yml": task.rsplit("_tasks", 1)[0], "template/b.py": LINES})
    assert "tell its maintainers" in update(small.project).stderr
    assert not ran.exists()


# What git does not show.


@pytest.mark.parametrize("flag", ["assume-unchanged", "skip-worktree"])
def test_a_flag_that_hides_a_change_is_refused_where_it_matters(small, flag):
    git(small.project, "update-index", f"--{flag}", "b.py")
    (small.project / "b.py").write_text("local secret\n")
    assert git(small.project, "status", "--porcelain") == ""
    small.release(**{"a.py": FIXED})
    assert update(small.project).returncode == 0  # it does not concern b.py
    commit(small.project)
    small.release(**{"b.py": FIXED})
    said = refused(small.project)
    assert f"b.py, whose changes git does not show, because it is marked {flag}" in said
    assert f"`git update-index --no-{flag} -- b.py`" in said
    assert git(small.project, "ls-files", "-v", "b.py")[0] in "hS"


def test_files_outside_of_a_sparse_checkout_are_not_taken_for_deleted(small):
    small.release(**{"docs/x.md": LINES, "tools/y.py": LINES})
    assert update(small.project).returncode == 0
    commit(small.project)
    git(small.project, "sparse-checkout", "set", "--cone", "tools")
    small.release(**{"tools/y.py": FIXED})
    assert update(small.project).returncode == 0
    git(small.project, "commit", "--quiet", "--message=Update")
    small.release(**{"docs/x.md": FIXED})
    assert "docs/x.md" in refused(small.project)
    assert "`git sparse-checkout disable`" in refused(small.project)
    git(small.project, "sparse-checkout", "disable")
    small.update()
    assert small.texts()["docs/x.md"] == FIXED


def test_modes_arrive_where_git_does_not_keep_them_on_the_disk(small):
    git(small.project, "config", "core.fileMode", "false")
    (small.template / "template/run.sh").write_text("#!/bin/sh\n")
    (small.template / "template/run.sh").chmod(0o755)
    (small.template / "template/b.py").chmod(0o755)
    small.release(**{"a.py": FIXED})
    small.update()
    for name in ("run.sh", "b.py"):
        assert (small.project / name).stat().st_mode & 0o111
        assert git(small.project, "ls-files", "--stage", name).startswith("100755")
    before = git(small.project, "diff", "--cached", "--name-only")
    assert update(small.project, "--abort").returncode == 0
    assert before and git(small.project, "status", "--porcelain") == ""
    assert not (small.project / "b.py").stat().st_mode & 0o111


def test_a_conflict_with_a_link_is_no_later_edit_where_git_keeps_no_modes(small):
    git(small.project, "config", "core.fileMode", "false")
    (small.template / "template/a.py").unlink()
    (small.template / "template/a.py").symlink_to("b.py")
    small.release_files({"copier.yml": f"{SETTINGS}_preserve_symlinks: true\n"})
    small.update(code=2)
    assert unmerged(small.project) == ["a.py"]
    assert "edited since" not in update(small.project, "--abort").stdout
    assert small.texts()["a.py"] == MINE


def test_ignore_stat_hides_nothing_of_an_update(small):
    git(small.project, "config", "core.ignoreStat", "true")
    small.release(**{"a.py": FIXED, "b.py": FIXED})
    small.update()
    git(small.project, "commit", "--quiet", "--message=Update")
    assert git(small.project, "ls-files", "-v", "b.py")[0] == "H"
    assert git(small.project, "show", "HEAD:b.py") == FIXED


def test_a_new_file_that_git_ignores_is_written_and_told(small):
    small.edit(**{".gitignore": "*.cfg\n"})
    small.release(**{"new.cfg": "new\n", "b.py": FIXED})
    done = small.update(code=2)
    assert "  added     new.cfg  (git ignores it, so it is in no commit)\n" in done.stdout
    assert "git add --force FILE" in done.stdout
    assert small.texts()["new.cfg"] == "new\n"
    assert git(small.project, "ls-files", "new.cfg") == ""


def test_a_secret_in_an_ignored_file_gets_into_no_commit(small):
    git(small.project, "rm", "--quiet", "--cached", "a.py")
    small.edit(**{".gitignore": "/a.py\n"})
    git(small.project, "rm", "--quiet", "--cached", "a.py")
    git(small.project, "commit", "--quiet", "--message=Out")
    small.release(**{"a.py": FIXED, "b.py": FIXED})
    done = small.update(code=2)
    assert "merged    a.py  (git ignores it, so it is in no commit)" in done.stdout
    git(small.project, "commit", "--quiet", "--all", "--message=Update")
    assert "mine" not in git(small.project, "log", "-1", "--patch")
    assert small.texts()["a.py"] == "fixed\n" + MINE


def test_a_repository_with_sha256(tmp_path, monkeypatch, copier):
    isolate(monkeypatch, tmp_path / "home", tmp_path / "template")
    small = Small(tmp_path)
    small.release(**{"a.py": LINES, "b.py": LINES, "c.py": LINES})
    git(tmp_path, "init", "--quiet", "--object-format=sha256", "project")
    small.copy(copier)
    small.edit(**{"a.py": LINES.replace("line 5\n", "mine\n")})
    files = {"template/b.py": FIXED, "template/c.py": None}
    small.release_files({**files, "template/a.py": LINES.replace("line 5\n", "theirs\n")})
    small.update(code=2)
    assert unmerged(small.project) == ["a.py"]
    assert (
        git(small.project, "diff", "--cached", "--name-status", "--", "b.py", "c.py")
        == "M\tb.py\nD\tc.py\n"
    )
    assert update(small.project, "--abort").returncode == 0
    assert git(small.project, "status", "--porcelain") == ""


@pytest.mark.parametrize("name", ["libs/mine", "libs/mine/g"])
def test_a_submodule_that_is_not_initialised_stays(small, name):
    small.add_submodule("libs/mine")
    before = git(small.project, "ls-files", "--stage", "libs")
    small.release(**{name: "theirs\n", "b.py": FIXED})
    done = small.update(code=2)
    assert f"  blocked   {name}  (libs/mine is in the way)\n" in done.stdout
    assert git(small.project, "ls-files", "--stage", "libs") == before
    assert small.texts()["b.py"] == FIXED


def test_a_filter_that_makes_another_file_of_it_is_refused(small):
    git(small.project, "config", "filter.head.smudge", "sed '1i header'")
    git(small.project, "config", "filter.head.clean", "sed 1d")
    small.edit(**{".gitattributes": "b.py filter=head\n"})
    small.release(**{"a.py": FIXED})
    assert update(small.project).returncode == 0
    commit(small.project)
    small.release(**{"b.py": FIXED})
    assert "git's filter head changes b.py on its way to the disk" in refused(small.project)


# Backups.


def test_a_backup_is_where_git_does_not_look(small):
    """Outputs that a filter keeps out of git, and what only the disk has."""
    small.project = small.project.rename(small.project.with_name("my project"))
    lock = "# made by lock.py\n"
    small.release(**{"requirements/cpu.txt": lock})
    assert update(small.project).returncode == 0
    commit(small.project)
    git(small.project, "config", "filter.strip.clean", "sed /SECRET/d")
    mine = lock + "rich==14.0.0\n# SECRET\n"
    files = {".gitattributes": "*.txt filter=strip\n", "requirements/cpu.txt": mine}
    small.edit(**files)
    assert "SECRET" not in git(small.project, "show", "HEAD:requirements/cpu.txt")
    small.release(**{"requirements/cpu.txt": lock + "numpy==2\n"})
    done = small.update(code=2)  # without a pyproject.toml nothing can make the lock
    where = done.stdout.split("updated   requirements/cpu.txt  (yours: ")[1].split(")")[0]
    assert Path(*shlex.split(where)).read_text() == mine and "/.git/" in where
    git(small.project, "commit", "--quiet", "--all", "--message=Update")
    assert "SECRET" not in git(small.project, "log", "-1", "--patch")


# Words.


def test_open_conflicts_are_not_advised_to_be_committed(small):
    small.edit(**{"b.py": LINES.replace("line 5\n", "mine\n")})
    small.release(**{"b.py": LINES.replace("line 5\n", "theirs\n")})
    small.update(code=2)
    done = update(small.project)
    assert done.returncode == 1
    assert "these files have conflicts:\nb.py\n" in done.stderr
    assert "git add -A" not in done.stderr and "--abort" in done.stderr
    git(small.project, "add", "b.py")  # with the markers in it
    done = update(small.project)
    assert "git add -A" not in done.stderr and "`git diff HEAD`" in done.stderr


def test_a_patch_that_is_being_applied_is_called_by_its_name(small):
    patch = small.project.parent / "patch"
    text = "From: Ada <ada@example.org>\nDate: Sat, 28 Nov 2026 12:00:00 +0000\nSubject: x\n\n---\n"
    text += (
        " a.py | 2 +-\n\ndiff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-no\n+yes\n"
    )
    patch.write_text(text)
    line = ["git", "am", str(patch)]
    assert subprocess.run(line, cwd=small.project, capture_output=True).returncode
    assert "`git am --continue`" in refused(small.project)


def test_a_token_in_the_address_is_not_printed(small):
    answers = (small.project / ".copier-answers.yml").read_text()
    secret = answers.replace("gh:org/gpu-ml-template", "https://me:s3cret@127.0.0.1:1/x.git")
    assert secret != answers
    small.edit(**{".copier-answers.yml": secret})
    for options in ((), ("--check",)):
        done = update(small.project, *options)
        assert done.returncode == 1 and "https://127.0.0.1:1/x.git" in done.stderr
        assert "s3cret" not in done.stdout + done.stderr


def test_it_says_that_the_template_has_a_newer_updater(small):
    small.release(**{"tools/update.py": "print('the newest:', __import__('sys').argv[1:])\n"})
    done = small.update()
    assert "v2 has a newer updater, which the next update uses" in done.stdout
    assert update(small.project, "--abort").returncode == 0
    done = update(small.project, "--newest-updater", "--to", "v2")
    assert done.stdout == "the newest: ['--to', 'v2']\n"


# The tool's surroundings.

SURROUNDINGS = {
    "PYTHONPATH": {"PYTHONPATH": "{0}"},
    "PYTHONOPTIMIZE": {"PYTHONOPTIMIZE": "2"},
    "others": {"PYTHONSAFEPATH": "1", "PYTHONWARNINGS": "error"},
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_variables_of_python_have_no_effect(small, tmp_path, name):
    (tmp_path / "yaml").mkdir()
    (tmp_path / "yaml/__init__.py").write_text("VALUE = 1\n")
    small.release(**{"b.py": FIXED})
    small.update(**{key: value.format(tmp_path) for key, value in SURROUNDINGS[name].items()})


def test_files_of_the_project_shadow_no_module(small):
    tool = small.project / "tools/update.py"
    files = {f"tools/{name}.py": "VALUE = 1\n" for name in ("types", "yaml", "enum", "copier")}
    package = {
        f"tools/updater/{path.name}": path.read_text() for path in TOOL.parent.glob("updater/*.py")
    }
    small.edit(**files, **package, **{"tools/update.py": TOOL.read_text(), "copier.py": "V = 1\n"})
    small.release(**{"b.py": FIXED})
    for options, code in (("--check",), 2), ((), 0):
        done = subprocess.run(
            [sys.executable, tool, *options], cwd=small.project, capture_output=True, text=True
        )
        assert done.returncode == code, done.stderr
    assert not [*small.project.rglob("__pycache__")]


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_closed_stream_has_no_effect(small, stream):
    small.release(**{"b.py": FIXED})
    line = [sys.executable, str(TOOL)]
    closed = lambda: os.close(stream)  # noqa: E731
    done = subprocess.run(line, cwd=small.project, preexec_fn=closed, stderr=subprocess.PIPE)
    assert done.returncode == 0 and b"Traceback" not in (done.stderr or b"")
    assert small.texts()["b.py"] == FIXED


def test_it_runs_alone(small, tmp_path):
    """As a single file that somebody has downloaded: the package comes from the repository."""
    alone = tmp_path / "downloads/update.py"
    alone.parent.mkdir()
    alone.write_bytes(TOOL.read_bytes())
    tools = small.template / "template/tools"
    tools.mkdir()
    (tools / "update.py").write_bytes(TOOL.read_bytes())
    (tools / "updater").mkdir()
    for path in TOOL.parent.glob("updater/*.py"):
        (tools / "updater" / path.name).write_bytes(path.read_bytes())
    small.release(**{"b.py": FIXED})
    done = update(small.project, tool=alone)
    assert done.returncode == 0, done.stderr
    assert small.texts()["b.py"] == FIXED


def test_a_user_without_a_home(small):
    code = """
def home():
    raise RuntimeError("Could not determine home directory.")

environment.Path.home = home
del os.environ["XDG_CACHE_HOME"]
"""
    done = inject(small.project, code)
    assert done.returncode == 1
    assert done.stderr == "update: this user has no home folder: set HOME or XDG_CACHE_HOME.\n"


def test_an_old_python_without_uv_is_told_what_it_needs(small):
    code = """
sys.version_info = (3, 9, 1)
sys.version = "3.9.1 (an old one)"
sys.prefix = "/usr"
cli.find_uv = lambda: None
os.environ.pop("UV", None)
"""
    done = inject(small.project, code)
    assert done.returncode == 1 and "Python 3.9.1 is too old for Copier" in done.stderr


def test_a_second_update_at_the_same_time_is_refused(small):
    code = f"""
import json, subprocess
orig = journal.stage

def stage(*args):
    second = subprocess.run([{sys.executable!r}, {str(TOOL)!r}], capture_output=True, text=True)
    print(json.dumps([second.returncode, second.stderr]))
    return orig(*args)

journal.stage = stage
"""
    small.release(**{"b.py": FIXED})
    before = contents(small.project)
    done = inject(small.project, code)
    second = json.loads(done.stdout.splitlines()[0])
    assert second == [1, "update: another update of this project is at work.\n"]
    assert done.returncode == 0 and contents(small.project) != before
