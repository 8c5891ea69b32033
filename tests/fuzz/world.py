"""A small template with two releases, a project made from the first, and edits of both."""

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT, SOURCE, commit, git, isolate
from copier import run_copy
from plumbum import local

UPDATE = ROOT / "template/tools/update.py"
OLD, NEW = "v1.0.0", "v1.1.0"
ANSWERS = ".copier-answers.yml"
LOCK = "requirements/cpu.txt"
SEEDED = ("seed/*", "requirements/*.txt")
JINJA = {"README.md", "{name}/core.yml"}
IF_GITHUB = "{% if ci == 'github' %}ci{% endif %}/"
BLOCKS = {  # repeated blocks are where naive merges go wrong
    "j": "- name: job\n  image: base\n  run: true\n\n",
    "s": "- name: step\n  image: base\n  run: true\n\n",
    "o": "owner: {{ name }}\n",
}
LINK = "120000"  # git's mode of a symbolic link


class Edit(NamedTuple):
    """What somebody does to a file; {name} in its name is the answer to that question."""

    kind: str
    name: str
    detail: tuple = ()


class World(NamedTuple):
    """All that an example is made from."""

    texts: dict[str, str]  # the managed text files of the first release, a letter a block
    answers: dict[str, str]
    template: list[Edit]  # between the releases
    user: list[Edit]  # before the update
    data: dict[str, str] = {}  # answers that the update changes
    seeded: tuple[str, ...] = SEEDED  # in the second release
    asks: bool = False  # the second release has another question
    eol: bool = True  # the template has `* text=auto eol=lf`
    strips: bool = False  # a filter keeps notebooks' outputs out of git
    nested: bool = False  # the project is a folder of its repository
    ending: str = "commit"  # or abort, or edit: abort after another edit


class Entry(NamedTuple):
    """A file or link: git's mode, its bytes, and the permissions it has on the disk."""

    mode: str
    data: bytes
    permissions: int = 0

    def same(self, other: "Entry | None") -> bool:
        return other is not None and self[:2] == other[:2]


Files = dict[str, Entry]


# The template.


def notebook(*sources: str) -> bytes:
    cells = [cell(f"cell-{n}", source) for n, source in enumerate(sources)]
    return dump({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


def cell(name: str, source: str) -> dict:
    new = {"cell_type": "code", "execution_count": None, "id": name, "metadata": {}}
    return {**new, "outputs": [], "source": source.splitlines(keepends=True)}


def dump(notebook: dict, indent: int = 1) -> bytes:
    return json.dumps(notebook, indent=indent, ensure_ascii=False).encode() + b"\n"


def requirement(package: str, version: str) -> bytes:
    return f"{package}=={version} \\\n    --hash=sha256:{package}{version}\n".encode()


ALWAYS = {  # in the first release, whatever is drawn
    ".gitignore": b"*.log\n/scratch\n!*.keep.log\n",
    "pyproject.toml": b'[project]\nname = "x"\ndependencies = [\n  "keras",\n]\n',
    LOCK: b"# made by uv\n" + requirement("keras", "3.1") + requirement("numpy", "2.1"),
    "logo.bin": b"\x89PNG\0 1",
    "lab/check.ipynb": notebook("import a", "a.run()\na.show()", "print(1)"),
    "seed/model.yml": b"- name: job\n",
    "seed/logo.bin": b"\0 seeded",
    "seed/start.ipynb": notebook("start()"),
    "script.sh": b"#!/bin/sh\nset -e\necho 1\necho 2\n",
}


def source(name: str) -> str:
    """Where the template keeps a file of the project."""
    suffix = ".jinja" if name in JINJA else ""
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
    (folder / "copier.yml").write_text(settings(world.seeded, world.asks))
    git(folder, "commit", "--quiet", "--allow-empty", "--message=Next")
    commit_all(folder, "Release")
    git(folder, "tag", NEW)


def commit_all(folder: Path, message: str) -> None:
    git(folder, "add", "--all", "--force")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)


# What people do to files. An edit of what is not there, or no longer a file, does nothing.


def write(path: Path, data: bytes) -> None:
    clear(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def clear(path: Path) -> None:
    """Make room for a file: files become folders and folders files, as people do."""
    for parent in path.parents:
        if parent.is_symlink() and not parent.is_dir() or parent.is_file():
            parent.unlink()
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def edit(folder: Path, one: Edit, place: Callable[[str], str]) -> None:
    kind, path, detail = one.kind, folder / place(one.name), one.detail
    if kind == "write":
        return write(path, *detail)
    if kind == "mkdir":
        clear(path)
        return path.mkdir(parents=True)
    if kind == "link":
        clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.symlink_to(*detail)
    if kind == "relocate":  # to another disk, say, with a link in the place
        if path.is_dir() and not path.is_symlink():
            clear(folder / detail[0])
            path.rename(folder / detail[0])
            path.symlink_to(detail[0])
        return
    if not path.is_file() or path.is_symlink():
        return
    if kind == "delete":
        path.unlink()
    elif kind == "rename":
        target = folder / place(*detail)
        if not {path, target} & {*path.parents, *target.parents} and path != target:
            clear(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
    elif kind == "mode":
        path.chmod(path.stat().st_mode ^ 0o111)
    elif kind == "private":
        path.chmod(path.stat().st_mode & 0o700)
    else:
        path.write_bytes(CONTENT_EDITS[kind](path.read_bytes(), *detail))


def edit_lines(data: bytes, at: int, drop: int, add: tuple[bytes, ...]) -> bytes:
    plain = data.replace(b"\r\n", b"\n") if windows(data) else data
    lines = re.findall(rb"[^\n]*\n|[^\n]+", plain)
    at %= len(lines) + 1
    lines[at : at + drop] = add
    edited = b"".join(lines)
    return edited.replace(b"\n", b"\r\n") if windows(data) else edited


def windows(data: bytes) -> bool:
    """Whether these are text lines that all end as Windows' do."""
    odd = b"\0" in data or b"\r\r\n" in data
    return not odd and 0 < data.count(b"\n") == data.count(b"\r\n")


def to_windows(data: bytes) -> bytes:
    return data if b"\0" in data else data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")


def edit_notebook(data: bytes, what: str, at: int, text: str) -> bytes:
    found = cells_of(data)
    if found is None:
        return data
    whole = json.loads(data)
    cells = whole["cells"]
    if what == "insert":
        cells.insert(at % (len(cells) + 1), cell("".join(filter(str.isalnum, text)), text))
    elif cells:
        one = cells[at % len(cells)]
        if what == "drop":
            cells.remove(one)
        elif what == "source":
            one["source"] = text.splitlines(keepends=True)
        elif what == "run":
            one["execution_count"] = at + 1
            one["outputs"] = [{"name": "stdout", "output_type": "stream", "text": [f"{text}\n"]}]
    return dump(whole, indent=4 if what == "indent" else 1)


def cells_of(data: bytes) -> list[dict] | None:
    """The cells of a notebook; None for what is none."""
    try:
        return json.loads(data)["cells"]
    except (ValueError, KeyError, TypeError):
        return None


def require(data: bytes, package: str, version: str) -> bytes:
    """Ask for a package in pyproject.toml, or pin it in a lock."""
    top = b"dependencies = [\n"
    if top in data:
        return data.replace(top, top + f'  "{package}",\n'.encode(), 1)
    old = re.compile(rf"^{package}==.*\n(?:[ \t].*\n)*".encode(), re.MULTILINE)
    new = requirement(package, version)
    return old.sub(lambda _: new, data) if old.search(data) else data + new


CONTENT_EDITS = {
    "lines": edit_lines,
    "ignore": edit_lines,
    "notebook": edit_notebook,
    "require": require,
    "crlf": to_windows,
    "chop": lambda data: data.rstrip(b"\r\n"),
}


# The project.


def snapshot(folder: Path) -> Files:
    """Every file and link of a folder, but for git's own."""
    files = {}
    for root, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        for name in names + [name for name in folders if Path(root, name).is_symlink()]:
            path = Path(root, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                entry = Entry(LINK, os.fsencode(os.readlink(path)))
            else:
                git_mode = "100755" if mode & 0o100 else "100644"
                entry = Entry(git_mode, path.read_bytes(), stat.S_IMODE(mode))
            files[path.relative_to(folder).as_posix()] = entry
    return files


class Project(NamedTuple):
    """A project with what is needed to judge its update."""

    folder: Path
    base: Files  # a fresh copy of the old release
    before: Files
    theirs: Files  # a fresh copy of the new release
    seeded: tuple[str, ...]
    ignored: set[str]  # by git, and not tracked

    def sides(self, name: str) -> list[Entry | None]:
        """A file in the old release, here before the update, and in the new release."""
        return [files.get(name) for files in (self.base, self.before, self.theirs)]

    def git(self, *args: str, data: bytes = b"") -> bytes:
        done = subprocess.run(
            ["git", *args], cwd=self.folder, input=data, check=True, capture_output=True
        )
        return done.stdout

    def names(self, *which: str) -> list[str]:
        """The files that git has in its index, or what else is asked for."""
        return os.fsdecode(self.git("ls-files", "-z", *which)).split("\0")[:-1]

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
        theirs = copy(top / "theirs", world.answers | world.data, NEW)
        git(repository, "init", "--quiet", "--initial-branch=main")
        if world.strips:
            git(repository, "config", "filter.strip.clean", "sed '/stdout/,/]/d'")
            (repository / ".git/info").mkdir(exist_ok=True)
            (repository / ".git/info/attributes").write_text("*.ipynb filter=strip\n")
        for one in world.user:
            edit(folder, one, lambda name: name.replace("{name}", world.answers["name"]))
        project = Project(folder, base, snapshot(folder), theirs, world.seeded, set())
        project.git("add", "--all")
        if os.path.lexists(folder / "forced.log"):  # though ignored
            project.git("add", "--force", "forced.log")
        project.git("commit", "--quiet", "--message=Mine")
        project.ignored.update(project.names("--others", "--ignored", "--exclude-standard"))
        yield project
