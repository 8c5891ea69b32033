"""What a new version of the template may not do to the projects of the older ones.

Each guard reads folders that hold a template, and returns its complaints: sentences for whoever
changes the template, with what to do instead. docs/maintaining.md explains them.
"""

import functools
import json
import os
import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from itertools import combinations, pairwise, product
from pathlib import Path

import releases
import yaml
from copier import run_copy
from copier.errors import CopierError
from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.sandbox import SandboxedEnvironment
from packaging.version import InvalidVersion, Version
from pathspec import GitIgnoreSpec

Files = dict[str, tuple[bool, bytes]]  # by path: whether it is executable, and its contents

TRUST = ("_tasks", "_migrations", "_jinja_extensions", "_external_data")
LOCK = re.compile(r"\.lock$|-lock\.(json|ya?ml)$")
ANSWERS_FILE = ".copier-answers.yml"

# What people have typed: an answer that one version took, every later one has to take.
TYPED = (
    {
        "project_name": "x" * 60,
        "package_name": "a_package_name_of_thirty_chars",
        "description": "x" * 200,
        "user_name": "x" * 80,
        "user_email": "o'neil+ml@mail.example.org",
        "base_image": "localhost:5000/team/cuda_base:12.6-Ubuntu24.04@sha256:" + "0f" * 32,
    },
    {
        "project_name": "Straße_7 - v2.0",
        "package_name": "x",
        "description": "{{ 7*7 }} \"quotes\" \\ 'and' 🚀",
        "user_name": 'O\'Néil & Co. "R&D"',
        "user_email": "",
        "base_image": "ubuntu",
    },
    {
        "project_name": "9 лет 日本 हिन्दी",
        "package_name": "v2_data_7",
        "description": "?",
        "user_name": "7",
        "user_email": "ada@localhost.test",
        "base_image": "nvcr.io/nvidia/tensorflow:25.02-tf2-py3",
    },
    {"project_name": "u\u0308ber", "package_name": "keras_ml", "user_name": "日本"},
)


# What a template says and makes


@functools.cache
def config(template: Path) -> dict:
    """All that copier.yml and what it includes say: the names of settings begin with _."""

    class Loader(yaml.SafeLoader):
        pass

    def load(path: Path) -> dict:
        merged: dict = {}
        for document in filter(None, yaml.load_all(path.read_text(), Loader)):
            for name, value in document.items():
                both = isinstance(value, list) and name in merged
                merged[name] = [*merged[name], *value] if both else value
        return merged

    def include(_, node: yaml.ScalarNode) -> dict:
        return {k: v for path in template.glob(node.value) for k, v in load(path).items()}

    Loader.add_constructor("!include", include)
    return load(template / "copier.yml")


def questions(template: Path) -> dict[str, dict]:
    named = {name: q for name, q in config(template).items() if not name.startswith("_")}
    return {name: q if isinstance(q, dict) else {"default": q} for name, q in named.items()}


def choices(question: dict) -> list:
    """What a question stores for each of its choices, which may have labels: [label, value]."""
    listed = question.get("choices", [True, False] if question.get("type") == "bool" else [])
    items = listed.items() if isinstance(listed, dict) else listed
    values = [item[1] if isinstance(item, (list, tuple)) else item for item in items]
    return [value["value"] if isinstance(value, dict) else value for value in values]


def answer_sets(template: Path) -> list[dict]:
    """Answers among which each two choices of different questions meet, and all that was typed."""
    offered = {name: choices(q) for name, q in questions(template).items() if choices(q)}
    sets = [dict(zip(offered, row, strict=True)) for row in product(*offered.values())]

    def pairs(answers: dict) -> set:
        return {pair for size in (1, 2) for pair in combinations(answers.items(), size)}

    missing, chosen = set().union(*map(pairs, sets)), []
    while missing:
        chosen.append(max(sets, key=lambda answers: len(missing & pairs(answers))))
        missing -= pairs(chosen[-1])
    known = questions(template).keys()
    typed = [{name: text[name] for name in text.keys() & known} for text in TYPED]
    count = range(max(len(chosen), len(typed)))
    return [typed[n % len(typed)] | (chosen[n % len(chosen)] if chosen else {}) for n in count]


RENDERED: dict[tuple[Path, str], Files | str] = {}


def render(template: Path, answers: dict) -> Files | str:
    """All files that the template has for these answers, or why it refuses them."""
    key = json.dumps(answers, sort_keys=True)
    if (template, key) not in RENDERED:
        RENDERED[template, key] = files = fresh(template, answers)
        if isinstance(files, dict):  # what is stored gives the same again
            RENDERED[template, json.dumps(stored(files), sort_keys=True)] = files
    return RENDERED[template, key]


def fresh(template: Path, answers: dict) -> Files | str:
    with tempfile.TemporaryDirectory() as scratch:
        project = Path(scratch, "project")
        try:
            # "!*" takes back what _exclude says.
            run_copy(str(template), project, answers, defaults=True, quiet=True, exclude=["!*"])
        except (ValueError, CopierError) as error:
            return str(error)
        return {
            path.relative_to(project).as_posix(): (os.access(path, os.X_OK), path.read_bytes())
            for path in project.rglob("*")
            if path.is_file()
        }


def stored(files: Files) -> dict:
    """The answers that a project keeps."""
    answers = yaml.safe_load(files[ANSWERS_FILE][1])
    return {name: answer for name, answer in answers.items() if not name.startswith("_")}


def matcher(template: Path, setting: str, answers: dict, operation: str) -> Callable[[str], bool]:
    """Whether a path of a project is in _exclude or in _skip_if_exists."""
    jinja = SandboxedEnvironment(
        loader=FileSystemLoader(template),
        undefined=StrictUndefined,
        extensions=["jinja2_ansible_filters.AnsibleCoreFiltersExtension"],
    )
    context = answers | {"_copier_operation": operation}
    patterns = config(template).get(setting, [])
    text = "\n".join(jinja.from_string(pattern).render(context) for pattern in patterns)
    return GitIgnoreSpec.from_lines(text.splitlines()).match_file


def given(template: Path, answers: dict, files: Files) -> Files:
    """Those of the files that a new project gets."""
    excluded = matcher(template, "_exclude", answers, "copy")
    return {name: file for name, file in files.items() if not excluded(name)}


def projects(old: Path, new: Path) -> Iterator[tuple[dict, Files, Files]]:
    """The answers of old projects, their files, and all that the new version has for them."""
    for answers in answer_sets(old):
        if isinstance(before := render(old, answers), dict):
            answers = stored(before)
            if isinstance(after := render(new, answers), dict):
                yield answers, given(old, answers, before), after


def spelled(template: Path, name: str, answers: dict) -> str:
    """A path as the template has it: {{ package_name }} for the package's name."""
    free = [one for one, question in questions(template).items() if not choices(question)]
    typed = {answers.get(one): f"{{{{ {one} }}}}" for one in free}
    return "/".join(typed.get(part, part) for part in name.split("/"))


# Guards of one version


def broken_questions(new: Path) -> list[str]:
    lacks = [
        f"The question {name} has no {key}, without which an update in a script may stop."
        for name, question in questions(new).items()
        for key in ("type", "help", "default", "validator")
        if key not in question
    ]
    results = {str(answers): render(new, answers) for answers in ({}, *answer_sets(new))}
    return lacks + [
        f"With the answers {answers} there is no project: {result}"
        for answers, result in results.items()
        if isinstance(result, str)
    ]


def trust(new: Path) -> list[str]:
    return [
        f"copier.yml has {name}: every later update from this version would ask for --trust. "
        "Set up in the dev container's commands or in a nox session."
        for name in TRUST
        if name in config(new)
    ]


def unmergeable(new: Path) -> list[str]:
    """Files that an update cannot merge, and that are not the user's."""
    reasons: dict[str, str] = {}
    for answers in answer_sets(new):
        if isinstance(files := render(new, answers), str):
            continue  # broken_questions says so
        answers = stored(files)
        seeded = matcher(new, "_skip_if_exists", answers, "update")
        left = [name for name in files if not seeded(name)]
        without_diff = no_diff(files, left)
        for name in left:
            data, shown = files[name][1], spelled(new, name, answers)
            if b"\0" in data or not is_text(data):
                reasons[shown] = "is binary"
            elif name in without_diff:
                reasons[shown] = "has no diff in .gitattributes"
            elif name.endswith(".ipynb"):
                reasons[shown] = "is a notebook"
            elif LOCK.search(name) or b" --hash=sha256:" in data:
                reasons[shown] = "is a lock"
    return [
        f"{name} {why}: `copier update` cannot merge it, and would drop the user's changes. Put it "
        "into _skip_if_exists."
        for name, why in sorted(reasons.items())
    ]


def is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def no_diff(files: Files, names: list[str]) -> set[str]:
    """The names that git does not compare, by the project's own .gitattributes."""
    with tempfile.TemporaryDirectory() as scratch:
        releases.git(Path(scratch), "init", "--quiet")
        for name, (_, data) in files.items():
            if Path(name).name == ".gitattributes":
                Path(scratch, name).parent.mkdir(parents=True, exist_ok=True)
                Path(scratch, name).write_bytes(data)
        out = releases.git(Path(scratch), "check-attr", "-z", "diff", "--", *names).split("\0")
    return {name for name, value in zip(out[0::3], out[2::3], strict=False) if value == "unset"}


def quotes(new: Path) -> list[str]:
    return [
        f"{path.relative_to(new)} has a double quote in its name, which Windows cannot have."
        for path in sorted(new.rglob('*"*'))
    ]


def declared(template: Path) -> list[tuple[str, str]]:
    """The lines OLD -> NEW of renames.txt, spelled as `spelled` does."""
    path = template / "renames.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    pairs = [line.split(" -> ") for line in lines if line.strip() and not line.startswith("#")]
    return [tuple(re.sub(r"{{ *(\w+) *}}", r"{{ \1 }}", side.strip()) for side in p) for p in pairs]


def follow(name: str, lines: list[tuple[str, str]]) -> str:
    """The name that a file has after all renames."""
    for left, right in lines:
        if left.endswith("/") and name.startswith(left):
            name = right + name[len(left) :]
        elif name == left:
            name = right
    return name


def wrong_renames(new: Path) -> list[str]:
    lines = declared(new)
    if wrong := [
        line for line in lines if len(line) != 2 or line[0].endswith("/") != line[1].endswith("/")
    ]:
        return [
            f"renames.txt: {' -> '.join(line)} is not OLD -> NEW, two files or two folders/."
            for line in wrong
        ]
    names = {
        spelled(new, name, stored(files))
        for answers in answer_sets(new)
        if isinstance(files := render(new, answers), dict)
        for name in files
    }
    ends = {line: follow(line[0], lines) for line in lines}
    return [
        f"renames.txt: {left} -> {right} ends at {end}, which is not generated: add a line from "
        f"{end} to the name that the file has now."
        for (left, right), end in ends.items()
        if not any(name.startswith(end) if end.endswith("/") else name == end for name in names)
    ]


# Guards of an old and a new version; `notes` is what the changelog says since the old one


def lost_choices(old: Path, new: Path, notes: str) -> list[str]:
    return [
        f"{name} has lost the choice {choice}: an update would silently take the default. "
        "Keep its value; the label may change."
        for name, question in questions(old).items()
        for choice in choices(question)
        if name in questions(new) and choice not in choices(questions(new)[name])
    ]


def lost_questions(old: Path, new: Path, notes: str) -> list[str]:
    defaults = "\n".join(str(question.get("default")) for question in questions(new).values())
    return [
        f"The question {name} is gone and no default takes its answer over: begin that of the "
        f"question in its place with {{{{ {name} | default(...) }}}}."
        for name in questions(old).keys() - questions(new).keys()
        if not re.search(rf"\b{name}\s*\|\s*default\(", defaults)
    ]


def changed_types(old: Path, new: Path, notes: str) -> list[str]:
    return [
        f"The type of {name} was {before.get('type')} and is {after.get('type')}: an update drops "
        "answers that it cannot read. Ask a new question."
        for name, before in questions(old).items()
        if (after := questions(new).get(name, before)).get("type") != before.get("type")
    ]


def stricter(old: Path, new: Path, notes: str) -> list[str]:
    """Answers that the old version takes and the new one does not."""
    results = [
        render(new, stored(before))
        for answers in answer_sets(old)
        if isinstance(before := render(old, answers), dict)
    ]
    errors = dict.fromkeys(result for result in results if isinstance(result, str))
    return [f"An answer that was valid is refused now: {error}" for error in errors]


def vanished(old: Path, new: Path, notes: str) -> list[str]:
    complaints = set()
    for answers, before, after in projects(old, new):
        tombstone = matcher(new, "_exclude", answers, "update")
        gone = before.keys() - given(new, answers, after).keys()
        complaints |= {spelled(old, name, answers) for name in gone if not tombstone(name)}
    return [
        f"{name} is no longer generated: `copier update` would delete it with the user's changes. "
        f'Put its path, "/{name}", into _exclude, and leave it there.'
        for name in sorted(complaints)
    ]


def forgotten_renames(old: Path, new: Path, notes: str) -> list[str]:
    """Files that have gone while much the same appears under another name."""
    lines, complaints = declared(new), []
    before_lines = declared(old)
    if lines[: len(before_lines)] != before_lines:
        complaints.append(
            "renames.txt has lost or changed a line: projects of older versions need it."
        )
    text = (new / "renames.txt").read_text() if (new / "renames.txt").exists() else ""
    apart = [line for line in text.splitlines() if line.startswith("#")]
    found = {}
    for answers, before, after in projects(old, new):
        came = {name: after[name][1] for name in after.keys() - before.keys()}
        for name in before.keys() - after.keys():
            for other, data in came.items():
                pair = spelled(old, name, answers), spelled(new, other, answers)
                if pair not in found and follow(pair[0], lines) == pair[0]:
                    found[pair] = alike(before[name][1], data)
    return complaints + [
        f"{name} is gone, and {other} looks like it: add `{name} -> {other}` to renames.txt, or a "
        "comment with both names if it is another file."
        for (name, other), similar in sorted(found.items())
        if similar and not any(name in line and other in line for line in apart)
    ]


def alike(one: bytes, other: bytes) -> bool:
    """Whether half of the lines of two files are the same."""
    lines = Counter(one.splitlines()), Counter(other.splitlines())
    return 2 * (lines[0] & lines[1]).total() > max(line.total() for line in lines)


def hidden(old: Path, new: Path, notes: str) -> list[str]:
    """Files that a pattern in _exclude takes away although the template still has them."""
    complaints = set()
    for answers, before, after in projects(old, new):
        excluded = matcher(new, "_exclude", answers, "update")
        both = before.keys() & after.keys()
        complaints |= {spelled(old, name, answers) for name in both if excluded(name)}
    return [
        f"_exclude hides {name}, which the template still has: updates would no longer reach it. "
        "Begin each pattern with / and name one path in it."
        for name in sorted(complaints)
    ]


def taken_back(old: Path, new: Path, notes: str) -> list[str]:
    complaints = set()
    for answers, before, after in projects(old, new):
        was, now = (matcher(side, "_skip_if_exists", answers, "update") for side in (old, new))
        both = before.keys() & after.keys()
        back = [name for name in both if was(name) and not now(name)]
        complaints |= {spelled(old, name, answers) for name in back}
    return [
        f"{name} was the user's and is merged into now: leave it in _skip_if_exists, or name it "
        "under *Updating from* in CHANGELOG.md, because it will conflict."
        for name in sorted(complaints)
        if Path(name).name not in notes
    ]


def newer_copier(old: Path, new: Path, notes: str) -> list[str]:
    was, now = (str(config(folder).get("_min_copier_version", "0")) for folder in (old, new))
    if Version(now) > Version(was) and now not in notes:
        return [f"_min_copier_version is {now} now, was {was}: say so in CHANGELOG.md."]
    return []


def untold(old: Path, new: Path, notes: str) -> list[str]:
    """Output that has changed, with nothing about it in the changelog."""
    said = [line for line in notes.splitlines() if line.strip() and not line.startswith("#")]
    changed = set()
    for answers, before, after in projects(old, new):
        after = given(new, answers, after)
        names = (before.keys() | after.keys()) - {ANSWERS_FILE}
        changed |= {name for name in names if before.get(name) != after.get(name)}
    if changed and not said:
        some = ", ".join(sorted(changed)[:3])
        return [
            f"What is generated has changed ({some}): say what, under ## Unreleased in CHANGELOG.md"
        ]
    return []


OF_ONE = (broken_questions, trust, unmergeable, quotes, wrong_renames)
OF_TWO = (
    lost_choices,
    lost_questions,
    changed_types,
    stricter,
    vanished,
    forgotten_renames,
    hidden,
    taken_back,
    newer_copier,
    untold,
)


# The record and the changelog


def sections(changelog: str) -> dict[str, str]:
    """The text of each `## ` section by its heading, the newest first."""
    _, *parts = re.split(r"^## ", changelog, flags=re.MULTILINE)
    return {part.partition("\n")[0].strip(): part.partition("\n")[2] for part in parts}


def notes_since(changelog: str, version: str) -> str:
    """What the changelog says of everything newer than a version."""
    notes = ""
    for heading, text in sections(changelog).items():
        if heading.split(" - ")[0] == version:
            break
        notes += text
    return notes


def unready(version: str, changelog: str) -> list[str]:
    """What a release lacks: the form of its version, and its section of the changelog."""
    try:
        if not version.startswith("v") or str(Version(version)) != version[1:]:
            raise InvalidVersion
    except InvalidVersion:
        return [f"{version} is not a version as in v0.2.0 (PEP 440, with a v)."]
    for heading, text in sections(changelog).items():
        name, _, day = heading.partition(" - ")
        if name == version:
            if not is_date(day):
                return [f"CHANGELOG.md: write the date, as in ## {version} - 2026-01-31."]
            if not re.search(r"^### Updating from\b.*\n+[^#\s]", text, re.MULTILINE):
                return [f"CHANGELOG.md: ## {version} says nothing under ### Updating from."]
            return []
    return [f"CHANGELOG.md has no section ## {version}."]


def is_date(text: str) -> bool:
    try:
        return str(date.fromisoformat(text)) == text
    except ValueError:
        return False


def wrong_record(record: dict[str, str], changelog: str, repository: Path) -> list[str]:
    """What is wrong with releases.txt."""
    complaints = [line for version in record for line in unready(version, changelog)]
    if complaints:
        return complaints
    for version, commit in record.items():
        if not is_ancestor(repository, commit, "HEAD"):
            complaints.append(f"{version} is {commit}, which HEAD does not contain.")
        tag = ["rev-parse", "--verify", "--quiet", f"refs/tags/{version}^{{commit}}"]
        tagged = subprocess.run(["git", *tag], cwd=repository, capture_output=True, text=True)
        if tagged.stdout.strip() not in ("", commit):
            complaints.append(f"The tag {version} is not at {commit}: a tag is never moved.")
    for (before, older), (after, newer) in pairwise(record.items()):
        if Version(before) >= Version(after) or is_ancestor(repository, newer, older):
            complaints.append(f"{after} does not come after {before}.")
    return complaints


def is_ancestor(repository: Path, older: str, newer: str) -> bool:
    ask = ["git", "merge-base", "--is-ancestor", older, newer]
    return subprocess.run(ask, cwd=repository, capture_output=True).returncode == 0
