# Managed by gpu-ml-template: copier update merges fixes into this file.
# /// script
# requires-python = ">=3.11"
# ///
"""Update this project from its template, and lose nothing of yours: `nox -s update`.

Copier renders the template twice, as this project got it last and as it is now. Each file is
then merged by `git merge-file`: your changes and the template's. Files that are yours stay; what
cannot be merged becomes a conflict as git knows it. All of it is worked out before the first file
is touched, and --abort takes it back. Exit code: 0 done, 1 refused, 2 something is left to you.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import functools
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

COPIER = "copier>=9.17.2,<10"  # see _min_copier_version in the template's copier.yml
NBDIME = "nbdime>=4,<5"  # only fetched for a notebook in conflict
LOCKS = tuple(f"requirements/{name}.txt" for name in ("cpu", "gpu", "dev", "scale", "audit"))
HOOKS = ".pre-commit-config.yaml"  # pins its tools at the versions in the locks
JOURNAL = "gpu-ml-template-update"  # in .git: what --abort needs
LINK = "120000"  # git's mode of a symbolic link; files have 100644 or 100755
BY_CELLS = "cell by cell"
PINS = "at the template's pins"
AGAIN = "nox -s update"
NEWEST = (
    "uv run https://raw.githubusercontent.com/org/gpu-ml-template/main/template/tools/update.py"
)


class Refused(Exception):
    """Why nothing was changed, with the remedy."""


class Entry(NamedTuple):
    """A file or link: git's mode, and its bytes as they are on the disk."""

    mode: str
    data: bytes


class Change(NamedTuple):
    """What the update does to a path, and why."""

    name: str
    what: str  # updated, added, deleted, merged, conflict; kept and blocked do nothing
    after: Entry | None
    why: str = ""
    stages: tuple[Entry | None, ...] = ()  # of a conflict: base, yours, theirs


# The environment of this tool: Copier, in the user's cache, never among the project's packages.


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base, "gpu-ml-template").absolute()


def environment(package: str) -> Path:
    """The Python of an environment with this package, which is made if it is not there."""
    folder = cache() / f"{re.split('[<>=]', package)[0]}-{digest(package + sys.version)[:12]}"
    python = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")
    if (folder / python).exists():
        return folder / python
    print(f"update: installing {package} into {folder}", file=sys.stderr, flush=True)
    fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
    base = sys.executable if sys.version_info >= (3, 11) else ">=3.11"
    if uv := os.environ.get("UV"):
        make = [uv, "venv", "--quiet", "--python", base, fresh]
        fill = [uv, "pip", "install", "--quiet", "--compile-bytecode"]
        fill += ["--python", fresh / python, package]
    else:
        make = [sys.executable, "-m", "venv", fresh]
        fill = [fresh / python, "-m", "pip", "install", "--quiet", package]
    try:
        fresh.parent.mkdir(parents=True, exist_ok=True)
        for command in (make, fill):  # not in the project, whose settings for uv are not ours
            subprocess.run(command, check=True, cwd=fresh.parent, stdout=sys.stderr)
        if folder.exists() and not (folder / python).exists():
            shutil.rmtree(folder)  # its own Python has gone
        with contextlib.suppress(OSError):  # where another update was faster
            fresh.rename(folder)
    except subprocess.CalledProcessError:
        raise Refused(
            f"{package} could not be installed (see above). It takes the package index once, and"
            " no network after that"
        ) from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder / python


def find_uv() -> str | None:
    if found := os.environ.get("UV") or shutil.which("uv"):
        return found
    try:
        import uv  # comes with `pip install nox[uv]`

        return uv.find_uv_bin()
    except (ImportError, FileNotFoundError):
        return None


# Git and the project. All names are relative to the project, whose top is the current folder.


def digest(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()


def git(*args: str | Path, data: bytes | None = None, ok: tuple = (0,), **env: str) -> bytes:
    """Run git and return what it prints; a failure is told in git's own words."""
    done = subprocess.run(
        ["git", *args], input=data, capture_output=True, env={**os.environ, **env}
    )
    if done.returncode not in ok:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise Refused(f"git failed: {said}")
    return done.stdout


def asks(*args: str) -> str | None:
    """What git answers to a question, or None if it says no."""
    done = subprocess.run(["git", *args], capture_output=True)
    return None if done.returncode else os.fsdecode(done.stdout).rstrip("\n")


def in_git_folder(name: str) -> Path:
    return Path(os.fsdecode(git("rev-parse", "--git-path", name)).rstrip("\n")).absolute()


@functools.cache
def journal() -> Path:
    """The folder for --abort; each project in a repository has its own."""
    return in_git_folder(JOURNAL + (f"-{digest(prefix())[:8]}" if prefix() else ""))


def check_repository() -> None:
    """Refuse where git could not show what an update did, or not take it back."""
    if asks("rev-parse", "--is-inside-work-tree") != "true":
        said = subprocess.run(["git", "status"], capture_output=True).stderr.decode()
        if "not a git repository" not in said:
            raise Refused(f"git says: {said.strip()}")
        raise Refused(
            "this folder is in no git repository, and git is what merges and takes back. Start"
            ' one with `git init && git add -A && git commit -m "Before the update"`'
        )


def check_state() -> None:
    """Refuse a tree that is not as its last commit left it."""
    if asks("rev-parse", "--verify", "HEAD^{commit}") is None:
        raise Refused('commit first: `git add -A && git commit -m "Before the update"`')
    state = read_journal()
    ours = state and state["head"] == head()
    if ours and not state["done"]:
        raise Refused(f"an update was stopped in the middle: take it back with {abort_line()}")
    if (lock := in_git_folder("index.lock")).exists():
        raise Refused(f"another git command is at work, or was killed: then delete {lock}")
    listing = git("status", "--porcelain", "-z", "--untracked-files=all", "--", ".")
    if lines := [os.fsdecode(line) for line in listing.split(b"\0") if line]:
        more = [f"  ... and {len(lines) - 5} more"] if len(lines) > 5 else []
        pending = ours and any(is_as(info, "after") for info in state["files"])
        raise Refused(
            "\n".join(["the tree has changes that are not committed:", *lines[:5], *more])
            + f"\nCommit {'the last update' if pending else 'them'} (`git add -A && git commit`)"
            + (f", or take it back with {abort_line()}" if pending else " or `git stash -u`")
            + f", then {AGAIN} again"
        )
    for name in ("rebase-merge", "rebase-apply", "MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD"):
        if in_git_folder(name).exists():
            what = re.split("[-_]HEAD|-", name)[0].lower().replace("_", "-")
            raise Refused(f"a {what} is in progress: finish it with `git {what} --continue`")
    if asks("symbolic-ref", "--quiet", "HEAD") is None:
        raise Refused(
            "HEAD is detached, so a commit would belong to no branch: `git switch -c"
            " update-template`, or go to your branch"
        )


def alone() -> object:
    """A lock that no other update of this project gets until this process ends."""
    try:
        return locked(journal().with_name(f"{journal().name}.lock"), wait=False)
    except OSError:
        raise Refused("another update of this project is at work") from None


def locked(path: Path, wait: bool) -> object:
    """A lock that no other process gets until this object goes; OSError if it is taken."""
    try:
        import fcntl
    except ImportError:
        return None
    handle = path.open("w")
    fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    return handle


def head() -> str:
    return git("rev-parse", "HEAD").decode().strip()


def prefix() -> str:
    """The project's folder in its repository: "" or "path/to/it/"."""
    return asks("rev-parse", "--show-prefix") or ""


def abort_line() -> str:
    return f"`{AGAIN} -- --abort`"


@functools.cache
def tracked() -> dict[str, str]:
    """What git has of this folder, with its modes."""
    lines = git("ls-files", "--stage", "-z").split(b"\0")
    return {os.fsdecode(line.split(b"\t", 1)[1]): line[:6].decode() for line in lines if line}


@functools.cache
def keeps_modes() -> bool:
    return asks("config", "--bool", "core.fileMode") != "false"


def now(name: str) -> Entry | None:
    """A file of the project as it is now; git's mode where the disk has none."""
    entry = read(Path(), name)
    if entry and entry.mode != LINK and not keeps_modes():
        return Entry(tracked().get(name, "100644"), entry.data)
    return entry


@functools.cache
def yours(name: str) -> Entry | None:
    """The same as it was when the update first looked at it."""
    return now(name)


def read(folder: Path, name: str) -> Entry | None:
    """A file as it is on the disk; None for nothing, a folder, and what lies behind a link."""
    path = folder / name
    if any((folder / parent).is_symlink() for parent in Path(name).parents):
        return None
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return Entry(LINK, os.fsencode(os.readlink(path)))
    if not stat.S_ISREG(mode):
        return None
    return Entry("100755" if mode & 0o100 else "100644", path.read_bytes())


def tree(folder: Path) -> dict[str, Entry]:
    """Everything in a rendered folder, by name."""
    names = []
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        names += [Path(root, name).relative_to(folder).as_posix() for name in files + links]
    return {name: entry for name in sorted(names) if (entry := read(folder, name))}


# The template.


class Template(NamedTuple):
    """The template as this project got it last (old) and as it is now (new)."""

    old: dict[str, Entry]
    new: dict[str, Entry]
    old_version: str
    new_version: str
    news: str  # the address of its changelog, if that can be known
    seeded: Callable[[str], bool]


def read_answers(name: str) -> dict:
    import yaml

    history = f"An earlier one is in git: `git log -p -- {name}`"
    try:
        answers = yaml.safe_load(Path(name).read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(
            f"{name} is not valid YAML ({' '.join(str(error).split())}). {history}"
        ) from None
    for key in ("_commit", "_src_path"):
        if not isinstance(answers, dict) or not isinstance(answers.get(key), str):
            raise Refused(f"{name} has no {key}, which tells what to update from. {history}")
    return answers


def url_of(source: str) -> str:
    """The address behind Copier's short forms."""
    for short, host in (("gh:", "https://github.com/"), ("gl:", "https://gitlab.com/")):
        if source.startswith(short):
            return host + source[len(short) :].removesuffix(".git") + ".git"
    return source.removeprefix("git+")


def fetch(*args: str) -> str:
    """Run git, which fetches; return what it says if it fails.

    A pack appears as a whole, loose objects one by one; and nothing goes on in the background.
    """
    command = ["git", "-c", "fetch.unpackLimit=1", "-c", "transfer.unpackLimit=1"]
    command += ["-c", "gc.auto=0", "-c", "maintenance.auto=false", *args]
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"} if not sys.stdin.isatty() else None
    done = subprocess.run(command, capture_output=True, env=env)
    said = done.stderr.decode(errors="replace").strip()
    return (said or "no reason given") if done.returncode else ""


def intact(repository: Path) -> bool:
    """Whether all that the refs need is there, and no fetch was killed while it wrote a ref."""
    if any(repository.rglob("*.lock")):
        return False
    # `git fsck --connectivity-only` does not see that a pack was cut off.
    return asks(f"--git-dir={repository}", "rev-list", "--objects", "--all", "--quiet") is not None


def clone(url: str, here: Path) -> str:
    """Put a fresh clone in the place of this folder; return what git says if it fails."""
    with tempfile.TemporaryDirectory(dir=here.parent) as scratch:
        if failure := fetch("clone", "--quiet", "--mirror", "--", url, f"{scratch}/git"):
            return failure
        if here.exists():
            here.rename(f"{scratch}/damaged")
        Path(scratch, "git").rename(here)
    return ""


def mirror(source: str) -> tuple[Path, dict[str, str]]:
    """A repository here that has the template, and settings that lead git to it.

    It is what makes an update work without a network, once the template was fetched.
    """
    if Path(source).expanduser().exists():
        folder = Path(source).expanduser()
        return (folder / ".git" if (folder / ".git").exists() else folder), {}
    url = url_of(source)
    here = cache() / f"template-{digest(url)[:12]}.git"
    here.parent.mkdir(parents=True, exist_ok=True)
    lock = locked(here.with_name(f".{here.name}.lock"), wait=True)  # noqa: F841  (until the return)
    damaged = here.exists() and not intact(here)
    if damaged:
        print(f"update: the copy in {here} is damaged: cloning it again", file=sys.stderr)
    if here.exists() and not damaged:
        if failure := fetch(f"--git-dir={here}", "remote", "update", "--prune"):
            print(
                f"update: {url} does not answer ({failure.splitlines()[-1]});"
                " going on with what was fetched last time",
                file=sys.stderr,
            )
    elif failure := clone(url, here):
        after = f". The update then replaces {here}, which is damaged" if damaged else ""
        raise Refused(
            f"the template at {url} cannot be reached. git says:\n{failure}\nCheck the"
            f" network, your access, and _src_path in the answers file{after}"
        )
    count = int(os.environ.get("GIT_CONFIG_COUNT", 0))
    lead = {f"GIT_CONFIG_KEY_{count}": f"url.{here.as_uri()}.insteadOf"}
    lead |= {f"GIT_CONFIG_VALUE_{count}": url, "GIT_CONFIG_COUNT": str(count + 1)}
    return here, lead


def find(repository: Path, version: str) -> str:
    """The version as the template spells it: 0.3.0 is v0.3.0."""
    has = f"--git-dir={repository}"
    for name in (version, f"v{version}"):
        if not name.startswith("-") and asks(
            has, "rev-parse", "-q", "--verify", name + "^{commit}"
        ):
            return name
    tags = (asks(has, "tag", "--sort=-version:refname") or "").split()
    raise Refused(
        f"the template has no version {version}; it has {', '.join(tags[:5]) or 'no tags'}"
    )


@contextlib.contextmanager
def rendering() -> Iterator[None]:
    """Turn what Copier raises into refusals."""
    from copier import errors
    from plumbum import ProcessExecutionError

    try:
        yield
    except errors.UnsafeTemplateError as error:
        raise Refused(
            f"{error}\nSuch a version runs code of its own before you have seen it: tell its"
            " maintainers. `copier update --trust` would run it all the same"
        ) from None
    except errors.UnsupportedVersionError as error:
        raise Refused(f"{error} Run the newest of this tool: {NEWEST}") from None
    except ProcessExecutionError as error:
        raise Refused(f"git failed while Copier worked: {error.stderr.strip()}") from None
    except (errors.CopierError, ValueError) as error:
        raise Refused(f"Copier says: {error}") from None
    except Exception as error:
        raise Refused(
            f"Copier cannot render the template: {type(error).__name__}: {error}. Tell its"
            " maintainers"
        ) from None


def render(
    args: argparse.Namespace, answers: dict, repository: Path, scratch: Path
) -> Template | None:
    """Let Copier render both versions with the project's answers; None if there is no newer one."""
    import copier

    try:
        was = find(repository, answers["_commit"])
    except Refused as error:
        raise Refused(
            f"this project was made from {answers['_commit']}, and {error}. If the template was"
            f" moved, put the release nearest to it into _commit in {args.answers_file} and commit"
        ) from None
    # Copier killed while it makes a worktree leaves a cache of which it can fetch nothing any more.
    os.environ["COPIER_CACHE_DIR"] = str(scratch / "cache")
    rendered = []
    for folder, version, data in (
        (scratch / "old", was, {}),
        (scratch / "new", args.to and find(repository, args.to), args.data),
    ):
        folder = folder / Path.cwd().name  # which may be the default of an answer
        (folder / args.answers_file).parent.mkdir(parents=True)
        shutil.copy(args.answers_file, folder / args.answers_file)
        with rendering():
            rendered.append(
                copier.run_recopy(
                    folder,
                    data,
                    answers_file=args.answers_file,
                    vcs_ref=version,
                    defaults=True,
                    skip_answered=True,
                    overwrite=True,
                    quiet=True,
                )
            )
    old, new = (worker.template for worker in rendered)
    if old.version and new.version and old.version > new.version:
        if not (args.to or args.data):
            return None
        if not args.to:
            raise Refused(f"this project is at {old.commit}, above all releases: add `--to HEAD`")
        raise Refused(
            f"{new.commit} is older than {old.commit}, which this project has, and there is no way"
            " back but git's: `git log --oneline -- .copier-answers.yml` shows the updates"
        )
    match = rendered[1].match_skip
    page = url_of(answers["_src_path"]).removesuffix(".git")
    return Template(
        tree(scratch / "old" / Path.cwd().name),
        tree(scratch / "new" / Path.cwd().name),
        old.commit or was,
        new.commit or "HEAD",
        f"{page}/blob/{new.commit}/CHANGELOG.md" if page.startswith("https://github.com/") else "",
        lambda name: match(Path(name)),
    )


def check_answers(args: argparse.Namespace, answers: dict, template: Template) -> None:
    """Refuse where a version does not take an answer and would put its default in the place."""
    import yaml

    def given(rendered: dict[str, Entry]) -> dict:
        if args.answers_file not in rendered:
            raise Refused(f"the template does not write {args.answers_file}: tell its maintainers")
        return yaml.safe_load(rendered[args.answers_file].data)

    new = given(template.new)
    for key in args.data:
        if key not in new:
            names = ", ".join(name for name in new if not name.startswith("_"))
            raise Refused(f"the template asks for no {key}: it asks for {names}")
    for version, took in ((template.old_version, given(template.old)), (None, new)):
        for key in answers.keys() & took.keys() - {"_commit", "_src_path"}:
            if took[key] == answers[key] or (version is None and key in args.data):
                continue
            if version:
                raise Refused(
                    f"{args.answers_file} says {key}: {answers[key]}, which {version} does not"
                    " take, so it was edited by hand: put back what it was"
                )
            raise Refused(
                f"{template.new_version} does not take your answer {key}: {answers[key]} any more"
                f" (its default is {took[key]}): give one with `{AGAIN} -- --data {key}=...`"
            )


# Merging.


def unix(entry: Entry | None) -> Entry | None:
    """The same with plain newlines, where all of them are Windows'."""
    data = entry.data if entry else b""
    if b"\0" in data or b"\r\r\n" in data or not 0 < data.count(b"\r\n") == data.count(b"\n"):
        return entry
    return Entry(entry.mode, data.replace(b"\r\n", b"\n"))


def crlf(text: bytes) -> bytes:
    return re.sub(rb"\r?\n", b"\r\n", text)


def merge_text(
    base: bytes, yours: bytes, theirs: bytes, labels: tuple[str, str]
) -> tuple[bytes, bool] | None:
    """The merged bytes and whether they are clean; None for what git takes for binary."""
    with tempfile.TemporaryDirectory() as scratch:
        names = [Path(scratch, name) for name in ("yours", "base", "theirs")]
        for path, data in zip(names, (yours, base, theirs)):  # noqa: B905  (Python 3.9)
            path.write_bytes(data)
        command = ["git", "merge-file", "--stdout", "-L", "yours", "-L", labels[0], "-L", labels[1]]
        done = subprocess.run([*command, *names], capture_output=True)
    if done.returncode > 127:
        return None
    return done.stdout, done.returncode == 0


def merge_notebook(base: bytes, yours: bytes, theirs: bytes) -> tuple[bytes, bool] | None:
    """The same cell by cell, with nbdime; None if that does not work out."""
    try:
        python = environment(NBDIME)
    except Refused as error:
        print(f"update: {error}; notebooks are merged as text", file=sys.stderr)
        return None
    with tempfile.TemporaryDirectory() as scratch:
        names = [Path(scratch, f"{name}.ipynb") for name in ("base", "yours", "theirs")]
        for path, data in zip(names, (base, yours, theirs)):  # noqa: B905
            path.write_bytes(data)
        out = Path(scratch, "merged.ipynb")
        command = [python, "-m", "nbdime.nbmergeapp", *names, "--out", out]
        done = subprocess.run(command, capture_output=True)
        return (out.read_bytes(), done.returncode == 0) if out.exists() else None


def written(notebook: bytes) -> set[str]:
    """The lines of a notebook's code, text and outputs."""

    def lines(node: object) -> set[str]:
        if isinstance(node, list) and all(isinstance(part, str) for part in node):
            node = "".join(node)
        if isinstance(node, str):
            return set(node.splitlines())
        parts = node.values() if isinstance(node, dict) else node
        return set().union(*map(lines, parts)) if isinstance(node, (dict, list)) else set()

    cells = json.loads(notebook)["cells"]
    return lines([part for cell in cells for part in (cell["source"], cell.get("outputs"))])


def drops(merged: bytes, base: bytes, yours: bytes) -> bool:
    """Whether a merged notebook lacks something of yours: nbdime may let a cell's outputs go."""
    try:
        return not written(yours) - written(base) <= written(merged)
    except (ValueError, KeyError, TypeError):
        return True


def is_json(data: bytes) -> bool:
    try:
        json.loads(data)
    except ValueError:
        return False
    return True


PIN = re.compile(rb"(?<![\w.-])([\w.-]+)==([^\s,\]]+)")


def same_pins(text: bytes, base: bytes, theirs: bytes) -> bytes:
    """A text with the pins that the template has moved where they are now: they are no edit."""
    old = dict(PIN.findall(base))
    new = {name: pin for name, pin in PIN.findall(theirs) if old.get(name) not in (None, pin)}
    return PIN.sub(lambda hit: b"%s==%s" % (hit[1], new.get(hit[1], hit[2])), text)


def settle(
    name: str,
    base: Entry | None,
    ours: Entry | None,
    theirs: Entry | None,
    labels: tuple[str, str],
) -> Change | None:
    """What becomes of a managed file; None if it is to stay as it is, without a word."""
    if theirs == base or ours == theirs:
        return None
    if ours == base:
        what = "updated" if ours and theirs else "added" if theirs else "deleted"
        return Change(name, what, theirs)
    if ours is None:
        return Change(name, "kept", None, "it is not there, so it stays away")
    stages, plain, why = (base, ours, theirs), unix(ours), ""
    windows = plain != ours
    base, theirs = (unix(base), unix(theirs)) if windows else (base, theirs)
    if theirs is None:
        if plain == base:  # but for its newlines
            return Change(name, "deleted", None)
        return Change(name, "kept", ours, "yours; the template has it no longer")
    if name == HOOKS and base:
        old, new = (same_pins(one.data, base.data, theirs.data) for one in (base, plain))
        pins = dict(PIN.findall(base.data))
        if any(pins.get(pin, version) != version for pin, version in PIN.findall(plain.data)):
            why = PINS if new != plain.data else ""
        base, plain = Entry(base.mode, old), Entry(plain.mode, new)
    merged = None
    if not any(one and one.mode == LINK for one in stages):
        data = base.data if base else b""
        if plain.data == theirs.data or (base and base.data == theirs.data):
            merged = plain.data, True  # only the modes differ
        elif base and plain.data == data:
            merged = theirs.data, True
        else:
            merged = merge_text(data, plain.data, theirs.data, labels)
        torn = merged and name.endswith(".ipynb") and not (merged[1] and is_json(merged[0]))
        if torn and (cells := merge_notebook(data, plain.data, theirs.data)):
            lost = drops(cells[0], data, plain.data)
            merged, why = (None, "") if lost else (cells, BY_CELLS)
    if merged is None:
        why = f"cannot be merged; yours stays, `git checkout --theirs -- {shlex.quote(name)}` takes"
        return Change(name, "conflict", ours, f"{why} the template's", stages)
    text, clean = merged
    mode = theirs.mode if base and ours.mode == base.mode else ours.mode
    after = Entry(mode, crlf(text) if windows else text)
    if not clean:
        return Change(name, "conflict", after, why, stages)
    what = "updated" if plain.data == (base and base.data) else "merged"
    return None if after == ours else Change(name, what, after, why)


def plan(template: Template, answers_file: str) -> list[Change]:
    """What the update does to every path that the template has, or had."""
    labels = tuple(f"template {v}" for v in (template.old_version, template.new_version))
    changes = []
    for name in sorted({*template.old, *template.new}):
        base, theirs, ours = template.old.get(name), template.new.get(name), yours(name)
        change, extra = None, []
        if template.seeded(name):
            if not base and not ours and theirs:
                change = Change(name, "added", theirs)
            elif base and theirs and base != theirs and ours and name not in LOCKS:
                why = "yours from the start; the template starts with another one now"
                change = Change(name, "kept", ours, why)
        else:
            change = settle(name, base, ours, theirs, labels)
        if change and name == answers_file and change.what in ("conflict", "kept"):
            where, extra = backup(name)
            change = Change(name, "updated", theirs, where)
        elif change and change.what == "conflict" and name not in tracked():
            why = "yours is not in git; the template has such a file too"
            change = Change(name, "blocked", None, why)
        elif change and change.what != "conflict" and change.why in (BY_CELLS, PINS):
            where, extra = backup(name)
            change = change._replace(why=f"{change.why}; {where}")
        changes += [change, *extra] if change else []
    going = {change.name for change in changes if change.what == "deleted"}
    for n, change in enumerate(changes):
        if change.after and change.what != "kept" and (obstacle := in_the_way(change.name, going)):
            changes[n] = Change(change.name, "blocked", None, f"{obstacle} is in the way")
    return changes


def in_the_way(name: str, going: set[str]) -> str | None:
    """What of yours takes the place where a file is to be put."""
    for parent in [path.as_posix() for path in Path(name).parents][-2::-1]:
        if os.path.islink(parent) or (os.path.exists(parent) and not os.path.isdir(parent)):
            return None if parent in going else parent
        if os.path.lexists(f"{parent}/.git"):
            return parent  # a repository of its own
    if os.path.isdir(name) and not os.path.islink(name):
        for root, folders, files in os.walk(name):
            links = [one for one in folders if os.path.islink(os.path.join(root, one))]
            for one in files + links:
                if (path := Path(root, one).as_posix()) not in going:
                    return path
    return None


def backup(name: str) -> tuple[str, list[Change]]:
    """Where your version of a file is found after the update, and what makes it so."""
    ours = yours(name)
    if ours is None:
        return "", []
    done = subprocess.run(["git", "cat-file", "blob", f"HEAD:./{name}"], capture_output=True)
    if done.returncode == 0 and unix(Entry("", done.stdout)) == unix(Entry("", ours.data)):
        return f"yours: git show {head()[:12]}:{shlex.quote(prefix() + name)}", []
    free = next(
        one for one in (f"{name}.orig{n or ''}" for n in range(1000)) if not os.path.lexists(one)
    )
    return f"yours: {free}", [Change(free, "added", ours, f"your {name} before the update")]


# The locks.


def blocks(lock: bytes) -> dict[str, str]:
    """The requirements of a lock by package, each with its hash lines."""
    found: dict[str, str] = {}
    text = lock.decode("utf-8", "replace").replace("\r\n", "\n")
    for block in re.findall(r"^[^#\s].*\n(?:[ \t]+.*\n)*", text, re.MULTILINE):
        name = re.split(r"[=\[;\s]", block)[0]
        found[name] = found.get(name, "") + block
    return found


def ranges(pyproject: bytes) -> object:
    """What the locks are made from; raises ValueError for what is no TOML."""
    import tomllib

    settings = tomllib.loads(pyproject.decode())
    project = settings.get("project", {})
    if not isinstance(project, dict):
        raise ValueError("[project] is no table")
    keys = ("requires-python", "dependencies", "optional-dependencies")
    uv = settings.get("tool", {}).get("uv")
    return [project.get(key) for key in keys], settings.get("dependency-groups"), uv


def forward_locks(template: Template, changes: list[Change]) -> tuple[list[Change], str]:
    """The changes with the locks brought forward, and what is left to do.

    The template's pins win, for they were tested together; packages of yours keep theirs.
    """
    old, new = template.old, template.new
    here = {name: entry for name in LOCKS if (entry := yours(name)) and name in new}
    here = {name: entry for name, entry in here.items() if entry.mode != LINK}
    if not here or all(new[name] == old.get(name) for name in here):
        return changes, ""
    after = {change.name: change for change in changes}

    def result(name: str) -> bytes:
        entry = after[name].after if name in after else yours(name)
        return entry.data if entry else b""

    todo = ""
    try:
        wish = ranges(result("pyproject.toml"))
    except ValueError:
        wish, todo = None, "resolve pyproject.toml, then `nox -s lock`"
    if "pyproject.toml" in new and wish == ranges(new["pyproject.toml"].data):
        locks = {name: new[name].data for name in here}
    else:
        locks = {}
        for name, entry in here.items():
            theirs, before = blocks(new[name].data), blocks(old[name].data if name in old else b"")
            ours = blocks(unix(entry).data)
            added = {key: ours[key] for key in ours.keys() - theirs.keys() - before.keys()}
            top = re.match(r"(?:#.*\n)*", new[name].data.decode())[0]
            locks[name] = top + "".join(text for _, text in sorted({**theirs, **added}.items()))
            locks[name] = locks[name].encode()
        if not todo:
            made, todo = lock_again(locks, new, result)
            locks |= {name: made[name] for name in here if made}
            was = after.get(HOOKS) or Change(HOOKS, "updated", yours(HOOKS))
            if made and made[HOOKS] != result(HOOKS) and was.what != "conflict":
                after[HOOKS] = was._replace(after=Entry(was.after.mode, made[HOOKS]))
    for name, data in locks.items():
        mine = unix(here[name])
        if data == mine.data:
            continue
        why, extra = ("", []) if mine == old.get(name) else backup(name)
        data = data if mine == here[name] else crlf(data)
        after[name] = Change(name, "updated", Entry(mine.mode, data), why)
        after.update({change.name: change for change in extra})
    return list(after.values()), todo


def lock_again(
    seeds: dict[str, bytes], new: dict[str, Entry], result: Callable[[str], bytes]
) -> tuple[dict[str, bytes], str]:
    """The locks for your ranges, made by the project's own tools/lock.py from these pins."""
    later = "the locks hold the template's pins and yours; finish them with `nox -s lock`"
    tool = yours("tools/lock.py")
    if tool is None or tool != new.get("tools/lock.py"):
        return {}, later  # the template's new code does not run before you have seen it
    if not os.environ.get("UV"):
        return {}, f"uv is missing; {later}"
    with tempfile.TemporaryDirectory() as scratch:
        for name, data in {
            **seeds,
            "pyproject.toml": result("pyproject.toml"),
            HOOKS: result(HOOKS),
        }.items():
            Path(scratch, name).parent.mkdir(exist_ok=True)
            Path(scratch, name).write_bytes(data)
        command = [sys.executable, "tools/lock.py", scratch]
        if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
            return {}, f"uv could not resolve your ranges (see above); {later}"
        return {name: Path(scratch, name).read_bytes() for name in (*seeds, HOOKS)}, ""


# Doing it, and taking it back.


def read_journal() -> dict | None:
    try:
        return json.loads((journal() / "state.json").read_text("utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:  # cut off, with the power
        return {"head": "", "done": False, "files": []}


def is_as(info: dict, side: str) -> bool:
    """Whether a path is as it was before the update, or as the update made it."""
    entry = now(info["name"])
    return info.get(side) == (entry and [entry.mode, digest(entry.data)])


def aside() -> Path:
    """A new folder in .git for what nothing else holds."""
    return Path(tempfile.mkdtemp(prefix=f"{JOURNAL}-aside-", dir=journal().parent))


def write_journal(changes: list[Change]) -> dict:
    """Lay both versions of every file beside each other, so that nothing can be lost from here."""
    if (old := read_journal()) and not old["done"]:
        journal().rename(aside() / "journal")
    shutil.rmtree(journal(), ignore_errors=True)
    fresh = journal().with_name(f"{journal().name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    files = []
    for n, change in enumerate(changes):
        info = {"name": change.name}
        for side, entry in (("before", now(change.name)), ("after", change.after)):
            if side == "before" and entry != yours(change.name):
                raise Refused(f"{change.name} changed while the update worked: {AGAIN} again")
            if not entry:
                continue
            info[side] = [entry.mode, digest(entry.data)]
            path = fresh / side / str(n)
            path.parent.mkdir(parents=True, exist_ok=True)
            if entry.mode == LINK:
                os.symlink(os.fsdecode(entry.data), path)
                continue
            path.write_bytes(entry.data)
            if yours(change.name) and not os.path.islink(change.name):
                shutil.copymode(change.name, path)
            if side == "after" and keeps_modes():
                mode = path.stat().st_mode & ~0o111
                path.chmod(mode | (mode & 0o444) >> 2 if entry.mode == "100755" else mode)
        files.append(info)
    state = {"head": head(), "done": False, "files": files}
    fresh.mkdir(exist_ok=True)
    (fresh / "state.json").write_text(json.dumps(state), "utf-8")
    fresh.rename(journal())
    return state


def check_places(changes: list[Change]) -> None:
    """Refuse what the file system would refuse in the middle."""
    for change in changes:
        path = Path(change.name)
        if path.is_file() and not path.is_symlink() and not path.stat().st_mode & 0o200:
            raise Refused(f"{path} is read-only: `chmod u+w {shlex.quote(change.name)}`")
        parent = next(folder for folder in path.parents if folder.is_dir())
        if not os.access(parent, os.W_OK):
            raise Refused(f"the folder {parent.absolute()} is read-only: change its permissions")


def move(source: Path, name: str) -> None:
    """Put a file of the journal in its place: in one step, and without room on the disk."""
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():  # and empty, but for empty folders
        for root, _, _ in os.walk(path, topdown=False):
            os.rmdir(root)
    try:
        os.replace(source, path)
    except OSError as error:
        if error.errno != errno.EXDEV:  # .git is on another disk
            raise
        beside = path.with_name(f".{path.name}.{os.getpid()}~")
        shutil.copy2(source, beside, follow_symlinks=False)
        os.replace(beside, path)


def remove(name: str) -> None:
    """Delete a file, and the folders that this leaves empty."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        os.unlink(name)
    for folder in list(Path(name).parents)[:-1]:
        try:
            folder.rmdir()
        except OSError:
            return


def stage(changes: list[Change]) -> None:
    """Add what is clean to git's index, and conflicts as git's own, all in one step."""
    own = journal() / "index"
    shutil.copyfile(in_git_folder("index"), own)
    clean, lines, top = [], [], os.fsencode(prefix())
    for change in changes:
        name = top + os.fsencode(change.name)
        if change.what != "conflict" and change.after:
            clean.append(f"./{change.name}")  # or git takes :x.yml for magic
            continue
        lines.append(b"0 %s\t%s" % (b"0" * 40, name))  # deleted
        for number, entry in enumerate(change.stages, 1):
            if entry:
                blob = git("hash-object", "-w", "--stdin", "--no-filters", data=entry.data).strip()
                lines.append(b"%s %s %d\t%s" % (entry.mode.encode(), blob, number, name))
    ours = {"GIT_INDEX_FILE": str(own)}
    if lines:
        git("update-index", "-z", "--index-info", data=b"\0".join(lines) + b"\0", **ours)
    ignored = git("check-ignore", "-z", "--stdin", data=joined(clean), ok=(0, 1), **ours)
    ignored = set(map(os.fsdecode, ignored.split(b"\0")))
    if clean := [name for name in clean if name not in ignored]:
        listed = ["--pathspec-from-file=-", "--pathspec-file-nul"]
        ours["GIT_LITERAL_PATHSPECS"] = "1"
        add = (
            "-c",
            "core.safecrlf=false",
            "add",
            "--all",
            "--force",
        )  # tracked, in ignored folders
        git(*add, *listed, data=joined(clean), **ours)
    own.replace(in_git_folder("index"))


def joined(names: list[str]) -> bytes:
    return b"\0".join(os.fsencode(name) for name in names)


def apply(changes: list[Change]) -> None:
    """Do what was planned; on any failure, all is as it was."""
    changes = sorted(changes, key=lambda change: change.after is not None)  # deletions first
    check_places(changes)
    check_state()  # again: an editor may have saved something meanwhile
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # for the moment that the rest takes
    try:
        state = write_journal(changes)
    except OSError as error:
        shutil.rmtree(journal().with_name(f"{journal().name}.new"), ignore_errors=True)
        raise Refused(f"{error}; nothing was changed. Make room, then {AGAIN} again") from None
    try:
        for n, change in enumerate(changes):
            if change.after:
                move(journal() / "after" / str(n), change.name)
            else:
                remove(change.name)
        stage(changes)
        fresh = journal() / "state.json.new"
        fresh.write_text(json.dumps({**state, "done": True}), "utf-8")
        fresh.replace(journal() / "state.json")
    except BaseException as error:
        try:
            restore(state)
        except OSError as worse:
            raise Refused(f"{error}; the way back met {worse}. Then: {abort_line()}") from None
        if isinstance(error, OSError):
            raise Refused(f"{error}; all is as it was before") from None
        raise


def restore(state: dict) -> list[str]:
    """Bring back every file; return what there is to know about work done since the update."""
    notes, spare = [], functools.cache(aside)

    def save(source: Path, name: str, why: str) -> None:
        (spare() / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, spare() / name)
        notes.append(f"{why} {spare() / name}")

    for n, info in reversed(list(enumerate(state["files"]))):
        name, before = info["name"], journal() / "before" / str(n)
        if any(path.is_symlink() or path.is_file() for path in Path(name).parents):
            if os.path.lexists(before):
                save(before, name, f"{name} cannot go back to its place, and is in")
            continue
        if is_as(info, "before"):
            if "before" not in info:
                remove(name)  # it is away; its folders may be there
            continue
        if os.path.isdir(name) and not os.path.islink(name):
            if os.path.lexists(before):
                save(Path(name), name, "this folder is new since the update, and is in")
        elif os.path.lexists(name) and not is_as(info, "after"):
            save(Path(name), name, "edited since the update: that text is in")
        if os.path.lexists(before):
            move(before, name)
        else:
            remove(name)
    names = {info["name"] for info in state["files"]}
    tracked.cache_clear()
    in_head = git("ls-tree", "-r", "-z", "--name-only", "HEAD").split(b"\0")
    if known := names & {*tracked(), *map(os.fsdecode, in_head)}:
        listed = ["--pathspec-from-file=-", "--pathspec-file-nul"]
        git("reset", "--quiet", *listed, data=joined(sorted(known)), GIT_LITERAL_PATHSPECS="1")
    shutil.rmtree(journal())
    return notes


def abort() -> int:
    """Take the last update back, whether it was stopped in the middle or is complete."""
    state = read_journal()
    if state is None:
        raise Refused("there is no update to take back")
    if state["head"] != head():
        raise Refused(
            "there is a commit since the update. If that is the update, `git revert HEAD` takes it"
            f" back; what was before it is also in {journal() / 'before'}"
        )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # for the moment that it takes
    for note in restore(state):
        print(note)
    print("The update is taken back: all is as it was before.")
    return 0


# What people see.


WORDS = ("updated", "added", "deleted", "merged", "kept", "blocked", "conflict")


def report(template: Template, changes: list[Change], todo: str) -> int:
    """Say what was done, and what is left to do; return the exit code."""
    groups: dict[str, list] = {what: [] for what in WORDS}
    for change in changes:
        groups[change.what].append(change)
    text = [f"From {template.old_version} to {template.new_version} of the template:", ""]
    words = {"conflict": "in conflict"}
    for what, found in groups.items():
        for change in found:
            text.append(f"  {what:9} {change.name}" + (f"  ({change.why})" if change.why else ""))
    done = [f"{len(found)} {words.get(what, what)}" for what, found in groups.items() if found]
    text += ["", f"Files: {', '.join(done)}. Next:"]
    if groups["conflict"]:
        text += ["  git diff                   # the conflicts, `yours` against the template's"]
        text += ["  git add FILE               # each one, when you have edited it"]
    if groups["blocked"]:
        text += ["  to get what is blocked too: take this back, move yours away, commit, again"]
    text += [f"  {todo}"] if todo else []
    text += ["  git diff --cached          # what the update changed"]
    text += ["  nox -s setup && nox -s tests", '  git commit -m "Update from the template"']
    text += [f"  {AGAIN} -- --abort  # instead, to take it all back"]
    if template.news:
        text += ["", f"What is new, and what to mind: {template.news}"]
    try:
        print(*text, sep="\n", flush=True)
    except OSError:  # nobody reads it; the update is done all the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 2 if groups["conflict"] or groups["blocked"] or todo else 0


def check(args: argparse.Namespace, answers: dict) -> int:
    """Say whether there is a newer version."""
    command = [sys.executable, "-m", "copier", "check-update", "--output-format=json"]
    command += [f"--answers-file={args.answers_file}"]
    with tempfile.TemporaryDirectory(prefix="update-") as scratch:
        env = {**os.environ, "COPIER_CACHE_DIR": scratch}  # see render
        done = subprocess.run(command, capture_output=True, text=True, env=env)
    if done.returncode:
        raise Refused(f"Copier says: {done.stderr.strip()}")
    found = json.loads(done.stdout)
    if not found["update_available"]:
        print(f"The template has nothing newer than {answers['_commit']}.")
        return 0
    print(f"The template is at v{found['latest_version']}, this project at {answers['_commit']}.")
    print(f"`{AGAIN}` merges what is new.")
    return 2


def update(args: argparse.Namespace, answers: dict, repository: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="update-") as scratch:
        template = render(args, answers, repository, Path(scratch))
    if template is None:
        print(f"The template has nothing newer than {answers['_commit']}.")
        return 0
    check_answers(args, answers, template)
    changes = plan(template, args.answers_file)
    changes, todo = forward_locks(template, changes)
    if all(change.what == "kept" for change in changes):
        print(f"Nothing to update: this project is at {template.new_version}.")
        return 0
    apply([change for change in changes if change.what not in ("kept", "blocked")])
    return report(template, changes, todo)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=AGAIN + " --", description=__doc__.splitlines()[0])
    parser.error = lambda message: sys.exit(f"update: {message}; see `{AGAIN} -- --help`")
    parser.add_argument("--check", action="store_true", help="only say if there is a newer version")
    parser.add_argument("--to", metavar="VERSION", help="instead of the newest release")
    parser.add_argument(
        "--data", action="append", default=[], metavar="KEY=VALUE", help="an answer"
    )
    parser.add_argument("--answers-file", default=".copier-answers.yml", metavar="FILE")
    parser.add_argument("--abort", action="store_true", help="take the last update back")
    args = parser.parse_args(arguments)
    for pair in args.data:
        if "=" not in pair:
            parser.error(f"--data takes KEY=VALUE, not {pair}")
    args.data = dict(pair.split("=", 1) for pair in args.data)
    return args


def main() -> int:
    args = parse(sys.argv[1:])
    if not shutil.which("git"):
        raise Refused("git is missing: install it")
    # A git hook that calls this has set git to its own repository, index and so on.
    for name in (asks("rev-parse", "--local-env-vars") or "").split():
        if not name.startswith("GIT_CONFIG"):
            os.environ.pop(name, None)
    check_repository()
    if not Path(args.answers_file).is_file():
        raise Refused(
            f"there is no {args.answers_file} here: go to the top of a project that was made from"
            " the template"
        )
    lock = None if args.check else alone()  # noqa: F841  (held until this process ends)
    if args.abort:
        return abort()
    if not args.check:
        check_state()
    if uv := find_uv():
        os.environ["UV"] = uv
    if Path(sys.prefix).parent.resolve() != cache().resolve():
        command = [str(environment(COPIER)), os.path.abspath(__file__), *sys.argv[1:]]
        if os.name == "nt":
            return subprocess.run(command).returncode
        os.execv(command[0], command)
    answers = read_answers(args.answers_file)
    repository, lead = mirror(answers["_src_path"])
    os.environ.update(lead)  # before Copier is imported: it keeps what it finds then
    return check(args, answers) if args.check else update(args, answers, repository)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("update: stopped; nothing was changed."))
    sys.stdout.reconfigure(errors="backslashreplace")  # for a name that is not UTF-8
    try:
        sys.exit(main())
    except Refused as error:
        sys.exit(f"update: {error}.")
    except ModuleNotFoundError as error:
        sys.exit(f"update: {error}: this tool's environment is damaged, delete {sys.prefix}.")
    except OSError as error:
        sys.exit(f"update: {error}.")
    except KeyboardInterrupt:
        sys.exit("update: stopped; nothing was changed.")
