# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The template: its copy in the cache, and what Copier renders from it for this project."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .files import Entry, Refused, tree
from .mirror import find, public, url_of
from .repository import AGAIN, asks, git, split

RENAMES = "renames.txt"  # at the top of the template's repository
EMPTY = b"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # git's id of an empty file


class Template(NamedTuple):
    """The template as this project got it last (old) and as it is now (new)."""

    old: dict[str, Entry]
    new: dict[str, Entry]
    old_version: str
    new_version: str
    old_answers: dict
    new_answers: dict
    renames: str  # the text of RENAMES
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
        raise Refused(f"{error} Run the newest updater: `{AGAIN} -- --newest-updater`") from None
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
    answers_file: str, data: dict, to: str | None, repository: Path, scratch: Path
) -> Template | None:
    """Let Copier render both versions with the project's answers; None if there is no newer one."""
    import copier

    answers = read_answers(answers_file)
    try:
        was = find(repository, answers["_commit"])
    except Refused as error:
        raise Refused(
            f"this project was made from {answers['_commit']}, and {error}. If the template was"
            f" moved, put the release nearest to it into _commit in {answers_file} and commit"
        ) from None
    # What one person's settings trust or answer has no place in what a team's project becomes.
    (scratch / "settings.yml").write_text("{}\n")
    os.environ["COPIER_SETTINGS_PATH"] = str(scratch / "settings.yml")
    # Copier killed while it makes a worktree leaves a cache of which it can fetch nothing any more.
    os.environ["COPIER_CACHE_DIR"] = str(scratch / "cache")
    workers, trees = [], []
    for side, version, given in (("old", was, {}), ("new", to and find(repository, to), data)):
        folder = scratch / side / Path.cwd().name  # which may be the default of an answer
        (folder / answers_file).parent.mkdir(parents=True)
        shutil.copy(answers_file, folder / answers_file)
        with rendering():
            worker = copier.run_recopy(
                folder,
                given,
                answers_file=answers_file,
                vcs_ref=version,
                defaults=True,
                skip_answered=True,
                overwrite=True,
                quiet=True,
            )
        workers.append(worker)
        trees.append(tree(folder))
    old, new = (worker.template for worker in workers)
    if old.version and new.version and old.version > new.version:
        if not (to or data):
            return None
        if not to:
            raise Refused(f"this project is at {old.commit}, above all releases: add `--to HEAD`")
        raise Refused(
            f"{new.commit} is older than {old.commit}, which this project has, and there is no way"
            " back but git's: `git log --oneline -- .copier-answers.yml` shows the updates"
        )
    if asks(f"--git-dir={repository}", "cat-file", "-e", f"{new.commit_hash}^{{commit}}") is None:
        raise Refused(
            f"the template in {answers['_src_path']} has changes that are not committed, so that"
            " _commit could not name them: commit them there"
        )
    for files in trees:
        check_names(files)
    match = workers[1].match_skip
    page = public(url_of(answers["_src_path"])).removesuffix(".git")
    template = Template(
        *trees,
        old.commit or was,
        new.commit or "HEAD",
        *(stored(answers_file, files) for files in trees),
        asks(f"--git-dir={repository}", "show", f"{new.commit_hash}:{RENAMES}") or "",
        f"{page}/blob/{new.commit}/CHANGELOG.md" if page.startswith("https://github.com/") else "",
        lambda name: match(Path(name)),
    )
    check_answers(answers_file, answers, data, template)
    return template


def check_names(files: dict[str, Entry]) -> None:
    """Refuse names that git refuses, such as .git/hooks: code there would run before you see it."""
    lines = [b"100644 %s\t%s" % (EMPTY, os.fsencode(name)) for name in files]
    strict = ("-c", "core.protectHFS=true", "-c", "core.protectNTFS=true")
    with tempfile.TemporaryDirectory() as scratch:
        git("init", "--quiet", "--bare", "--object-format=sha1", f"{scratch}/git")
        env = {"GIT_DIR": f"{scratch}/git", "GIT_INDEX_FILE": f"{scratch}/index"}
        data = b"\0".join([*lines, b""])
        git(*strict, "update-index", "-z", "--index-info", data=data, **env)  # leaves them out
        taken = {*split(git("ls-files", "-z", **env))}
    if refused := sorted(files.keys() - taken):
        raise Refused(
            f"the template has a file that git would not take, {refused[0]!a}. A file in .git"
            " could run code before you have seen it: tell the template's maintainers"
        )


def stored(answers_file: str, rendered: dict[str, Entry]) -> dict:
    """The answers that a rendered project keeps."""
    import yaml

    if answers_file not in rendered:
        raise Refused(f"the template does not write {answers_file}: tell its maintainers")
    return yaml.safe_load(rendered[answers_file].data)


def check_answers(answers_file: str, answers: dict, data: dict, template: Template) -> None:
    """Refuse where a version does not take an answer and would put its default in the place."""
    new = template.new_answers
    for key in data:
        if key not in new:
            names = ", ".join(name for name in new if not name.startswith("_"))
            raise Refused(f"the template asks for no {key}: it asks for {names}")
    for version, took in ((template.old_version, template.old_answers), (None, new)):
        for key in answers.keys() & took.keys() - {"_commit", "_src_path"}:
            if took[key] == answers[key] or (version is None and key in data):
                continue
            if version:
                raise Refused(
                    f"{answers_file} says {key}: {answers[key]}, which {version} does not"
                    " take, so it was edited by hand: put back what it was"
                )
            raise Refused(
                f"{template.new_version} does not take your answer {key}: {answers[key]} any more"
                f" (its default is {took[key]}): give one with `{AGAIN} -- --data {key}=...`"
            )
