"""Renames in the safe update: the template's, the user's, both, and answers that rename."""

import pytest
from conftest import commit, git, isolate
from safe_update import contents, refused, unmerged
from small import LINES, Small

MINE = LINES + "mine\n"
FIXED = "fixed\n" + LINES
BOTH = "fixed\n" + LINES + "mine\n"
REWRITTEN = "".join(f"other {n}\n" for n in range(200)) + LINES  # less than half in common


@pytest.fixture
def small(tmp_path, monkeypatch) -> Small:
    isolate(monkeypatch, tmp_path / "home", tmp_path / "template")
    return Small(tmp_path)


def renames(*lines: str) -> dict[str, str]:
    return {"renames.txt": "# OLD -> NEW\n" + "".join(f"{line}\n" for line in lines)}


def rename(small: Small, old: str, new: str, text: str, *lines: str, **more: str) -> None:
    """Release the template with a file renamed and changed, and with others changed."""
    files = {f"template/{old}": None, f"template/{new}": text, **more}
    small.release_files(files | renames(*(lines or [f"{old} -> {new}"])))


@pytest.mark.parametrize("new", ["a line", "most lines"])
def test_a_file_that_the_template_renamed_keeps_the_users_edits(small, copier, new):
    text = FIXED if new == "a line" else REWRITTEN
    small.release(**{"old/a.py": LINES})
    small.copy(copier)
    small.edit(**{"old/a.py": MINE})
    before = contents(small.project)
    rename(small, "old/a.py", "new/b.py", text)
    done = small.update()
    assert "  merged    new/b.py  (was old/a.py)\n" in done.stdout
    assert small.texts() == {"new/b.py": text + "mine\n"}
    small.update("--abort")
    assert contents(small.project) == before
    assert git(small.project, "status", "--porcelain") == ""


def test_a_moved_file_keeps_its_permissions(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    (small.project / "a.py").chmod(0o600)
    rename(small, "a.py", "b.py", FIXED)
    small.update()
    assert (small.project / "b.py").stat().st_mode & 0o777 == 0o600


def test_an_untouched_file_moves(small, copier):
    small.release(**{"a.py": LINES, "b.py": LINES})
    small.copy(copier)
    files = {"template/a.py": None, "template/c.py": LINES, "template/b.py": None}
    lines = renames("a.py -> c.py", "b.py -> d/b.py")
    small.release_files({**files, "template/d/b.py": FIXED, **lines})
    done = small.update()
    assert "  moved     c.py  (was a.py)\n" in done.stdout
    assert "  updated   d/b.py  (was b.py)\n" in done.stdout
    assert small.texts() == {"c.py": LINES, "d/b.py": FIXED}


def test_renames_of_several_releases_are_followed_in_one_update(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.edit(**{"a.py": MINE})
    rename(small, "a.py", "b.py", LINES)
    rename(small, "b.py", "c.py", REWRITTEN, "a.py -> b.py", "b.py -> c.py")
    small.update()
    assert small.texts() == {"c.py": REWRITTEN + "mine\n"}


def test_an_overlapping_edit_of_a_renamed_file_is_a_conflict_at_the_new_name(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.edit(**{"a.py": LINES.replace("line 5\n", "mine\n")})
    rename(small, "a.py", "b.py", LINES.replace("line 5\n", "theirs\n"))
    small.update(code=2)
    assert unmerged(small.project) == ["b.py"] and not (small.project / "a.py").exists()
    assert "<<<<<<< yours\nmine\n=======\ntheirs\n>>>>>>>" in small.texts()["b.py"]
    assert [f"line {n}" in git(small.project, "show", f":{n}:b.py") for n in (1, 2, 3)] == [
        True
    ] * 3


def test_another_file_may_have_the_old_name(small, copier):
    small.release(**{"main.py": LINES})
    small.copy(copier)
    small.edit(**{"main.py": MINE})
    rename(small, "main.py", "engine/cli.py", FIXED, **{"template/main.py": "import engine\n"})
    done = small.update()
    assert small.texts() == {"engine/cli.py": BOTH, "main.py": "import engine\n"}
    assert "  added     main.py\n" in done.stdout
    commit(small.project)
    small.release(**{"main.py": "import engine.cli\n", "engine/cli.py": FIXED + "more\n"})
    small.update(code=2)  # `mine` and `more` stand in the same place
    assert small.texts()["main.py"] == "import engine.cli\n"
    assert unmerged(small.project) == ["engine/cli.py"]


def test_a_renamed_file_that_the_user_deleted_stays_deleted(small, copier):
    small.release(**{"a.py": LINES, "b.py": LINES})
    small.copy(copier)
    small.edit(**{"a.py": None})
    rename(small, "a.py", "c.py", FIXED)
    assert "  kept      c.py  (it is not there, so it stays away)\n" in small.update().stdout
    assert small.texts() == {"b.py": LINES}


def test_a_seeded_file_moves_untouched(small, copier):
    small.release(**{"seed.py": LINES})
    small.copy(copier)
    small.edit(**{"seed.py": "mine\n"})
    rename(small, "seed.py", "src/seed.py", FIXED)
    assert "  moved     src/seed.py  (was seed.py; yours from the start" in small.update().stdout
    assert small.texts() == {"src/seed.py": "mine\n"}


def test_a_place_that_is_taken_blocks(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.edit(**{"a.py": MINE, "b.py": "my own\n"})
    rename(small, "a.py", "b.py", FIXED, **{"template/a.py": "import b\n"})
    before = small.texts()
    done = small.update(code=2)
    assert "  blocked   b.py  (b.py is in the way)\n" in done.stdout
    assert small.texts() == before


def test_a_file_may_take_the_old_name_of_another_in_one_release(small, copier):
    small.release(**{"a.py": LINES, "b.py": REWRITTEN})
    small.copy(copier)
    small.edit(**{"a.py": MINE, "b.py": REWRITTEN + "mine\n"})
    files = {"template/a.py": None, "template/b.py": FIXED, "template/c.py": REWRITTEN}
    small.release_files(files | renames("b.py -> c.py", "a.py -> b.py"))
    small.update()
    assert small.texts() == {"b.py": BOTH, "c.py": REWRITTEN + "mine\n"}


def test_an_own_file_at_the_new_name_of_a_deleted_one_is_left_alone(small, copier):
    small.release(**{"a.py": LINES, "z.py": "z\n"})
    small.copy(copier)
    small.edit(**{"a.py": None, "b.py": "line 2\nown\n"})
    rename(small, "a.py", "b.py", FIXED)
    small.update()
    assert small.texts()["b.py"] == "line 2\nown\n"


# Folders.


def test_a_folder_moves_with_what_is_the_users_in_it(small, copier):
    small.release(**{"old/a.py": LINES, ".gitignore": "*.log\n"})
    small.copy(copier)
    small.edit(**{"old/a.py": MINE, "old/deep/own.py": "own\n"})
    (small.project / "old/my.log").write_text("log\n")
    rename(small, "old/a.py", "new/a.py", FIXED, "old/ -> new/")
    done = small.update()
    texts = small.texts()
    assert texts["new/a.py"] == BOTH and texts["new/deep/own.py"] == "own\n"
    assert (
        "  moved     new/deep/own.py  (was old/deep/own.py; yours, with its folder)\n"
        in done.stdout
    )
    assert texts["old/my.log"] == "log\n" and "kept      old/my.log  (git ignores it" in done.stdout


def test_a_folder_of_the_users_that_is_called_as_the_templates_once_was_stays(small, copier):
    small.release_files({"template/new/a.py": LINES, **renames("old/ -> new/")})
    small.copy(copier)
    small.edit(**{"old/own.py": "own\n"})
    small.release(**{"new/a.py": FIXED})
    small.update()
    assert small.texts() == {"new/a.py": FIXED, "old/own.py": "own\n"}


def test_a_new_file_in_a_folder_that_moved_before_stays(small, copier):
    small.release(**{"old/a.py": LINES})
    small.copy(copier)
    more = {"template/old/z.py": LINES}
    rename(small, "old/a.py", "new/a.py", LINES, "old/ -> new/", **more)
    small.update()
    commit(small.project)
    small.edit(**{"old/own.py": "own\n"})
    small.release(**{"new/a.py": FIXED})
    small.update()
    assert small.texts()["old/own.py"] == "own\n"


def test_files_of_the_users_stay_where_single_files_move(small, copier):
    small.release(**{"src/a.py": LINES, "src/seed.py": LINES})
    small.copy(copier)
    small.edit(**{"src/own.py": "own\n"})
    rename(small, "src/a.py", "src/engine/a.py", FIXED)
    small.update()
    assert set(small.texts()) == {"src/engine/a.py", "src/own.py", "src/seed.py"}


def test_an_answer_renames_a_folder_with_all_that_is_in_it(small, copier):
    names = "template/src/{{name}}/"
    files = {f"{names}a.py": LINES, f"{names}seed.py": LINES, f"{names}b.py": LINES}
    small.release_files(files)
    small.copy(copier)
    small.edit(**{f"src/ada/{name}": MINE for name in ("a.py", "seed.py", "own/c.py")})
    small.move("src/ada/b.py", "src/ada/mine_b.py")
    small.release_files({f"{names}a.py": FIXED, f"{names}b.py": FIXED})
    done = small.update("--data", "name=bob")
    assert small.texts() == {
        "src/bob/a.py": BOTH,
        "src/bob/seed.py": MINE,
        "src/bob/own/c.py": MINE,
        "src/bob/mine_b.py": FIXED,
    }
    assert "moved     src/bob/own/c.py  (was src/ada/own/c.py; yours" in done.stdout


def test_a_folder_that_moves_to_where_a_new_file_goes_blocks_both(small, copier):
    small.release_files({"template/{{name}}/a.py": LINES, "template/b.py": LINES})
    small.copy(copier)
    small.edit(**{"b.py": MINE, "ada/b.py/own.txt": "own\n"})
    rename(small, "b.py", "{{name}}/b.py", FIXED)
    done = small.update("--data", "name=bob", code=2)
    assert "  blocked   bob/b.py  (bob/b.py/own.txt is in the way)\n" in done.stdout
    assert "  blocked   bob/b.py/own.txt  (bob/b.py is in the way)\n" in done.stdout
    assert small.texts() == {"bob/a.py": LINES, "b.py": MINE, "ada/b.py/own.txt": "own\n"}


def test_an_answer_and_the_template_rename_the_same_file(small, copier):
    small.release_files({"template/src/{{name}}/a.py": LINES})
    small.copy(copier)
    small.edit(**{"src/ada/a.py": MINE})
    rename(
        small,
        "src/{{name}}/a.py",
        "src/{{name}}/engine/b.py",
        FIXED,
        "src/{{ name }}/a.py -> src/{{name}}/engine/b.py",
    )
    small.update("--data", "name=bob")
    assert small.texts() == {"src/bob/engine/b.py": BOTH}


# The user's renames.


def test_a_file_that_the_user_renamed_keeps_receiving_fixes(small, copier):
    small.release(**{"a.py": LINES, "b.py": LINES})
    small.copy(copier)
    small.move("a.py", "mine/x.py")
    small.move("mine/x.py", "mine/y.py")
    small.edit(**{"mine/y.py": LINES + "mine\n" * 200})  # less than half in common with a.py
    small.release(**{"a.py": FIXED})
    done = small.update()
    assert small.texts() == {"b.py": LINES, "mine/y.py": FIXED + "mine\n" * 200}
    assert "  merged    mine/y.py  (a.py in the template)\n" in done.stdout
    commit(small.project)
    small.release(**{"a.py": "again\n" + FIXED})
    small.update()
    assert small.texts()["mine/y.py"] == "again\n" + FIXED + "mine\n" * 200


def test_a_folder_may_have_the_old_name_of_a_file_that_the_user_renamed(small, copier):
    small.release(**{"a.py": LINES, "b.py": LINES})
    small.copy(copier)
    small.move("a.py", "mine.py")
    small.edit(**{"a.py/own.txt": "own\n"})
    small.release(**{"a.py": FIXED})
    small.update()
    assert small.texts() == {"b.py": LINES, "mine.py": FIXED, "a.py/own.txt": "own\n"}


def test_a_rename_before_the_first_commit_is_known_by_its_content(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    (small.project / "a.py").rename(small.project / "mine.py")
    (small.project / ".git").rename(small.project.parent / "git-of-before")
    small.edit(**{"mine.py": MINE})
    small.release(**{"a.py": FIXED})
    small.update()
    assert small.texts() == {"mine.py": BOTH}


def test_a_new_file_that_resembles_a_deleted_one_only_a_little_is_left_alone(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.edit(**{"a.py": None, "own.py": "line 1\nline 2\n" + "own\n" * 30})
    before = small.texts()
    small.release(**{"a.py": FIXED})
    assert "kept      a.py  (it is not there, so it stays away)" in small.update().stdout
    assert small.texts() == before


def test_both_renamed_a_file_to_the_same_name(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.move("a.py", "b.py")
    small.edit(**{"b.py": MINE})
    rename(small, "a.py", "b.py", FIXED)
    assert "  merged    b.py\n" in small.update().stdout
    assert small.texts() == {"b.py": BOTH}


def test_both_renamed_a_file_differently(small, copier):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.move("a.py", "mine.py")
    small.edit(**{"mine.py": MINE})
    rename(small, "a.py", "theirs.py", FIXED)
    done = small.update(code=2)
    why = "you renamed it, and the template renamed it to theirs.py"
    assert f"  conflict  mine.py  ({why})\n" in done.stdout
    assert unmerged(small.project) == ["mine.py"]
    assert small.texts() == {"mine.py": BOTH}
    git(small.project, "add", "mine.py")
    commit(small.project)
    small.release(**{"theirs.py": "again\n" + FIXED})  # and from now on it is known
    small.update()
    assert small.texts() == {"mine.py": "again\n" + BOTH}


@pytest.mark.parametrize("line", ["a.py b.py", "a.py -> ../b.py", "d/ -> x/.git/", "/etc/ -> x/"])
def test_a_declaration_that_cannot_be_read_is_refused(small, copier, line):
    small.release(**{"a.py": LINES})
    small.copy(copier)
    small.release_files({"renames.txt": f"{line}\n", "template/a.py": FIXED})
    assert f"renames.txt has a line '{line}', and not OLD -> NEW" in refused(small.project)
