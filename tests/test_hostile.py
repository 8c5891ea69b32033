"""Hostile but valid answers: they arrive in every file as they were typed, and nothing runs them.

The oracle is a project of harmless answers. Each file of a hostile one, parsed, has to be the same
with the one answer in the place of the other: no other type, no further key, element or command.
"""

import ast
import functools
import json
import os
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import yaml
from copier import run_copy
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from test_questions import complaint

# Answers that are nowhere else in a project's files.
HARMLESS = {
    "project_name": "Harmlessproject",
    "package_name": "harmless_package",
    "description": "Harmlessdescription",
    "user_name": "Harmlessuser",
    "user_email": "harmless@example.org",
    "base_image": "harmless:image",
}
# Choices decide which files there are: each of them in one of these combinations.
CHOICES = [
    {"framework": "tensorflow", "license": "MIT", "ci": "github"},
    {"framework": "jax", "license": "BSD-3-Clause", "ci": "gitlab"},
    {"framework": "torch", "license": "Apache-2.0", "ci": "none"},
    {"framework": "tensorflow", "license": "none", "ci": "gitlab"},
]
CANARY = "canary"
BITS = [
    *"\"'\\`$%#&|;:!*~^=+-_.,?@/()[]{}<> aZ9é日ש٣🐱ß",
    *(": ", " #", "- ", "---", "...", "''", '"""', "'''", "```", "~~~", "\\n", "\\N", "\\u0022"),
    *("{{ 7*7 }}", "{% raw %}", "{# x #}", "${{ github.token }}", "${localEnv:HOME}", "%(x)s"),
    *(f"$(touch {CANARY})", f"`touch {CANARY}`", f"; touch {CANARY} #", f"'; touch {CANARY}; '"),
    *("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "</title>", "<!--", "-->"),
    *("[x](javascript:alert(1))", "<javascript:alert(1)>", "]]>", "<![CDATA[", "&lt;", "&#60;"),
    *("!!python/name:os.system", "&a", "*a", "[1]", "{a: 1}", "| x", "> x", "null", "1e3", "~"),
    *("e\u0301", "h\u0300", "\u0940", "ﬁ", "ǅ", "İ", "2026-01-01", "0x1F", "true", "No", "\\", "="),
]
# What YAML 1.1 or a shell reads as something else than a word, and names that end in the middle.
PACKAGES = [
    "y",
    "n",
    "yes",
    "no",
    "on",
    "off",
    "e1",
    "o1",
    "inf",
    "nan",
    "x1e3",
    "do",
    "fi",
    "then",
]


def valid(name: str) -> Callable[[str], bool]:
    return lambda answer: not complaint(name, answer)


def text(name: str, first: str = "") -> st.SearchStrategy[str]:
    """Answers to a question, of hostile bits and of any characters."""
    bits = st.lists(st.sampled_from(BITS) | st.characters(categories=["L", "M", "N", "P", "S"]))
    return bits.map(lambda found: (first + "".join(found))[:200]).filter(valid(name))


ANSWERS = st.fixed_dictionaries(
    {
        "project_name": st.from_regex(r"\A[^\W_][\w .-]{0,59}\Z") | st.sampled_from(BITS),
        "package_name": st.from_regex(r"\A[a-z][a-z0-9]{0,9}(_[a-z0-9]{1,9}){0,2}\Z")
        | st.sampled_from(PACKAGES),
        "description": text("description"),
        "user_name": text("user_name", "A").map(lambda name: name[:80]),
        "user_email": st.from_regex(r"\A[\w.%+'-]{1,9}@([\w-]{1,9}[.]){1,2}[\w-]{1,9}\Z")
        | st.just(""),
        "base_image": st.from_regex(r"\A[a-z0-9][A-Za-z0-9_./:@-]{0,30}\Z"),
    }
).filter(lambda answers: not any(complaint(name, answers[name]) for name in answers))


class Project:
    """The files of a project, rendered in this process, and its answers."""

    def __init__(self, files: Path, answers: dict[str, str]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            project = Path(folder, "project")
            run_copy(str(files), project, data=answers, quiet=True, overwrite=True)
            paths = [path for path in project.rglob("*") if path.is_file()]
            read = {path.relative_to(project).as_posix(): path.read_text() for path in paths}
        self.answers, self.files = answers, read
        self.parsed = functools.cache(lambda name: parse(name, read[name]))

    def spelled(self) -> dict[str, str]:
        """How its answers are spelled in the harmless project, and in this one."""
        dashed = {name: value.replace("_", "-") for name, value in self.answers.items()}
        harmless = HARMLESS["package_name"]
        return {
            harmless.replace("_", "-"): dashed["package_name"],
            **{HARMLESS[name]: self.answers[name] for name in HARMLESS},
        }


def put(spelled: dict[str, str], value: object) -> object:
    """A parsed value of the harmless project, with these answers in it."""
    if isinstance(value, dict):
        return {put(spelled, key): put(spelled, part) for key, part in value.items()}
    if isinstance(value, list):
        return [put(spelled, part) for part in value]
    if isinstance(value, str):
        words = "|".join(map(re.escape, spelled))
        return re.sub(words, lambda found: spelled[found[0]], value)
    return value


def jsonc(file: str) -> object:
    return json.loads(re.sub(r"^\s*//.*$", "", file, flags=re.MULTILINE))


def notebook(file: str) -> object:
    nbformat.validate(nbformat.reads(file, as_version=4))
    return json.loads(file)


PARSERS: dict[str, Callable[[str], object]] = {
    ".ipynb": notebook,
    ".json": jsonc,
    ".md": lambda file: file,  # see below
    ".py": lambda file: ast.unparse(ast.parse(file)),
    ".toml": tomllib.loads,
    ".yaml": lambda file: list(yaml.safe_load_all(file)),
    ".yml": lambda file: list(yaml.safe_load_all(file)),
}


def parse(name: str, file: str) -> object:
    """A file by its format; text without one (Dockerfile, licence, shell) is compared as it is."""
    return PARSERS.get(Path(name).suffix, str)(file)


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))

    def handle_data(self, data):
        self.text += data


def rendered(markdown: str) -> Elements:
    """A page of Markdown as a forge shows it before it cleans it: with HTML as it was written."""
    return Elements(MarkdownIt("commonmark", {"html": True}).enable("table").render(markdown))


def active(elements: Elements) -> list:
    """What of a page would run or be fetched without a click."""
    return [
        (tag, attributes)
        for tag, attributes in elements.found
        if tag in ("script", "iframe", "object", "embed", "form", "style", "svg", "link", "base")
        or any(name.startswith("on") for name, _ in attributes)
        or any(
            re.match(r"\s*(javascript|data|vbscript):", value or "", re.I)
            for _, value in attributes
        )
    ]


@pytest.fixture(scope="module")
def harmless(files) -> Callable[..., Project]:
    """The project of harmless answers, for each choice, made once."""

    @functools.cache
    def project(choice: int, email: bool) -> Project:
        answers = HARMLESS | CHOICES[choice] | ({} if email else {"user_email": ""})
        return Project(files, answers)

    return project


@settings(
    max_examples=24,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],  # each example is dear: none to make it smaller
    suppress_health_check=list(HealthCheck),
)
@given(answers=ANSWERS, choice=st.integers(0, len(CHOICES) - 1))
@example(HARMLESS | {"package_name": "on", "description": "```"}, 0)
@example(HARMLESS | {"package_name": "no", "description": "~~~ $(touch canary)"}, 1)
@example(HARMLESS | {"description": "<script>alert(1)</script>", "user_name": "A`id`"}, 2)
@example(HARMLESS | {"description": "x ]]> --> \\N{x} {{ 7*7 }} {% raw %}", "user_email": ""}, 3)
def test_hostile_answers_arrive_as_they_were_typed(files, harmless, answers, choice):
    project = Project(files, answers | CHOICES[choice])
    oracle = harmless(choice, bool(answers["user_email"]))
    assert yaml.safe_load(project.files[".copier-answers.yml"]).items() >= answers.items()
    metadata = tomllib.loads(project.files["pyproject.toml"])["project"]
    assert metadata["description"] == answers["description"]
    assert metadata["authors"][0]["name"] == answers["user_name"]
    assert metadata["authors"][0].get("email", "") == answers["user_email"]
    container = jsonc(project.files[".devcontainer/devcontainer.json"])
    assert container["name"] == answers["project_name"]

    spelled = project.spelled()
    names = {put(spelled, name): name for name in oracle.files}
    assert project.files.keys() == names.keys()
    for name in project.files.keys() - {"README.md"}:
        was = oracle.files[names[name]]
        if put(spelled, was) == was:
            assert project.files[name] == was, name
        else:  # an answer is in it
            assert project.parsed(name) == put(spelled, oracle.parsed(names[name])), name

    # The description is one line of the README, and what comes after it is what it always is.
    lines, was = (of.files["README.md"].split("\n") for of in (project, oracle))
    [place] = [n for n, line in enumerate(was) if HARMLESS["description"] in line]
    assert was[place] == HARMLESS["description"]
    assert lines[:place] + lines[place + 1 :] == put(spelled, was[:place] + was[place + 1 :])
    page, rest = (rendered("\n".join(some)) for some in (lines, lines[place + 1 :]))
    assert page.found[0][0] == "h1"
    assert page.found[-len(rest.found) :] == rest.found and page.text.endswith(rest.text)
    assert not active(page)


@pytest.mark.parametrize("package", ["a_b", "on"])
def test_no_shell_runs_an_answer(files, tmp_path, package):
    answers = HARMLESS | CHOICES[0] | {"package_name": package}
    answers |= {"description": f"$(touch {CANARY})", "user_name": f"A`touch {CANARY}`"}
    answers |= {"user_email": f"o'touch%{CANARY}+'@x.y", "project_name": "touch canary"}
    project = Project(files, answers)
    for name in project.files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(project.files[name])
    scripts = sorted(name for name in project.files if name.endswith(".sh"))
    for command in (["bash", "-n"], ["shellcheck"]):
        for script in scripts:
            subprocess.run([*command, script], cwd=tmp_path, check=True)
    subprocess.run(["hadolint", ".devcontainer/Dockerfile"], cwd=tmp_path, check=True)

    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("srun", "scontrol"):
        (programs / name).write_text('#!/bin/sh\necho "$0 $*" >>"$CALLS"\n')
        (programs / name).chmod(0o755)
    env = os.environ | {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "CALLS": str(tmp_path / "calls"),
    }
    line = ["bash", "deploy/slurm.sh", "--run-dir", "x"]
    subprocess.run(line, cwd=tmp_path, env=env, check=True)
    assert f"python -m {package} train --run-dir x" in (tmp_path / "calls").read_text()
    assert not list(tmp_path.rglob(CANARY))


@pytest.mark.parametrize(
    ("markdown", "tag"),
    [
        ("<script>alert(1)</script>", "script"),
        ("a <img src=x onerror=alert(1)>", "img"),
        ("<a href=' JavaScript:alert(1)'>x</a>", "a"),
    ],
)
def test_what_is_active_is_found(markdown, tag):
    assert [found for found, _ in active(rendered(markdown))] == [tag]
