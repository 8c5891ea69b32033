"""The safe update: what conflicts, what is kept, and what it says."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from conftest import commit, git
from safe_update import contents, refused, unmerged, update


def test_an_overlapping_edit_is_a_conflict_and_says_so(project, release):
    text = (project / ".editorconfig").read_text()
    (project / ".editorconfig").write_text(text.replace("root = true", "root = mine"))
    commit(project)
    release({"template/.editorconfig": text.replace("root = true", "root = theirs")})
    done = update(project)
    assert done.returncode == 2
    assert "  conflict  .editorconfig\n" in done.stdout
    assert unmerged(project) == [".editorconfig"]
    shown = "<<<<<<< yours\nroot = mine\n=======\nroot = theirs\n>>>>>>> template v1.1.0\n"
    assert shown in (project / ".editorconfig").read_text()
    stages = [git(project, "show", f":{n}:.editorconfig") for n in (1, 2, 3)]
    assert [f"root = {word}" in stages[n] for n, word in enumerate(("true", "mine", "theirs"))]
    line = ["git", "commit", "--quiet", "--message=Update"]
    assert subprocess.run(line, cwd=project, capture_output=True).returncode == 128  # git refuses
    assert "<<<" not in refused(project)  # a second update waits for the first


def test_an_answer_may_change_with_the_version_or_without(project, release):
    workflow = project / ".github/workflows/ci.yml"
    workflow.write_text(workflow.read_text() + "# mine\n")
    commit(project)
    done = update(project, "--data", "ci=gitlab")
    assert done.returncode == 0, done.stderr
    assert workflow.read_text().endswith("# mine\n")
    assert "kept      .github/workflows/ci.yml" in done.stdout
    assert (project / ".gitlab-ci.yml").exists()
    commit(project)
    assert "asks for no nonsense: it asks for base_image" in refused(
        project, "--data", "nonsense=1"
    )
    assert "gitlap" in refused(project, "--data", "ci=gitlap")
    done = update(project)
    assert (done.returncode, done.stdout) == (
        0,
        "Nothing to update: this project is at v1.0.0.\n",
    )


def test_an_answer_that_is_no_choice_any_more_is_not_replaced_in_silence(
    own_template, project, release
):
    text = (own_template / "copier/questions.yml").read_text()
    text = text.replace("default: MIT", "default: none").replace("[MIT, ", "[")
    release({"copier/questions.yml": text.replace("['MIT', ", "[")})
    assert refused(project) == (
        "update: v1.1.0 does not take your answer license: MIT any more (its default is none):"
        " give one with `nox -s update -- --data license=...`."
    )
    assert update(project, "--data", "license=Apache-2.0").returncode == 0


def test_check_tells_whether_there_is_a_newer_version(project, release):
    update(project, "--check")  # makes the updater's environment, if no other test has
    (project / "dirty").touch()
    done = update(project, "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "The template has nothing newer than v1.0.0.\n"
    release({"template/new.txt": "new\n"})
    done = update(project, "--check")
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith("The template is at v1.1.0, this project at v1.0.0.\n")


def test_a_file_in_a_folder_that_is_ignored_by_now_is_updated(project, release):
    (project / ".gitignore").write_text((project / ".gitignore").read_text() + "/.vscode/\n")
    commit(project)
    release({"template/.vscode/settings.json": "{}\n"})
    done = update(project)
    assert done.returncode == 0, done.stderr
    assert git(project, "show", ":.vscode/settings.json") == "{}\n"


# The locks.

PIN = "rich==14.0.0 \\\n    --hash=sha256:" + "0" * 64 + "\n"  # older than what is locked


def new_locks(project: Path) -> dict[str, str]:
    """The locks of a template with another version of one package."""
    found = {}
    folder = "template/{% if framework == 'tensorflow' %}requirements{% endif %}"
    for path in sorted((project / "requirements").iterdir()):
        text = re.sub(r"^rich==.*\n(?: .*\n)*", lambda _: PIN, path.read_text(), flags=re.M)
        found[f"{folder}/{path.name}"] = text
    assert PIN in "".join(found.values())
    return found


def test_the_templates_locks_are_taken_as_they_are_without_a_network(project, release):
    locks = new_locks(project)
    (project / "requirements/gpu.txt").unlink()  # stays deleted
    old = (project / "requirements/cpu.txt").read_text()
    (project / "requirements/cpu.txt").write_text(old + "# mine\n")
    commit(project)
    release(locks)
    done = update(project, UV_OFFLINE="1", PIP_NO_INDEX="1")
    assert done.returncode == 0, done.stderr
    for name, text in locks.items():
        path = project / "requirements" / Path(name).name
        assert not path.exists() if path.name == "gpu.txt" else path.read_text() == text
    where = re.search(r"updated   requirements/cpu.txt  \(yours: git show (\S+)\)", done.stdout)[1]
    assert git(project, "show", where) == old + "# mine\n"


def test_packages_of_yours_keep_their_pins_and_the_templates_win(project, release):
    locks = new_locks(project)
    pyproject = project / "pyproject.toml"
    text = pyproject.read_text().replace('  "tyro', '  "tabulate>=0.8",\n  "tyro')
    pyproject.write_text(text)
    for name in ("cpu", "gpu"):
        lock = project / f"requirements/{name}.txt"
        lock.write_text(
            lock.read_text() + "tabulate==0.8.10 \\\n    --hash=sha256:" + "0" * 64 + "\n"
        )
    commit(project)
    release(locks)
    broken = shutil.copytree(project, project.with_name("offline"))
    done = update(project)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("cpu", "gpu"):
        lock = (project / f"requirements/{name}.txt").read_text()
        assert "\nrich==14.0.0 " in lock and "\ntabulate==0.8.10 " in lock
    line = [sys.executable, "tools/lock.py", "--check"]
    assert subprocess.run(line, cwd=project).returncode == 0

    done = update(broken, UV_OFFLINE="1", UV_CACHE_DIR=str(project / "nothing"))
    assert done.returncode == 2
    assert "finish them with `nox -s lock`" in done.stdout
    lock = (broken / "requirements/cpu.txt").read_text()
    assert PIN in lock and "\ntabulate==0.8.10 " in lock
    assert subprocess.run(line, cwd=broken, capture_output=True).returncode == 1


# Notebooks, and what is not in git.


def cells(*sources: str, output: str = "", count: int | None = None) -> str:
    """A notebook whose first cell was executed, if it has an output or a count."""
    code = {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": []}
    found = [{**code, "id": f"cell-{n}", "source": [text]} for n, text in enumerate(sources)]
    if output:
        shown = {"name": "stdout", "output_type": "stream", "text": [output]}
        found[0] |= {"execution_count": 1, "outputs": [shown]}
    if count:
        found[0]["execution_count"] = count
    notebook = {"cells": found, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(notebook, indent=1, sort_keys=True) + "\n"


def test_a_notebook_in_conflict_is_merged_cell_by_cell(own_template, copy, tmp_path, release):
    release({"template/managed.ipynb": cells("a = 1", "b = 1")})
    project = tmp_path / "project"
    assert copy(project).returncode == 0
    (project / "managed.ipynb").write_text(cells("a = 1", "b = 2", "c = 3", output="1\n"))
    commit(project)
    release({"template/managed.ipynb": cells("a = 10", "b = 1", count=7)}, tag="v1.2.0")
    done = update(project)
    merged = nbformat.read(project / "managed.ipynb", as_version=4)
    nbformat.validate(merged)
    assert [cell.source for cell in merged.cells] == ["a = 10", "b = 2", "c = 3"]
    assert merged.cells[0].outputs[0].text == "1\n"
    assert done.returncode == 0, done.stdout
    assert "merged    managed.ipynb  (cell by cell)" in done.stdout


def test_a_cell_that_both_have_edited_is_a_conflict_that_git_and_the_hook_see(
    own_template, copy, tmp_path, release
):
    release({"template/managed.ipynb": cells("a = 1", "b = 1")})
    project = tmp_path / "project"
    assert copy(project).returncode == 0
    (project / "managed.ipynb").write_text(cells("a = 1", "b = 2"))
    commit(project)
    release({"template/managed.ipynb": cells("a = 1", "b = 3")}, tag="v1.2.0")
    done = update(project)
    assert done.returncode == 2 and "  conflict  managed.ipynb\n" in done.stdout
    assert unmerged(project) == ["managed.ipynb"]
    found = subprocess.run(["git", "diff", "--check"], cwd=project, capture_output=True, text=True)
    assert found.stdout.count("managed.ipynb") == 3  # a line for each marker
    lines = ["<<<<<<< yours", '    "b = 2"', "=======", '    "b = 3"', ">>>>>>> template v1.2.0"]
    assert "\n".join(lines) in (project / "managed.ipynb").read_text()


def test_outputs_of_a_cell_that_the_template_deletes_are_not_lost(
    own_template, copy, tmp_path, release
):
    release({"template/managed.ipynb": cells("a = 1")})
    project = tmp_path / "project"
    assert copy(project).returncode == 0
    mine = cells("a = 1", output="1\n")
    (project / "managed.ipynb").write_text(mine)
    commit(project)
    release({"template/managed.ipynb": cells()}, tag="v1.2.0")
    done = update(project)
    assert done.returncode == 2 and "  conflict  managed.ipynb\n" in done.stdout
    assert unmerged(project) == ["managed.ipynb"]
    assert git(project, "show", ":2:managed.ipynb") == mine
    text = (project / "managed.ipynb").read_text()
    assert '"1\\n"' in text and text.count("<<<<<<< yours\n") == 1


def test_outputs_that_a_filter_hides_from_git_are_not_lost(own_template, copy, tmp_path, release):
    release({"template/managed.ipynb": cells("a = 1", "b = 1")})
    project = tmp_path / "project"
    assert copy(project).returncode == 0
    strip = "import json, sys; n = json.load(sys.stdin)"
    strip += "; [c.update(outputs=[], execution_count=None) for c in n['cells']]"
    strip += "; print(json.dumps(n, indent=1, sort_keys=True))"
    git(project, "init", "--quiet")
    git(project, "config", "filter.strip.clean", f'{sys.executable} -c "{strip}"')
    with (project / ".gitattributes").open("a") as attributes:
        attributes.write("*.ipynb filter=strip\n")
    commit(project)
    (project / "managed.ipynb").write_text(cells("a = 1", "b = 1", output="1\n"))
    git(project, "add", "managed.ipynb")  # which changes nothing that git keeps
    assert git(project, "status", "--porcelain") == ""
    release({"template/managed.ipynb": cells("a = 1", "b = 2")}, tag="v1.2.0")
    assert update(project).returncode == 0
    assert (project / "managed.ipynb").read_text() == cells("a = 1", "b = 2", output="1\n")
    assert update(project, "--abort").returncode == 0
    assert (project / "managed.ipynb").read_text() == cells("a = 1", "b = 1", output="1\n")


def test_ignored_files_and_things_in_the_way_stay(project, release):
    (project / ".gitignore").write_text((project / ".gitignore").read_text() + "secret\n")
    (project / "folder").mkdir()
    (project / "folder/mine").touch()
    (project / "elsewhere").mkdir()
    (project / "link").symlink_to("elsewhere")
    commit(project)
    (project / "secret").write_text("mine\n")
    new = dict.fromkeys(("secret", "folder", "link/file"), "theirs\n")
    release({f"template/{name}": text for name, text in new.items()})
    before = contents(project)
    done = update(project)
    assert done.returncode == 2
    after = contents(project)
    assert after == before | {".copier-answers.yml": after[".copier-answers.yml"]}
    assert "blocked   folder  (folder/mine is in the way)" in done.stdout
    assert "blocked   link/file  (link is in the way)" in done.stdout
    assert "blocked   secret  (yours is not in git; " in done.stdout
    assert update(project, "--abort").returncode == 0
    assert contents(project) == before
