"""What the update may stage, and what it must not: secrets, filters, other entries of the index."""

import subprocess
from pathlib import Path

import pytest
from conftest import commit, git, isolate
from safe_update import contents, inject, refused, update
from small import LINES, Small

MINE = LINES + "mine\n"
FIXED = "fixed\n" + LINES


@pytest.fixture
def small(tmp_path, monkeypatch) -> Small:
    isolate(monkeypatch, tmp_path / "home", tmp_path / "template")
    return Small(tmp_path)


def rename(small: Small, old: str, new: str, *lines: str, **more: str | None) -> None:
    """Release the template with a file renamed and changed."""
    files = {f"template/{old}": None, f"template/{new}": FIXED, **more}
    lines = lines or (f"{old} -> {new}",)
    small.release_files({**files, "renames.txt": "".join(f"{line}\n" for line in lines)})


def untrack(small: Small, name: str) -> None:
    """Take a file out of git, and let git ignore it."""
    git(small.project, "rm", "--quiet", "--cached", name)
    (small.project / ".gitignore").write_text(f"/{name}\n")
    git(small.project, "add", ".gitignore")
    git(small.project, "commit", "--quiet", "--message=Out")


# Secrets.


def test_a_file_that_is_not_in_git_is_not_staged_under_its_new_name(small, copier):
    small.release(**{"a.py": LINES, "b.py": LINES})
    small.copy(copier)
    untrack(small, "a.py")
    (small.project / "a.py").write_text(MINE)
    rename(small, "a.py", "c.py")
    done = small.update(code=2)
    assert "blocked   c.py  (your a.py is not in git, and its new place might be)" in done.stdout
    assert "mine" not in git(small.project, "diff", "--cached")
    assert small.texts()["a.py"] == MINE


def test_a_file_that_leaves_its_filter_is_refused(small, copier):
    small.release(**{"old/a.py": LINES})
    small.copy(copier)
    git(small.project, "config", "filter.crypt.clean", "tr a-z b-za")
    git(small.project, "config", "filter.crypt.smudge", "tr b-za a-z")
    small.edit(**{".gitattributes": "old/*.key filter=crypt\n", "old/my.key": "secret\n"})
    rename(small, "old/a.py", "new/a.py", "old/ -> new/")
    assert "filter crypt does not apply" in refused(small.project)


def test_a_file_that_git_ignores_no_longer_is_named(small, copier):
    names = "template/src/{{name}}/a.py", "template/.gitignore.jinja"
    small.release_files({names[0]: LINES, names[1]: "/src/{{name}}/secret.json\n"})
    small.copy(copier)
    (small.project / "src/ada/secret.json").write_text("secret")
    done = small.update("--data", "name=bob", code=2)
    said = done.stdout.partition("git no longer ignores these")[2]
    assert said.splitlines()[1] == "    src/ada/secret.json"


# Entries of the index that are not on the disk.


def test_a_submodule_below_a_new_file_stays(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.add_submodule("libs/mine")
    before = git(small.project, "ls-files", "--stage", "libs")
    small.release(**{"libs": "theirs\n"})
    small.update(code=2)
    assert git(small.project, "ls-files", "--stage", "libs") == before


@pytest.mark.parametrize(("own", "new"), [("docs/own.md", "docs"), ("docs", "docs/x.md")])
def test_a_file_outside_of_a_sparse_checkout_stays(small, copier, own, new):
    small.release(**{"tools/a.py": LINES})
    small.copy(copier)
    small.edit(**{own: "own\n"})
    git(small.project, "sparse-checkout", "set", "--no-cone", "/*", "!/docs")
    small.release(**{new: "theirs\n"})
    done = small.update(code=2)
    assert f"blocked   {new}  ({own} is in the way)" in done.stdout
    assert git(small.project, "ls-files", "docs") == f"{own}\n"


# The answers, backups and temporary files.


def test_answers_that_git_ignores_are_brought_forward(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    untrack(small, ".copier-answers.yml")
    answers = small.project / ".copier-answers.yml"
    answers.write_text(answers.read_text().replace("_commit: v1", "_commit: 'v1'"))
    small.release(**{"a.py": FIXED})
    small.update(code=2)  # git ignores what is written
    assert "_commit: v2" in answers.read_text()


def test_no_room_for_a_backup_changes_nothing(small, copier):
    lock = "# made by lock.py\n"
    small.release(**{"a.py": LINES, "requirements/cpu.txt": lock})
    small.copy(copier)
    git(small.project, "config", "filter.strip.clean", "sed /SECRET/d")
    mine = lock + "rich==14.0.0\n# SECRET\n"
    small.edit(**{".gitattributes": "*.txt filter=strip\n", "requirements/cpu.txt": mine})
    update(small.project, "--check")  # makes the tool's environment
    small.release(**{"requirements/cpu.txt": lock + "numpy==2\n", "a.py": FIXED})
    before = contents(small.project)
    code = """
def full(name):
    raise OSError(28, "No space left on device")

cli.keep = full
"""
    done = inject(small.project, code)
    assert done.returncode == 1 and "No space left on device" in done.stderr
    assert contents(small.project) == before


def test_nothing_is_left_among_the_temporary_files(small, copier, tmp_path):
    (tmp_path / "tmp").mkdir()
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.release(**{"a.py": FIXED})
    small.update(TMPDIR=str(tmp_path / "tmp"))
    assert [*(tmp_path / "tmp").iterdir()] == []


def test_a_journal_that_was_cut_off_is_kept(small, copier):
    """What only the disk had is in it."""
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.release(**{"a.py": FIXED})
    small.update()
    state = small.project / ".git/gpu-ml-template-update/state.json"
    state.write_text(state.read_text()[:20])
    for options in ((), ("--abort",)):
        done = update(small.project, *options)
        assert done.returncode == 1 and f"{state.parent} is damaged" in done.stderr
        assert (state.parent / "before").exists()


def test_a_disk_without_locks(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    update(small.project, "--check")
    small.release(**{"a.py": FIXED})
    code = """
import errno, fcntl

def flock(*args):
    raise OSError(errno.ENOLCK, "No locks available")

fcntl.flock = flock
"""
    done = inject(small.project, code)
    assert done.returncode == 0, done.stderr


def test_uncommitted_work_in_a_local_template_is_refused(small, copier):
    small.release(**{"a.py": LINES})
    local = str(small.template)
    assert copier("copy", "--defaults", local, small.project).returncode == 0
    commit(small.project)
    (small.template / "template/a.py").write_text(FIXED)
    assert "changes that are not committed" in refused(small.project, "--to", "HEAD")


@pytest.mark.parametrize("spelling", ["./.copier-answers.yml", "{}/.copier-answers.yml"])
def test_the_answers_file_may_be_spelled_in_any_way(small, copier, spelling):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.release(**{"a.py": FIXED})
    small.update(f"--answers-file={spelling.format(small.project)}")
    done = update(small.project, "--answers-file=../elsewhere.yml")
    assert done.returncode == 1 and "takes a file of this project" in done.stderr


def test_signatures_in_the_log_do_not_matter(small, copier, tmp_path):
    """With log.showSignature git prints what gpg says among the commits."""
    gpg = tmp_path / "gpg"
    signed = "-----BEGIN PGP SIGNATURE-----\\n\\nx\\n-----END PGP SIGNATURE-----"
    gpg.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = --status-fd=2 ]; then\n'
        f"  cat >/dev/null; echo '[GNUPG:] SIG_CREATED ' >&2; printf '%b\\n' '{signed}'\n"
        "else\n  echo 'gpg: Good signature' >&2; echo '[GNUPG:] GOODSIG x y'\nfi\n"
    )
    gpg.chmod(0o755)
    small.release(**{"a.py": LINES, "b.py": LINES})
    small.copy(copier)
    for key, value in (("gpg.program", str(gpg)), ("commit.gpgSign", "true")):
        git(small.project, "config", key, value)
    git(small.project, "config", "log.showSignature", "true")
    small.move("a.py", "mine.py")
    small.release(**{"a.py": FIXED})
    small.update()
    assert small.texts()["mine.py"] == FIXED


def test_a_project_in_a_folder_of_its_repository(small, copier, tmp_path):
    small.release(**{"a.py": LINES, "c.py": LINES, "old/x.py": LINES})
    small.copy(copier)
    git_folder = small.project / ".git"
    subprocess.run(["rm", "-r", git_folder], check=True)
    mono = tmp_path / "mono"
    (mono / "deep").mkdir(parents=True)
    small.project = small.project.rename(mono / "deep/pro ject")
    commit(mono)
    git(small.project, "mv", "a.py", "mine.py")
    git(mono, "commit", "--quiet", "--message=Rename")
    (small.project / "old/own.py").write_text("own\n")
    git(mono, "add", "--all")
    git(mono, "commit", "--quiet", "--message=Own")
    before = contents(mono)
    rename(small, "old/x.py", "new/x.py", "c.py -> d.py", "old/ -> new/", **{
        "template/a.py": FIXED, "template/c.py": None, "template/d.py": FIXED,
    })  # fmt: skip
    small.update()
    texts = small.texts()
    assert set(texts) == {"mine.py", "d.py", "new/x.py", "new/own.py"}
    assert texts["mine.py"] == FIXED
    assert update(small.project, "--abort").returncode == 0
    assert contents(mono) == before and git(mono, "status", "--porcelain") == ""
    assert Path(mono / ".git").exists()
