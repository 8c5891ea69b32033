"""The questions: their form, their defaults in any folder, and what a bad answer gets."""

import hashlib
import keyword
import re
import subprocess
import sys
from datetime import date

import pytest
import yaml
from conftest import ROOT, commit, git, git_files
from copier import run_copy
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment

QUESTIONS = yaml.safe_load((ROOT / "copier/questions.yml").read_text())
CHOICES = [name for name in QUESTIONS if "choices" in QUESTIONS[name]]
JINJA = SandboxedEnvironment(
    loader=FileSystemLoader(ROOT),
    undefined=StrictUndefined,
    extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
)
NAMES = JINJA.get_template("copier/names.jinja").module

TITLE = (
    "Type a title of 1 to 60 letters, digits, spaces, dots, dashes and underscores that starts "
    "with a letter or digit."
)
PACKAGE = (
    "Type a name of 1 to 30 lower-case letters, digits and single underscores that starts with a "
    "letter, such as cat_counter."
)
TAKEN = "Type a name that Python, the dependencies and the project leave free, such as cats."
LINE = "Type one line of 1 to 200 printable characters."
PERSON = (
    "Type a name of 1 to 80 characters without comma, < or > that starts with a letter or digit "
    "(also in your Copier settings)."
)
IMAGE = "Type the name of an image, such as debian:trixie-slim or ubuntu:24.04."
EMAIL = "Type an address such as ada@example.org, or nothing (also in your Copier settings)."

APACHE = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"  # LICENSE-2.0.txt

ODD = ["", " ", "../x", "a/b", "a\\b", "a\nb", "a\n", 'a"b', "a'b", "a\0b", "🚀", "{{ 7*7 }}"]
BAD = {
    TITLE: ("project_name", [*ODD, "x" * 61, "-x", "_x", ".x", " x", "x ", "a: b", "<b>", "$HOME"]),
    PACKAGE: (
        "package_name",
        [*ODD, "x" * 31, "9lives", "Cats", "über", "日本", "a-b", "a b", "a.b", "_a", "a_", "a__b"],
    ),
    TAKEN: (
        "package_name",
        ["class", "test", "tests", "random", "keras", "tensorflow", "jax", "torch", "numpy", "pil"]
        + ["sklearn", "scikit_learn", "tyro", "nox", "src", "data", "notebooks", "nul"],
    ),
    LINE: (
        "description",
        ["", " ", "a\nb", "a\r", "a\tb", "a\0b", "a\u2028b", "a\u202eb", "x" * 201],
    ),
    PERSON: (
        "user_name",
        ["", " ", "x" * 81, "a\nb", "a\0", "🚀", "{{ 7*7 }}", "A, B", "A <a@b.c>"],
    ),
    EMAIL: (
        "user_email",
        [" ", "ada", "@b.c", "a@b", "a@b.", "a@.b", "a b@c.d", "a@b.c\n", "A <a@b.c>", "../x"]
        + ["a@b.c,d@e.f", "🚀@b.c", "{{ 7*7 }}", "x" * 250 + "@b.cd"],
    ),
    IMAGE: (
        "base_image",
        [
            "",
            " ",
            "-x",
            "/debian",
            "debian:trixie slim",
            "a\nUSER root",
            "debian\n",
            "ubuntu:24.04 AS x",
        ]
        + ["$BASE", "debian;true", "debian#x", "über", "🚀", "{{ 7*7 }}", "x" * 256],
    ),
}
BAD_ANSWERS = [
    pytest.param(name, answer, sentence, id=f"{name}-{answer[:20]!a}")
    for sentence, (name, answers) in BAD.items()
    for answer in answers
]
FOLDERS = {
    "myproj": ("myproj", "myproj"),
    "Cat-Counter 2.0": ("Cat-Counter 2.0", "cat_counter_2_0"),
    "9lives": ("9lives", "lives"),
    "über": ("über", "uber"),
    "u\u0308ber": ("u\u0308ber", "uber"),  # as macOS spells it
    "Łódź straße": ("Łódź straße", "lodz_strasse"),
    "日本": ("日本", "ml_project"),
    "हिन्दी": ("हिन्दी", "ml_project"),
    "keras": ("keras", "keras_ml"),
    "test": ("test", "test_ml"),
    "{{7*7}}": ("7 7", "ml_project"),
    "{% raw %}": ("raw", "raw"),
    'it\'s "quoted"': ("it s quoted", "it_s_quoted"),
    "a\nb": ("a b", "a_b"),
    "🚀": ("ML project", "ml_project"),
    "...": ("ML project", "ml_project"),
    "   ": ("ML project", "ml_project"),
    "__init__": ("init__", "init"),
    "x" * 255: ("x" * 60, "x" * 30),
    "a" * 29 + "-b": ("a" * 29 + "-b", "a" * 29),
    "\udcff": ("ML project", "ml_project"),  # bytes that are not UTF-8
}


def complaint(name: str, answer: str) -> str:
    """What the validator of a question says about an answer."""
    return JINJA.from_string(QUESTIONS[name]["validator"]).render({name: answer}).strip()


def last_line(process: subprocess.CompletedProcess) -> str:
    return (process.stdout + process.stderr).rstrip().splitlines()[-1]


# The form of the questions


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_question_is_complete(name):
    assert QUESTIONS[name].keys() - {"choices"} == {"type", "help", "default", "validator"}
    assert QUESTIONS[name]["type"] == "str"
    lines = QUESTIONS[name]["help"].splitlines()
    assert lines
    assert max(map(len, lines)) < 77, "Copier cuts a help text at the terminal's edge"


def test_framework_says_what_a_choice_costs():
    lines = QUESTIONS["framework"]["help"].splitlines()[1:]
    assert [line.split(":")[0].strip() for line in lines] == QUESTIONS["framework"]["choices"]
    assert "Blackwell" in lines[0]
    assert "525" in lines[1]
    assert "580" in lines[2]


def test_base_image_names_images_that_it_accepts():
    lines = QUESTIONS["base_image"]["help"].splitlines()[1:]
    assert lines[0].split(": ")[0].strip() == QUESTIONS["base_image"]["default"]
    assert not any(complaint("base_image", line.split(": ")[0].strip()) for line in lines)


@pytest.mark.parametrize("name", CHOICES)
def test_validators_agree_with_choices(name):
    choices = QUESTIONS[name]["choices"]
    assert not any(complaint(name, choice) for choice in choices)
    assert complaint(name, "GPL") == f"Type {', '.join(choices[:-1])} or {choices[-1]}."


def test_nothing_needs_trust():
    loader = type("Loader", (yaml.SafeLoader,), {})
    loader.add_constructor("!include", lambda *_: {})
    for path in [ROOT / "copier.yml", *ROOT.glob("copier/**/*.y*ml")]:
        for document in yaml.load_all(path.read_text(), loader):
            assert not {"_tasks", "_migrations", "_jinja_extensions"} & document.keys(), path


# Defaults


@pytest.mark.parametrize("folder", FOLDERS)
def test_defaults_work_in_any_folder(tmp_path, files, folder):
    destination = tmp_path / folder
    only_answers = ["*", "!.copier-answers.yml"]
    run_copy(str(files), destination, defaults=True, quiet=True, exclude=only_answers)
    answers = yaml.safe_load((destination / ".copier-answers.yml").read_text())
    assert (answers["project_name"], answers["package_name"]) == FOLDERS[folder]


@settings(deadline=None)
@given(st.one_of(st.text(), st.from_regex(r"[a-zA-Z0-9_ éß.-]{1,70}", fullmatch=True)))
@example("a" * 26 + "_for")
def test_defaults_are_always_valid(folder):
    title = NAMES.title_from(folder)
    assert not complaint("project_name", title)
    assert not complaint("package_name", NAMES.package_from(title))
    assert not complaint("user_name", f"The {title} authors")


def test_defaults_avoid_reserved_names():
    for name in NAMES.reserved:
        assert complaint("package_name", name) == TAKEN
        assert NAMES.package_from(name) == f"{name}_ml"
        assert not complaint("package_name", f"{name}_ml")


def test_reserved_names_cover_python():
    names = {*sys.stdlib_module_names, *keyword.kwlist, "test"}
    assert {name for name in names if not complaint("package_name", name)} == set()


def test_reserved_names_cover_imports_and_dependencies():
    imported = {
        module.lower()
        for path in map(ROOT.joinpath, git_files("template"))
        if path.name.endswith((".py", ".py.jinja"))
        # these have an environment of their own, without the project
        and path.name not in ("update.py", "audit.py", "sbom.py")
        and path.parent.name != "updater"
        for module in re.findall(r"(?m)^ *(?:import|from(?=.* import)) (\w+)", path.read_text())
    }
    pyproject = (ROOT / "template/pyproject.toml.jinja").read_text()
    pyproject = re.sub(r"(?m)^audit = .*\n", "", pyproject)  # neither has what audits
    required = re.findall(r'"([a-z0-9-]+)(?:\[[\w-]+\])?[>=]=', pyproject)
    names = {"keras", *imported, *(name.replace("-", "_") for name in required)}
    assert {name for name in names if not complaint("package_name", name)} == set()


def test_copier_settings_give_the_person(tmp_path, monkeypatch, copy):
    file = tmp_path / "settings.yml"
    monkeypatch.setenv("COPIER_SETTINGS_PATH", str(file))

    file.write_text("defaults: {user_name: Zoë, user_email: zoe@example.org}")
    assert copy(tmp_path / "good").returncode == 0
    answers = yaml.safe_load((tmp_path / "good/.copier-answers.yml").read_text())
    assert (answers["user_name"], answers["user_email"]) == ("Zoë", "zoe@example.org")

    file.write_text("defaults: {user_name: 'Zoë, Inc.'}")
    process = copy(tmp_path / "bad")
    assert process.returncode == 1
    assert last_line(process).endswith(f"'user_name': {PERSON}")
    assert not (tmp_path / "bad").exists()
    assert copy(tmp_path / "bad", user_name="Zoë").returncode == 0


# Bad answers


@pytest.mark.parametrize(("name", "answer", "sentence"), BAD_ANSWERS)
def test_bad_answer_gets_one_sentence(tmp_path, files, name, answer, sentence):
    destination = tmp_path / "myproj"
    with pytest.raises(ValueError) as error:
        run_copy(str(files), destination, {name: answer}, defaults=True, quiet=True)
    assert str(error.value) == f"Validation error for question '{name}': {sentence}"
    assert not destination.exists()


@pytest.mark.parametrize(
    ("name", "answer", "end"),
    [
        *(
            (name, bad[-1], f"question '{name}': {sentence}")
            for sentence, (name, bad) in BAD.items()
        ),
        *((name, "x\ny", f"'x\\ny' is not in {QUESTIONS[name]['choices']}") for name in CHOICES),
    ],
)
def test_bad_answer_on_the_command_line(tmp_path, copy, name, answer, end):
    process = copy(tmp_path / "parent/myproj", **{name: answer})
    assert process.returncode == 1
    assert last_line(process).endswith(end)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("project_name", "Straße_7 - v2.0"),
        ("package_name", "x"),
        ("description", "{{ 7*7 }} \"quotes\" \\ 'and' 🚀"),
        ("user_name", 'O\'Néil & Co. "R&D"'),
        ("user_email", "o'neil+ml@mail.example.org"),
        ("user_email", ""),
        ("base_image", "localhost:5000/team/cuda_base:12.6-Ubuntu24.04@sha256:" + "0f" * 32),
    ],
)
def test_good_answer_stays_as_it_is(tmp_path, files, name, answer):
    run_copy(str(files), tmp_path, {name: answer}, defaults=True, quiet=True)
    assert yaml.safe_load((tmp_path / ".copier-answers.yml").read_text())[name] == answer


# What is done with the answers


def answers_of(project):
    answers = yaml.safe_load((project / ".copier-answers.yml").read_text())
    return {name: answers[name] for name in answers if not name.startswith("_")}


def test_update_and_recopy_keep_the_answers(tmp_path, own_template, copy, copier):
    own = {
        "project_name": "Cats",
        "package_name": "counter",
        "description": "{{ 7*7 }}",
        "user_name": "Zoë",
        "user_email": "zoe@example.org",
        "license": "BSD-3-Clause",
        "framework": "jax",
        "base_image": "ubuntu:24.04",
        "ci": "gitlab",
    }
    assert copy(tmp_path / "project", **own).returncode == 0
    assert answers_of(tmp_path / "project") == own
    commit(tmp_path / "project")
    (own_template / "template/new.txt").touch()
    commit(own_template, tag="v1.1.0")
    for command in ("update", "recopy"):
        process = copier(command, "--defaults", tmp_path / "project")
        assert process.returncode == 0, process.stderr
        assert (tmp_path / "project/new.txt").exists()
        assert answers_of(tmp_path / "project") == own


def test_update_never_renames_the_package(tmp_path, own_template, copy, copier):
    assert copy(tmp_path / "project", package_name="cats").returncode == 0
    commit(tmp_path / "project")
    names = own_template / "copier/names.jinja"
    names.write_text(names.read_text().replace("keras", "keras cats"))
    commit(own_template, tag="v1.1.0")
    process = copier("update", "--defaults", tmp_path / "project")
    assert process.returncode == 1
    assert last_line(process).endswith(TAKEN)
    assert git(tmp_path / "project", "status", "--short") == ""


def commands(process: subprocess.CompletedProcess, title: str) -> list[str]:
    """The commands that a message of the template's tells to type."""
    message = process.stderr.partition(title)[2]
    return [line.strip() for line in message.splitlines() if line.startswith("  ")]


def test_messages_give_the_next_commands(tmp_path, own_template, copy, copier):
    project = tmp_path / "it's mine"
    note = own_template / "template/note.txt"
    note.write_text("first\n")
    commit(own_template, tag="v1.1.0")
    *shell, setup, train = commands(copy(project), "it s mine is ready.")
    assert (setup, train) == ("nox -s setup", "nox -s train")
    subprocess.run(["sh", "-ec", "\n".join(shell)], cwd="/", check=True)
    assert git(project, "log", "--format=%s%d") == "Start from gpu-ml-template (HEAD -> main)\n"
    assert git(project, "status", "--short") == ""

    note.write_text("theirs\n")
    commit(own_template, tag="v1.2.0")
    (project / "note.txt").write_text("mine\n")
    commit(project)
    *shell, setup, tests = commands(copier("update", "--defaults", project), "Updated.")
    assert (setup, tests) == ("nox -s setup", "nox -s tests")
    shown = subprocess.check_output(["sh", "-ec", "\n".join(shell)], cwd="/", text=True)
    assert {" +mine", "+ theirs"} <= set(shown.splitlines())
    assert "_commit" not in shown  # changed too, but no conflict


@pytest.mark.parametrize("name", QUESTIONS["license"]["choices"])
def test_license(tmp_path, files, name):
    answers = {"license": name, "user_name": "Zoë"}
    run_copy(str(files), tmp_path, answers, defaults=True, quiet=True)
    if name == "none":
        assert not (tmp_path / "LICENSE").exists()
        return
    text = (tmp_path / "LICENSE").read_text()
    assert text.endswith(".\n")
    assert not text.endswith("\n\n")
    if name == "Apache-2.0":
        assert hashlib.sha256(text.encode()).hexdigest() == APACHE
    else:
        assert re.search(rf"^Copyright \(c\) {date.today().year},? Zoë$", text, re.MULTILINE)
