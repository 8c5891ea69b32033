"""A small template with two releases, a project made from the first, and edits of both."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import NamedTuple

import pytest
from conftest import ROOT, SOURCE, commit, git, isolate
from copier import run_copy
from plumbum import local

from . import renames
from .actions import Edit, edit, requirement
from .files import LINK, Entry, Files, snapshot, write
from .notebooks import illustrated, notebook
from .renames import Lines, Renames

UPDATE = ROOT / "template/tools/update.py"
OLD, NEW = "v1.0.0", "v1.1.0"
ANSWERS = ".copier-answers.yml"
LOCK, HOOKS, TOOL = "requirements/cpu.txt", ".pre-commit-config.yaml", "tools/lock.py"
SEEDED = ("seed/*", "**/start.yml", "requirements/*.txt")
JINJA = ("README.md", "core.yml")  # how the names end of files that hold an answer
IF_GITHUB = "{% if ci == 'github' %}ci{% endif %}/"
BLOCKS = {  # repeated blocks are where naive merges go wrong
    "j": "- name: job\n  image: base\n  run: true\n\n",
    "s": "- name: step\n  image: base\n  run: true\n\n",
    "o": "owner: {{ name }}\n",
}
EXECUTED = "executed"  # a file that a git hook of the template would make


class World(NamedTuple):
    """All that an example is made from."""

    texts: dict[str, str]  # the managed text files of the first release, a letter a block
    answers: dict[str, str]
    template: list[Edit]  # between the releases
    user: list[Edit]  # before the update
    data: dict[str, str] = {}  # answers that the update changes
    renames: Lines = []  # the lines of the second release's renames.txt
    seeded: tuple[str, ...] = SEEDED  # in the second release
    evil: str = ""  # a name of the second release that git would take for its own
    asks: bool = False  # the second release has another question
    eol: bool = True  # the template has `* text=auto eol=lf`
    strips: bool = False  # a filter keeps notebooks' outputs out of git
    nested: bool = False  # the project is a folder of its repository
    history: bool = False  # the fresh project is committed, and each `git mv` too
    modes: bool = True  # core.fileMode
    flag: tuple[str, str, bool] | None = None  # a file, its flag in git's index, edited after it
    ending: str = "commit"  # or abort, or edit: abort after another edit


# The template.

LOCK_TOOL = b'''\
"""Pin what pyproject.toml asks for, and set the hooks to the pins: the real tool without uv."""

import re
import sys
import tomllib
from pathlib import Path

root = Path(sys.argv[-1])
lock, hooks = root / "requirements/cpu.txt", root / ".pre-commit-config.yaml"
text = lock.read_text()
project = tomllib.loads((root / "pyproject.toml").read_text()).get("project", {})
for name in project.get("dependencies") or sys.exit("lock: there are no dependencies"):
    if not re.search(rf"^{name}==", text, re.MULTILINE):
        text += f"{name}==9 \\\\\\n    --hash=sha256:{name}9\\n"
lock.write_text(text)
if hooks.is_file():
    config = hooks.read_text()
    for name, version in re.findall(r"^([\\w.-]+)==([^\\s;]+)", text, re.MULTILINE):
        config = re.sub(rf"(?<![\\w.-]){name}==[^\\s,\\]]+", f"{name}=={version}", config)
    hooks.write_text(config)
'''
HOOK = """\
  - repo: local
    hooks:
      - id: {id}
        entry: {id}
        language: python
        additional_dependencies:
          - {pins}
"""
OWN_PIN = "numpy==1.26.4"
OWN_HOOK = HOOK.format(id="mine", pins=OWN_PIN).encode()  # numpy is in the lock as well
ALWAYS = {  # in the first release, whatever is drawn
    ".gitignore": b"*.log\n/scratch\n!*.keep.log\n",
    "pyproject.toml": b'[project]\nname = "x"\ndependencies = [\n  "keras",\n]\n',
    LOCK: b"# made by uv\n"
    + b"".join(requirement(*one) for one in (("keras", "3.1"), ("numpy", "2.1"), ("ruff", "0.1"))),
    HOOKS: (
        "repos:\n"
        + HOOK.format(id="ruff", pins="nbstripout==0.9\n          - ruff==0.1")
        + HOOK.format(id="json", pins="pre-commit-hooks==6.0.0")
    ).encode(),
    TOOL: LOCK_TOOL,
    "logo.bin": b"\x89PNG\0 1" + bytes(range(64)),
    "lab/check.ipynb": illustrated("import a", "a.run()\na.show()\na.show()", "print(1)"),
    "seed/model.yml": b"- name: job\n",
    "seed/logo.bin": b"\0 seeded",
    "seed/start.ipynb": notebook("start()"),
    "{name}/start.yml": b"- name: start\n",
    "script.sh": b"#!/bin/sh\nset -e\necho 1\necho 2\n",
}


def source(name: str) -> str:
    """Where the template keeps a file of the project."""
    suffix = ".jinja" if name.endswith(JINJA) else ""
    return name.replace("{name}", "{{ name }}").replace("ci/", IF_GITHUB, 1) + suffix


def settings(seeded: tuple[str, ...], asks: bool) -> str:
    extra = {"colour": {"type": "str", "default": "red"}} if asks else {}
    return json.dumps(
        {
            "_subdirectory": "template",
            "_envops": {"undefined": "jinja2.StrictUndefined"},
            "_preserve_symlinks": True,
            "_skip_if_exists": seeded,
            "name": {"type": "str", "default": "ada"},
            "ci": {"type": "str", "choices": ["github", "none"], "default": "github"},
            **extra,
        }
    )


def release_twice(world: World, folder: Path) -> None:
    """Make the template's repository with both releases."""
    files = folder / "template"
    files.mkdir(parents=True)
    attributes = b"* text=auto eol=lf\n" * world.eol + b"*.dat -diff\n*.bin binary\n"
    texts = {
        name: "".join(BLOCKS[letter] for letter in letters).encode()
        for name, letters in world.texts.items()
    }
    for name, data in {**ALWAYS, ".gitattributes": attributes, **texts}.items():
        write(files / source(name), data)
    (files / source("script.sh")).chmod(0o755)
    (files / "link").symlink_to("conf/a.yml")
    (files / "{{_copier_conf.answers_file}}.jinja").write_text(
        "# Changes here will be overwritten\n{{ _copier_answers | to_nice_yaml -}}\n"
    )
    (folder / "copier.yml").write_text(settings(SEEDED, False))
    commit(folder, tag=OLD)
    for one in world.template:
        edit(files, one, source)
    readme = files / source("README.md")
    if world.asks and readme.is_file() and not readme.is_symlink():
        readme.write_bytes(readme.read_bytes() + b"\ncolour: {{ colour }}\n")
    if world.evil:
        place = files / "/".join(f"{{{{ '{part}' }}}}" for part in world.evil.split("/"))
        write(place, f"#!/bin/sh\ntouch '{folder.parent / EXECUTED}'\n".encode())
        place.chmod(0o755)
    lines = [f"{old} -> {new}\n" for old, new in world.renames]
    text = "".join(["# Renamed files, the oldest rename first\n", *lines])
    (folder / "renames.txt").write_text(text.replace("{name}", "{{name}}"))
    (folder / "copier.yml").write_text(settings(world.seeded, world.asks))
    git(folder, "commit", "--quiet", "--allow-empty", "--message=Next")
    commit_all(folder, "Release")
    git(folder, "tag", NEW)


def commit_all(folder: Path, message: str) -> None:
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


# The project.


class Project(NamedTuple):
    """A project with what is needed to judge its update."""

    folder: Path
    base: Files  # a fresh copy of the old release
    before: Files  # with git's modes where core.fileMode is false
    theirs: Files  # a fresh copy of the new release
    seeded: tuple[str, ...]
    ignored: set[str]  # by git, and not tracked
    renames: Renames = Renames()
    modes: bool = True  # core.fileMode
    disk: Files = {}  # before, with the disk's modes

    def sides(self, name: str) -> list[Entry | None]:
        """A file in the old release, here before the update, and in the new release."""
        return [files.get(name) for files in (self.base, self.before, self.theirs)]

    def git(self, *args: str, data: bytes = b"", ok: tuple = (0,)) -> bytes:
        done = subprocess.run(["git", *args], cwd=self.folder, input=data, capture_output=True)
        assert done.returncode in ok, done.stderr
        return done.stdout

    def names(self, *which: str) -> list[str]:
        """The files that git has in its index, or what else is asked for."""
        return os.fsdecode(self.git("ls-files", "-z", *which)).split("\0")[:-1]

    def index(self) -> dict[str, tuple[str, str]]:
        """Git's mode and hash of each file that is not in conflict."""
        found = {}
        for line in self.git("ls-files", "--stage", "-z").split(b"\0")[:-1]:
            info, name = os.fsdecode(line).split("\t", 1)
            mode, sha, stage = info.split()
            if stage == "0":
                found[name] = (mode, sha)
        return found

    def seen(self) -> Files:
        """Every file as git sees it: modes are the index's where core.fileMode is false."""
        files = snapshot(self.folder)
        if self.modes:
            return files
        modes = {name: mode for name, (mode, _) in self.index().items()}
        # A conflict has no mode of its own in the index: it has the disk's.
        conflicts = {line.split("\t", 1)[1] for line in self.names("--unmerged")}
        modes |= {name: files[name].mode for name in conflicts & files.keys()}
        return {
            name: one if one.mode == LINK else one._replace(mode=modes.get(name, one.mode))
            for name, one in files.items()
        }

    def update(self, *args: str) -> subprocess.CompletedProcess:
        """Run the real tool, as people do who have no nox."""
        return self.run(sys.executable, UPDATE, *args)

    def run(self, *command: str | Path) -> subprocess.CompletedProcess:
        done = subprocess.run(
            command, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True
        )
        done.stdout, done.stderr = map(os.fsdecode, (done.stdout, done.stderr))
        return done


def copy(folder: Path, answers: dict[str, str], version: str) -> Files:
    with local.env(**os.environ):  # else Copier's git has the environment of its import
        run_copy(SOURCE, folder, answers, vcs_ref=version, defaults=True, quiet=True)
    return snapshot(folder)


def work(world: World, project: Project) -> dict[str, str]:
    """Do what the user does, commit it, and return the renames: first names with the last ones."""
    history, folder = renames.History(), project.folder

    def place(name: str) -> str:
        return renames.fill(name, world.answers)

    def save(message: str) -> None:
        project.git("add", "--all")
        project.git("commit", "--quiet", "--allow-empty", "--message", message)

    if world.history:
        save("Start")
    if not world.modes:
        project.git("config", "core.fileMode", "false")
    for one in world.user:
        alone = one.kind == "move" and world.history
        if alone:
            save("Before a rename")
        is_there = (folder / place(one.name)).is_file()
        edit(folder, one, place)
        if one.kind in ("move", "rename") and is_there:
            old, new = place(one.name), place(*one.detail)
            if not os.path.lexists(folder / old) and (folder / new).is_file():
                history.note(old, new)
        if alone:
            save("Rename")
    project.git("add", "--all")
    if os.path.lexists(folder / "forced.log"):  # though ignored
        project.git("add", "--force", "forced.log")
    project.git("commit", "--quiet", "--allow-empty", "--message=Mine")
    return history.names


def mark(project: Project, name: str, flag: str, edited: bool) -> None:
    """Hide a tracked file's changes from git, and perhaps change it."""
    path = project.folder / name
    if name in project.index() and path.is_file() and not path.is_symlink():
        project.git("update-index", flag, "--", f"./{name}")
        if edited:
            path.write_bytes(path.read_bytes() + b"# hidden\n")


@contextlib.contextmanager
def project(world: World) -> Iterator[Project]:
    """The project as it is before its update, in folders that are gone afterwards."""
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        top = Path(scratch)
        isolate(patch, top / "home", top / "template")
        # Each example has another template at the same address.
        for mirror in Path(os.environ["XDG_CACHE_HOME"]).glob("gpu-ml-template/template-*"):
            shutil.rmtree(mirror)
        release_twice(world, top / "template")
        repository = top / "project"
        folder = repository / "sub dir" if world.nested else repository
        base = copy(folder, world.answers, OLD)
        theirs = {} if world.evil else copy(top / "theirs", world.answers | world.data, NEW)
        git(repository, "init", "--quiet", "--initial-branch=main")
        if world.strips:
            git(repository, "config", "filter.strip.clean", "sed '/stdout/,/]/d'")
            (repository / ".git/info").mkdir(exist_ok=True)
            (repository / ".git/info/attributes").write_text("*.ipynb filter=strip\n")
        project = Project(folder, base, {}, theirs, world.seeded, set(), modes=world.modes)
        drawn = work(world, project)
        if world.flag:
            mark(project, renames.fill(world.flag[0], world.answers), *world.flag[1:])
        project = project._replace(before=project.seen(), disk=snapshot(folder))
        project.ignored.update(project.names("--others", "--ignored", "--exclude-standard"))
        tracked = {n: one for n, one in project.before.items() if n not in project.ignored}
        found = renames.templates(base, theirs, world.renames, world.answers, world.data)
        known = {*base, *theirs} - {*found.moves.values()}
        certain, chance = renames.users(folder, base, tracked, drawn, known)
        yield project._replace(renames=found._replace(certain=certain, chance=chance))


def seeded(name: str, patterns: tuple[str, ...]) -> bool:
    return any(PurePath("/", name).match(f"/{one}".replace("/**/", "*/")) for one in patterns)


def git_folder(project: Project) -> dict[str, bytes]:
    """Read what decides how git behaves: its settings and hooks; and what a hook would make."""
    top = Path(os.fsdecode(project.git("rev-parse", "--show-toplevel")).rstrip("\n"))
    found = [top / ".git/config", *(top / ".git/hooks").rglob("*"), top.parent / EXECUTED]
    return {str(path): path.read_bytes() for path in found if path.is_file()}
