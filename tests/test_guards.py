"""The guards: the template keeps its promise to the projects of every release, mutants do not."""

import shutil
import subprocess
from itertools import combinations
from pathlib import Path

import guards
import pytest
import releases
from conftest import ROOT, SOURCE, commit, each_release, git

RECORD = releases.read_releases()
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()

SMALL = {
    "copier.yml": """\
_min_copier_version: "9.17.2"
_subdirectory: template
_envops: {undefined: jinja2.StrictUndefined}
_skip_if_exists: [model.py, "*.png", requirements/*.txt]
---
!include questions.yml
""",
    "questions.yml": """\
user_name:
  type: str
  help: Who
  default: Ada
  validator: "{% if not user_name %}Type a name.{% endif %}"
package_name:
  type: str
  help: Package
  default: project
  validator: ""
ci:
  type: str
  help: Where
  default: github
  choices: [github, none]
  validator: "{% if ci not in ['github', 'none'] %}Type github or none.{% endif %}"
license:
  type: str
  help: Terms
  default: MIT
  choices: [MIT, none]
  validator: ""
""",
    "renames.txt": "tools/locks.py -> tools/lock.py\n",
    "template/{{_copier_conf.answers_file}}.jinja": "{{ _copier_answers | to_nice_yaml -}}\n",
    "template/.gitattributes": "*.png binary\n",
    "template/model.py": "layers = 2\n",
    "template/src/{{package_name}}/data.py": "size = 8\n",
    "template/logo.png": b"\x89PNG\0",
    "template/requirements/cpu.txt": "numpy==2.0 \\\n    --hash=sha256:00\n",
    "template/tools/lock.py": "print('lock')\n",
    "template/{% if ci == 'github' %}.github{% endif %}/ci.yml": "on: push\n",
}


def write(folder: Path, changes: dict) -> Path:
    """Give files of a template new contents: a text, (what, by what), or None to delete one."""
    for name, text in changes.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(text, tuple):
            assert text[0] in path.read_text()
            text = path.read_text().replace(*text)
        if text is None:
            path.unlink()
        else:
            path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def complain(guard, old: Path, new: Path, notes: str = "") -> list[str]:
    return guard(new) if guard in guards.OF_ONE else guard(old, new, notes)


@pytest.fixture(scope="module")
def released(tagged, tmp_path_factory) -> dict[str, Path]:
    """The template as each release had it."""
    folders = {version: tmp_path_factory.mktemp(version) for version in RECORD}
    for version, folder in folders.items():
        git(tagged, "archive", f"--output={folder}.tar", version)
        subprocess.run(["tar", "-xf", f"{folder}.tar", "-C", folder], check=True)
    return folders


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("small"), SMALL)


# The template


def test_the_record_is_right():
    assert guards.wrong_record(RECORD, CHANGELOG, ROOT) == []


@pytest.mark.parametrize("guard", guards.OF_ONE)
def test_the_template(files, guard):
    assert guard(files) == []


@pytest.mark.parametrize("guard", guards.OF_TWO)
@pytest.mark.parametrize("version", each_release())
def test_the_promise_to_projects_of(released, files, version, guard):
    assert guard(released[version], files, guards.notes_since(CHANGELOG, version)) == []


@pytest.mark.parametrize("version", each_release())
def test_no_release_needs_trust(released, version):
    assert guards.trust(released[version]) == []


@pytest.mark.parametrize("version", each_release())
def test_the_guards_see_the_projects_of(released, files, version):
    asked = guards.questions(released[version])
    offered = {(name, choice) for name in asked for choice in guards.choices(asked[name])}
    met, paths, names = set(), set(), set()
    for answers, before, after in guards.projects(released[version], files):
        met |= set(combinations(sorted(offered & answers.items()), 2))
        paths |= before.keys() & after.keys()
        names.add(answers["package_name"])
    assert met == {(a, b) for a, b in combinations(sorted(offered), 2) if a[0] != b[0]}
    assert {".github/workflows/ci.yml", ".gitlab-ci.yml", "LICENSE", "noxfile.py"} <= paths
    assert names == {typed["package_name"] for typed in guards.TYPED}


@pytest.mark.parametrize("answers", guards.TYPED)
def test_what_people_typed_is_taken(files, released, answers):
    asked = {name for folder in (files, *released.values()) for name in guards.questions(folder)}
    assert answers.keys() <= asked
    assert isinstance(guards.render(files, answers), dict)


# Mutants


COPIER, QUESTIONS, LOCK = "copier.yml", "questions.yml", "template/tools/lock.py"


def setting(line: str) -> dict:
    return {COPIER: ("---", f"{line}\n---")}


def question(what: str, by: str) -> dict:
    return {QUESTIONS: (what, by)}


RENAMED = SMALL[QUESTIONS].replace("user_name", "owner")
TAKES_OVER = RENAMED.replace("default: Ada", "default: \"{{ user_name | default('Ada') }}\"")
DATA = "template/src/{{package_name}}/data.py"
RENAMES, OLD_LINE = "renames.txt", SMALL["renames.txt"]
SETS = "src/{{ package_name }}/sets.py"
PINNED = {LOCK: None, "template/tools/pin.py": "print('lock')\n"}
CONDITIONAL = "template/{% if license == 'MIT' %}tools{% endif %}/lock.py"
ONLY_ON_UPDATE = "\"{{ 'tools' if _copier_operation == 'update' }}\""

MUTANTS = {  # by guard: what is changed, and what the complaint says
    guards.broken_questions: [
        (question("  type: str\n  help: Who", "  help: Who"), "user_name has no type"),
        (question("  help: Who\n", ""), "user_name has no help"),
        (question("  default: Ada\n", ""), "user_name has no default"),
        (question('none]\n  validator: ""\n', "none]\n"), "license has no validator"),
        ({QUESTIONS: "ready: true\n"}, "ready has no type"),
        (question("default: MIT", "default: GPL"), "{} there is no project: Invalid choice"),
        (question("['github', 'none']", "['github']"), "question 'ci': Type github or none."),
    ],
    guards.trust: [
        (setting("_tasks: [echo]"), "_tasks"),
        (setting("_migrations: [echo]"), "_migrations"),
        (setting("_jinja_extensions: [jinja2.ext.do]"), "_jinja_extensions"),
        (setting("_external_data: {a: b.yml}"), "_external_data"),
        (question("user_name:", "_tasks: [echo]\nuser_name:"), "_tasks"),
    ],
    guards.unmergeable: [
        ({"template/a.bin": b"\0"}, "a.bin is binary"),
        ({"template/latin.txt": b"\xe9"}, "latin.txt is binary"),
        ({"template/.gitattributes": "*.py -diff\n"}, "tools/lock.py has no diff"),
        ({"template/.gitattributes": "*.py binary\n"}, "tools/lock.py has no diff"),
        ({"template/tools/.gitattributes": "* -diff\n"}, "tools/lock.py has no diff"),
        ({"template/a.ipynb": "{}\n"}, "a.ipynb is a notebook"),
        ({"template/uv.lock": "\n"}, "uv.lock is a lock"),
        ({"template/package-lock.json": "{}\n"}, "package-lock.json is a lock"),
        ({COPIER: (", requirements/*.txt", "")}, "requirements/cpu.txt is a lock"),
    ],
    guards.quotes: [({'template/{% if ci == "none" %}a{% endif %}': ""}, 'ci == "none"')],
    guards.wrong_renames: [
        ({RENAMES: "a.py b.py\n"}, "a.py b.py is not OLD -> NEW"),
        ({RENAMES: "old/ -> model.py\n"}, "is not OLD -> NEW"),
        ({RENAMES: "old.py -> gone.py\n"}, "ends at gone.py, which is not generated"),
        ({RENAMES: "old/ -> gone/\n"}, "ends at gone/, which is not generated"),
    ],
    guards.forgotten_renames: [
        (
            {LOCK: None, "template/tools/pin.py": "print('lock')\n"},
            "`tools/lock.py -> tools/pin.py`",
        ),
        ({DATA: None, "template/src/{{package_name}}/sets.py": "size = 8\n"}, f"{SETS} looks like"),
        ({RENAMES: "# nothing\n"}, "has lost or changed a line"),
    ],
    guards.lost_choices: [
        (question("[github, none]", "[github]"), "choice none"),
        (question("[MIT, none]", "{MIT: mit, none: none}"), "choice MIT"),
    ],
    guards.lost_questions: [({QUESTIONS: RENAMED}, "{{ user_name | default(...) }}")],
    guards.changed_types: [
        (question("str\n  help: Who", "int\n  help: Who"), "of user_name was str")
    ],
    guards.stricter: [
        (question("not user_name", "not user_name.isalnum()"), "'user_name': Type a name."),
        (question("['github', 'none']", "['github']"), "'ci': Type github or none."),
    ],
    guards.vanished: [
        ({LOCK: None, "template/tools/pin.py": ""}, '"/tools/lock.py"'),
        ({LOCK: None, CONDITIONAL: ""}, '"/tools/lock.py"'),
        ({"template/model.py": None}, '"/model.py"'),
        ({LOCK: None, **setting("_exclude: [lock.pyc, /tools/lock]")}, '"/tools/lock.py"'),
        ({DATA: None}, '"/src/{{ package_name }}/data.py"'),
        ({DATA: None, **setting("_exclude: [/src/keras_ml/data.py]")}, "/src/{{ package_name }}/"),
    ],
    guards.hidden: [
        (setting("_exclude: [lock.py]"), "hides tools/lock.py"),
        (setting(f"_exclude: [{ONLY_ON_UPDATE}]"), "hides tools/lock.py"),
    ],
    guards.taken_back: [({COPIER: ("[model.py, ", "[")}, "model.py was the user's")],
    guards.newer_copier: [({COPIER: ("9.17.2", "9.19")}, "is 9.19 now, was 9.17.2")],
    guards.untold: [
        ({"template/model.py": "layers = 3\n"}, "(model.py)"),
        ({"template/new.txt": ""}, "(new.txt)"),
        (question("default: Ada", "default: Bo") | {"template/who.jinja": "{{ ci }}"}, "(who)"),
    ],
}
FINE = {  # by guard: what is changed, and what the changelog says
    guards.broken_questions: [(question("  help: Who", "  when: true\n  help: Who"), "")],
    guards.unmergeable: [({"template/more/a.png": b"\0"}, "")],
    guards.quotes: [({"template/new/{% if ci == 'none' %}a{% endif %}": ""}, "")],
    guards.wrong_renames: [
        ({RENAMES: "a.py -> b.py\nb.py -> src/{{package_name}}/data.py\n"}, ""),
        ({RENAMES: "old/ -> tools/\n"}, ""),
    ],
    guards.forgotten_renames: [
        ({LOCK: None, "template/tools/pin.py": "print('another')\n"}, ""),
        ({**PINNED, RENAMES: f"{OLD_LINE}tools/lock.py -> tools/pin.py\n"}, ""),
        ({**PINNED, RENAMES: f"{OLD_LINE}# tools/lock.py is not tools/pin.py\n"}, ""),
    ],
    guards.lost_choices: [
        (question("[MIT, none]", "{MIT 1: MIT, nothing: none, Apache: Apache-2.0}"), ""),
        (question("[MIT, none]", "[[M, {value: MIT}], [N, none]]"), ""),
    ],
    guards.lost_questions: [({QUESTIONS: TAKES_OVER}, "")],
    guards.stricter: [(question("not user_name", "user_name == ''"), "")],
    guards.vanished: [
        ({LOCK: None, **setting("_exclude: [/tools/lock.py]")}, ""),
        ({LOCK: None, **setting("_exclude: [\"/{{ 'tools' if ci }}/lock.py\"]")}, ""),
        ({DATA: None, **setting('_exclude: ["/src/{{ package_name }}/data.py"]')}, ""),
    ],
    guards.hidden: [(setting("_exclude: [/lock.py]"), "")],
    guards.taken_back: [({COPIER: ("[model.py, ", "[")}, "model.py is merged now.")],
    guards.newer_copier: [({COPIER: ("9.17.2", "9.19")}, "Needs Copier 9.19.")],
    guards.untold: [({"template/model.py": "layers = 3\n"}, "### Changed\n* A third layer.")],
}


def cases(table: dict) -> list:
    return [
        pytest.param(guard, *case, id=f"{guard.__name__}-{number}")
        for guard, listed in table.items()
        for number, case in enumerate(listed)
    ]


def test_each_guard_has_a_mutant(small):
    assert MUTANTS.keys() == {*guards.OF_ONE, *guards.OF_TWO}
    assert [line for guard in MUTANTS for line in complain(guard, small, small)] == []


@pytest.mark.parametrize(("guard", "changes", "words"), cases(MUTANTS))
def test_a_guard_catches(small, tmp_path, guard, changes, words):
    mutant = write(shutil.copytree(small, tmp_path / "mutant"), changes)
    complaints = complain(guard, small, mutant, notes="### Changed\n\n")
    assert any(words in line for line in complaints), complaints


@pytest.mark.parametrize(("guard", "changes", "notes"), cases(FINE))
def test_a_guard_lets_pass(small, tmp_path, guard, changes, notes):
    changed = write(shutil.copytree(small, tmp_path / "changed"), changes)
    assert complain(guard, small, changed, notes) == []


def test_a_file_that_becomes_executable_is_a_change(small, tmp_path):
    changed = shutil.copytree(small, tmp_path / "changed")
    (changed / LOCK).chmod(0o755)
    assert "(tools/lock.py)" in guards.untold(small, changed, "")[0]


# The record

SECTION = "## v0.1.0 - 2026-01-31\n\n### Added\n* All.\n\n### Updating from\nNothing yet.\n"


@pytest.mark.parametrize(
    ("version", "changelog", "complaint"),
    [
        ("v0.1.0", SECTION, None),
        ("v0.1.0", SECTION.replace("from\n", "from v0.0.1\n\n"), None),
        ("0.1.0", SECTION, "0.1.0 is not a version"),
        ("v0.1", SECTION, "no section ## v0.1"),
        ("v0.1.0-final", SECTION, "v0.1.0-final is not a version"),
        ("vnext", SECTION, "vnext is not a version"),
        ("v0.2.0", SECTION, "no section ## v0.2.0"),
        ("v0.1.0", SECTION.replace(" - 2026-01-31", ""), "write the date"),
        ("v0.1.0", SECTION.replace("01-31", "02-30"), "write the date"),
        ("v0.1.0", SECTION.replace("### Updating from\n", ""), "nothing under ### Updating from"),
        ("v0.1.0", SECTION.replace("Nothing yet.\n", "\n## v0.0.1\n"), "nothing under ### Upd"),
    ],
)
def test_what_a_release_lacks(version, changelog, complaint):
    complaints = guards.unready(version, f"# Changelog\n\n{changelog}")
    assert [complaint in line for line in complaints] == ([True] if complaint else [])


def test_notes_are_those_of_newer_releases():
    changelog = "# Changelog\nAll.\n\n## Unreleased\nC\n## v0.2.0 - 2026-02-01\nB\n" + SECTION
    assert guards.notes_since(changelog, "v0.2.0") == "C\n"
    assert guards.notes_since(changelog, "v0.1.0") == "C\nB\n"


@pytest.fixture
def recorded(tmp_path) -> tuple[Path, dict[str, str], str]:
    """A repository with two releases, their record and their changelog."""
    record = {}
    for version in ("v0.1.0", "v0.2.0"):
        (tmp_path / "note.txt").write_text(version)
        commit(tmp_path, tag=version)
        record[version] = git(tmp_path, "rev-parse", "HEAD").strip()
    return tmp_path, record, SECTION.replace("v0.1.0", "v0.2.0") + SECTION


def test_a_right_record_is_fine_with_tags_and_without(recorded):
    repository, record, changelog = recorded
    assert guards.wrong_record(record, changelog, repository) == []
    git(repository, "tag", "--delete", *record)
    assert guards.wrong_record(record, changelog, repository) == []


def test_a_wrong_record_is_caught(recorded):
    repository, record, changelog = recorded
    first, second = record.values()
    for changed, words in (
        ({"v0.1.0": "0" * 40}, "which HEAD does not contain"),
        ({"v0.2.0": second, "v0.1.0": first}, "v0.1.0 does not come after v0.2.0"),
        ({"v0.1.0": second, "v0.2.0": first}, "The tag v0.1.0 is not at"),
        (record | {"v0.3.0": second}, "no section ## v0.3.0"),
    ):
        complaints = guards.wrong_record(changed, changelog, repository)
        assert complaints
        assert words in complaints[0]
    git(repository, "tag", "--delete", *record)
    for swapped in (
        {"v0.1.0": second, "v0.2.0": first},
        {"v0.2.0": first, "v0.1.0": second},
        {"v0.1.0": first, "v0.2.0": first},
    ):
        (complaint,) = guards.wrong_record(swapped, changelog, repository)
        assert "does not come after" in complaint


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("v0.1.0 e384090\n", "is not a version and a full commit"),
        ("v0.1.0\n", "is not a version and a full commit"),
        (f"v0.1.0 {'0' * 40}\n" * 2, "has v0.1.0 twice"),
    ],
)
def test_a_broken_record_says_so(tmp_path, text, words):
    (tmp_path / "releases.txt").write_text(f"# comment\n\n{text}")
    with pytest.raises(ValueError, match=words):
        releases.read_releases(tmp_path)


# The history that the tests of updates use


def test_the_history_has_the_recorded_tags_and_the_working_tree(tagged, files):
    assert set(git(tagged, "tag").split()) == {*RECORD, releases.NEXT}
    for version, recorded in RECORD.items():
        assert git(tagged, "rev-parse", version).strip() == recorded
    assert git(tagged, "describe", "--tags").strip() == releases.NEXT
    assert git(tagged, "status", "--porcelain", "--ignored") == ""
    names = git(tagged, "ls-files", "-z").split("\0")[:-1]
    theirs = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}
    assert set(names) == theirs
    assert all((tagged / name).read_bytes() == (files / name).read_bytes() for name in names)


def test_the_history_lacks_what_was_deleted_and_other_tags(files, tmp_path, monkeypatch):
    git(tmp_path, "clone", "--quiet", str(ROOT), "root")
    git(tmp_path / "root", "tag", "v500.0.0")
    monkeypatch.setattr(releases, "ROOT", tmp_path / "root")
    less = shutil.copytree(files, tmp_path / "less")
    (less / "LICENSE").unlink()
    clone = releases.tagged_clone(tmp_path / "clone", less)
    assert git(clone, "diff", "--name-status", "HEAD~", "--", "LICENSE") == "D\tLICENSE\n"
    assert not (clone / "LICENSE").exists()
    assert "v500.0.0" not in git(clone, "tag")


def test_a_shallow_clone_says_what_to_do(files, tmp_path, monkeypatch):
    git(tmp_path, "clone", "--quiet", "--depth=1", ROOT.as_uri(), "shallow")
    monkeypatch.setattr(releases, "ROOT", tmp_path / "shallow")
    with pytest.raises(RuntimeError, match="run `git fetch --unshallow`"):
        releases.tagged_clone(tmp_path / "clone", files)


def test_the_address_leads_to_the_history(history, tmp_path, copy):
    for version in (next(iter(RECORD)), releases.NEXT):
        assert copy(tmp_path / version, f"--vcs-ref={version}").returncode == 0
        answers = (tmp_path / version / ".copier-answers.yml").read_text()
        assert f"_commit: {version}\n_src_path: {SOURCE}\n" in answers
