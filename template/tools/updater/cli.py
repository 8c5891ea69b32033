# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Update this project from its template and keep your work: `nox -s update`.

Copier renders the template twice, as this project got it last and as it is now. Git merges each
file: your changes and the template's. Exit code: 0 done, 1 refused, 2 something is left to you.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from . import checks, repository
from .environment import COPIER, cache, environment, find_uv
from .files import Entry, Refused, read
from .index import clear_lock
from .journal import abort, apply, aside, read_journal
from .merge import WORDS, Change
from .mirror import mirror, public
from .plan import in_history, plan, with_locks
from .repository import ABORT, AGAIN, asks, git, split, yours
from .template import Template, read_answers, render

TOOLS = Path(__file__).parents[1]


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"{AGAIN} --", description=__doc__.splitlines()[0])
    parser.error = lambda message: sys.exit(f"update: {message}; see `{AGAIN} -- --help`")
    parser.add_argument("--check", action="store_true", help="only say if there is a newer version")
    parser.add_argument("--to", metavar="VERSION", help="update to this version, not the newest")
    helped = "change an answer, as in package_name=cats; may be repeated"
    parser.add_argument("--data", action="append", default=[], metavar="KEY=VALUE", help=helped)
    where = ".copier-answers.yml"
    parser.add_argument("--answers-file", default=where, metavar="FILE", help=f"if not {where}")
    parser.add_argument("--abort", action="store_true", help="take the last update back")
    parser.add_argument(
        "--newest-updater", action="store_true", help="use the updater of the newest release"
    )
    args = parser.parse_args(arguments)
    for pair in args.data:
        if "=" not in pair:
            parser.error(f"--data takes KEY=VALUE, not {pair}")
    args.data = dict(pair.split("=", 1) for pair in args.data)
    args.answers_file = os.path.relpath(args.answers_file)
    if args.answers_file.startswith(".."):
        parser.error("--answers-file takes a file of this project")
    return args


def check(args: argparse.Namespace, answers: dict) -> int:
    """Say whether there is a newer version."""
    command = [sys.executable, "-I", "-m", "copier", "check-update", "--output-format=json"]
    command += [f"--answers-file={args.answers_file}"]
    with tempfile.TemporaryDirectory(prefix="update-") as scratch:
        env = {**os.environ, "COPIER_CACHE_DIR": scratch}  # see template.render
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


def update(args: argparse.Namespace, answers: dict, template_repository: Path) -> int:
    with tempfile.TemporaryDirectory(prefix="update-") as scratch:
        tempfile.tempdir = scratch  # where Copier leaves clones
        there = (args.to, template_repository, Path(scratch))
        template = render(args.answers_file, args.data, *there)
    tempfile.tempdir = None
    if template is None:
        print(f"The template has nothing newer than {answers['_commit']}.")
        return 0
    changes, todo = with_locks(template, plan(template, args.answers_file))
    active = [change for change in changes if change.what not in ("kept", "blocked")]
    if not active and not any(change.what == "blocked" for change in changes):
        print(f"Nothing to update: this project is at {template.new_version}.")
        return 0
    concerned = [change for change in changes if change.what != "kept" or not change.after]
    checks.check_hidden({name for one in concerned for name in (one.name, one.source)})
    backups = {one.name: keep(one.source or one.name) for one in changes if one.backup}
    ignored = apply(active, args.answers_file)
    return report(template, changes, ignored, backups, todo)


def run_newest(template_repository: Path, arguments: list[str]) -> int:
    """Run the updater of the newest release, which is code that this project does not have yet."""
    has = f"--git-dir={template_repository}"
    tags = (asks(has, "tag", "--sort=-version:refname") or "").split()
    tags = [tag for tag in tags if re.fullmatch(r"v?\d+(\.\d+)*", tag)]
    archive = git(has, "archive", tags[0] if tags else "HEAD", "template/tools")
    with tempfile.TemporaryDirectory(prefix="updater-") as scratch:
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(scratch, filter="data")
        tool = str(Path(scratch, "template", "tools", "update.py"))
        rest = [one for one in arguments if one != "--newest-updater"]
        return subprocess.run([sys.executable, "-I", "-B", tool, *rest]).returncode


# What people see.


def report(
    template: Template,
    changes: list[Change],
    ignored: list[str],
    backups: dict[str, str],
    todo: str,
) -> int:
    """Say what was done, and what is left to do; return the exit code."""
    groups: dict[str, list] = {what: [] for what in WORDS}
    for change in changes:
        groups[change.what].append(change)
    text = [f"From {template.old_version} to {template.new_version} of the template:", ""]
    for what, found in groups.items():
        for change in found:
            why = "; ".join(reasons(change, ignored, backups))
            text.append(f"  {what:9} {change.name}" + (f"  ({why})" if why else ""))
    words = {"conflict": "in conflict"}
    done = [f"{len(found)} {words.get(what, what)}" for what, found in groups.items() if found]
    text += ["", f"Files: {', '.join(done)}. Next:"]
    if groups["conflict"]:
        text += ["  git diff                   # the conflicts, `yours` against the template's"]
        text += ["  git add FILE               # each one, when you have edited it"]
    if groups["blocked"]:
        text += [f"  to get the blocked files: {ABORT}, move yours, commit, and update again"]
    if ignored:
        text += ["  git add --force FILE       # each one that git ignores, if it belongs in git"]
    # The tree was clean before, so git ignored these.
    if exposed := split(git("ls-files", "--others", "--exclude-standard", "-z")):
        text += ["  git no longer ignores these; keep what is secret out of the commit:"]
        text += [f"    {name}" for name in exposed]
    text += [f"  {todo}"] if todo else []
    text += ["  git diff --cached          # what the update changed"]
    text += ["  nox -s setup && nox -s tests", '  git commit -m "Update from the template"']
    text += [f"  {AGAIN} -- --abort  # instead, to take it all back"]
    if newer_updater(template):
        text += [
            "",
            f"{template.new_version} has a newer updater, which the next update uses. To use",
        ]
        text += [f"it now: {ABORT}, then `{AGAIN} -- --newest-updater`"]
    if template.news:
        text += ["", f"What is new, and what to do: {template.news}"]
    try:
        print(*text, sep="\n", flush=True)
    except OSError:  # nobody reads it; the update is done all the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 2 if groups["conflict"] or groups["blocked"] or todo or ignored or exposed else 0


def reasons(change: Change, ignored: list[str], backups: dict[str, str]) -> list[str]:
    """What there is to say of a change: where the file was, why, and where yours is now."""
    found = [f"was {change.source}"] if change.source else []
    found += [change.why] if change.why else []
    if change.name in ignored:
        found.append("git ignores it, so it is in no commit")
    if change.backup:
        found.append(f"yours: {backups[change.name]}")
    return found


def keep(name: str) -> str:
    """Where your version of a file is found; it is put into .git if nothing else has it."""
    if shown := in_history(name):
        return shown
    path = aside() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(yours(name).data)
    return shlex.quote(str(path))


def newer_updater(template: Template) -> bool:
    """Whether the new version brings another updater than the one that runs here."""

    def updater(files: dict[str, Entry]) -> dict[str, Entry]:
        ours = ("tools/update.py", "tools/updater/")
        return {name: entry for name, entry in files.items() if name.startswith(ours)}

    new = updater(template.new)
    here = {name: read(TOOLS, name.removeprefix("tools/")) for name in new}
    return new != updater(template.old) and new != here


def run(arguments: list[str]) -> int:
    args = parse(arguments)
    if not shutil.which("git"):
        raise Refused("git is missing: install it")
    repository.prepare()
    checks.check_repository()
    if not Path(args.answers_file).is_file():
        raise Refused(
            f"there is no {args.answers_file} here: go to the top of a project that was made from"
            " the template"
        )
    if not args.check:
        lock = repository.alone()  # held until this process ends
        clear_lock()
    if args.abort:
        return abort()
    if not args.check:
        checks.check_state(read_journal())
    if uv := find_uv():
        os.environ["UV"] = uv
    if Path(sys.prefix).parent.resolve() != cache().resolve():
        python = str(environment(COPIER))
        os.execv(python, [python, "-I", "-B", str(TOOLS / "update.py"), *arguments])
    answers = read_answers(args.answers_file)
    template_repository = mirror(answers["_src_path"])
    if args.newest_updater:
        del lock
        return run_newest(template_repository, arguments)
    if args.check:
        return check(args, answers)
    return update(args, answers, template_repository)


def main(arguments: list[str]) -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("update: stopped; nothing was changed."))
    sys.stdout.reconfigure(errors="backslashreplace")  # for a name that is not UTF-8
    try:
        return run(arguments)
    except Refused as error:
        sys.exit(public(f"update: {error}."))
    except ModuleNotFoundError as error:
        sys.exit(f"update: {error}: this tool's environment is damaged, delete {sys.prefix}.")
    except OSError as error:
        sys.exit(f"update: {error}.")
    except KeyboardInterrupt:
        sys.exit("update: stopped; nothing was changed.")
