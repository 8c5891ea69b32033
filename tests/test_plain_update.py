"""Plain `copier update`: each limit in docs/updating.md, and the safe update that has it not."""

import functools
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest
from conftest import ROOT, SOURCE, commit, git, isolate
from safe_update import TOOL, unmerged
from safe_update import update as safe

GUIDE = (ROOT / "docs/updating.md").read_text()

COPIER_YML = """\
_subdirectory: template
_skip_if_exists: [seeded.txt, requirements/*.txt]
demo: {type: bool, default: true}
colour: {type: str, default: red, choices: [red, green]}
"""
TEXT = "".join(f"line {n}\n" for n in range(1, 10))
MINE = TEXT + "mine\n"
NEW = "theirs\n" + TEXT
CRLF = TEXT.replace("\n", "\r\n")
TORN = f"<<<<<<< before updating\n{CRLF}=======\n{NEW}>>>>>>> after updating\n"
BLANKS = [
    text.replace("line 5", "mine" + end) for text, end in ((TEXT, "  "), (NEW, ""), (NEW, "  "))
]
UTF16 = "mine\n".encode("utf-16")


def jobs(*names: str, slow: str) -> str:
    """Blocks that are the same but for their name, as in many a YAML file."""
    block = "  image: debian\n  retries: 1\n  cache: yes\n  timeout: {}\n  keep: 1\n  quiet: no\n"
    return "".join(f"{name}:\n{block.format(99 if name == slow else 10)}\n" for name in names)


def notebook(source: str, output: str = "") -> str:
    cell = {"cell_type": "code", "execution_count": None, "id": "a", "metadata": {}}
    shown = [{"name": "stdout", "output_type": "stream", "text": [output]}] if output else []
    cells = [cell | {"outputs": shown, "source": source}]
    return json.dumps(
        {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}, indent=1
    )


class Fate(NamedTuple):
    """A file in the old template, as the user left it, in the new template, and updated."""

    old: str | bytes | None
    yours: str | bytes | None
    new: str | bytes | None
    plain: str | bytes | None
    safe: str | bytes | None


# All of them happen to one project, in one update.
FATES = {
    "binary_reverted": {"logo.bin": Fate(b"\0old", b"\0mine", b"\0old", b"\0old", b"\0mine")},
    "utf16_reverted": {"a.rc": Fate("a\n", UTF16, "a\n", "a\n", UTF16)},
    "no_diff_reverted": {"table.tsv": Fate(TEXT, MINE, NEW, NEW, "theirs\n" + MINE)},
    "new_binary_overwritten": {"b.bin": Fate(None, b"\0mine", b"\0new", b"\0new", b"\0mine")},
    "template_deletes": {"gone.py": Fate(TEXT, MINE, None, None, MINE)},
    "template_renames": {
        "before.py": Fate(TEXT, MINE, None, None, None),
        "after.py": Fate(None, None, TEXT, TEXT, MINE),
    },
    "answer_switches_off": {"demo.py": Fate(TEXT, MINE, TEXT, None, MINE)},
    "filtered_outputs_wiped": {"run.nb": Fate(TEXT, MINE, NEW, NEW, "theirs\n" + MINE)},
    "ignored_file_overwritten": {
        "my.secret": Fate(None, "mine\n", "theirs\n", "theirs\n", "mine\n")
    },
    "written_through_a_link": {"linked/a.py": Fate(TEXT, "mine\n", NEW, NEW, "mine\n")},
    "rej_file_deleted": {
        "data.txt": Fate(TEXT, TEXT, NEW, NEW, NEW),
        "data.txt.rej": Fate(None, "mine\n", None, None, "mine\n"),
    },
    "blanks_removed": {"hard.md": Fate(TEXT, BLANKS[0], NEW, BLANKS[1], BLANKS[2])},
    "hunk_misplaced": {
        "jobs.yml": Fate(
            jobs("train", "check", "export", slow=""),
            jobs("train", "check", "export", slow="check"),
            jobs("lint", "train", "check", "export", slow=""),
            jobs("lint", "train", "check", "export", slow="train"),
            jobs("lint", "train", "check", "export", slow="check"),
        )
    },
    "line_ends_conflict": {"win.txt": Fate(TEXT, CRLF, NEW, TORN, NEW.replace("\n", "\r\n"))},
    "deleted_comes_back": {"seeded.txt": Fate(TEXT, None, TEXT, TEXT, None)},
    "locks_left_behind": {
        "pyproject.toml": Fate(*["[project]\n"] * 5),
        "requirements/cpu.txt": Fate("a==1\n", "a==1\n", "a==2\n", "a==1\n", "a==2\n"),
    },
}
BOOK = Fate(notebook("a = 1"), notebook("a = 1", output="mine\n"), notebook("a = 2"), None, None)
CODE = Fate(TEXT, TEXT.replace("line 5", "mine"), TEXT.replace("line 5", "theirs"), None, None)
FILES = {name: fate for files in FATES.values() for name, fate in files.items()}
FILES |= {"book.ipynb": BOOK, "code.py": CODE}
UNTRACKED = ("my.secret", "data.txt.rej")
SETTINGS = {
    ".gitattributes": "*.tsv -diff\n*.nb filter=strip\n",
    ".gitignore": "*.secret\n*.rej\n",
    "{{_copier_conf.answers_file}}.jinja": "{{ _copier_answers|to_nice_yaml -}}\n",
}


def write(folder: Path, files: dict[str, str | bytes | None]) -> None:
    """Give files these contents; None deletes one."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if data is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(data.encode() if isinstance(data, str) else data)


def read(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


class Both(NamedTuple):
    """What each update left of copies of one project, and what it said."""

    plain: Path
    plainly: subprocess.CompletedProcess
    safe: Path
    safely: subprocess.CompletedProcess
    exact: Path  # by plain copier update with --context-lines 1000


@pytest.fixture(scope="module")
def both(tmp_path_factory, copier) -> Both:
    """All fates at once."""
    folder = tmp_path_factory.mktemp("plain")
    template, project = folder / "template", folder / "project"
    names = {"demo.py": "{% if demo %}demo.py{% endif %}"}
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home", template)
        write(template, {"copier.yml": COPIER_YML, "renames.txt": "before.py -> after.py\n"})
        write(template / "template", SETTINGS)
        for version, column in (("v1.0.0", "old"), ("v2.0.0", "new")):
            files = {names.get(name, name): getattr(fate, column) for name, fate in FILES.items()}
            write(template / "template", files)
            commit(template, tag=version)
        assert copier("copy", "--defaults", "-r", "v1.0.0", SOURCE, project).returncode == 0
        (project / "linked").rename(project / "elsewhere")
        (project / "linked").symlink_to("elsewhere")
        yours = {name: fate.yours for name, fate in FILES.items()}
        write(project, {name: data for name, data in yours.items() if name not in UNTRACKED})
        answers = project / ".copier-answers.yml"
        answers.write_text(answers.read_text().replace("colour:", "# mine\ncolour:"))
        git(project, "init", "--quiet", "--initial-branch=main")
        git(project, "config", "filter.strip.clean", "sed /mine/d")
        git(project, "config", "apply.whitespace", "fix")
        git(project, "add", "--all")
        git(project, "commit", "--quiet", "--message=Work")
        write(project, {name: yours[name] for name in UNTRACKED})
        assert git(project, "status", "--short") == ""

        done = {}
        for name in ("plain", "safe", "exact"):
            shutil.copytree(project, folder / name, symlinks=True)
        update = ("update", "--defaults", "--data=demo=false")
        done["plain"] = copier(*update, cwd=folder / "plain")
        done["safe"] = safe(folder / "safe", "--data=demo=false")
        assert copier(*update, "--context-lines=1000", cwd=folder / "exact").returncode == 0
    both = Both(folder / "plain", done["plain"], folder / "safe", done["safe"], folder / "exact")
    assert (both.plainly.returncode, both.safely.returncode) == (0, 2), both
    return both


@pytest.mark.parametrize("limit", FATES)
def test_limit(limit, both):
    for name, fate in FATES[limit].items():
        for folder, data in ((both.plain, fate.plain), (both.safe, fate.safe)):
            assert read(folder / name) == (data.encode() if isinstance(data, str) else data), name


def test_comments_in_the_answers_lost(both):
    assert b"# mine" not in read(both.plain / ".copier-answers.yml")
    assert b"# mine" in read(both.safe / ".copier-answers.yml")


def test_conflicts_with_exit_code_0(both):
    assert "code.py" in unmerged(both.plain) and "code.py" in unmerged(both.safe)
    assert (both.plainly.returncode, both.safely.returncode) == (0, 2)
    assert "code.py" not in both.plainly.stdout + both.plainly.stderr
    assert "conflict  code.py" in both.safely.stdout


def test_markers_committed(both, tmp_path):
    """Nothing is staged, so one types -a; after a safe update git stops what it tells to type."""
    plain = shutil.copytree(both.plain, tmp_path / "plain", symlinks=True)
    assert git(plain, "diff", "--cached", "--name-only", "--diff-filter=u") == ""
    git(plain, "commit", "--quiet", "--all", "--message=Update")
    assert "<<<<<<< before updating" in git(plain, "show", "HEAD:code.py")
    line = ["git", "commit", "--message=Update"]
    assert subprocess.run(line, cwd=both.safe, capture_output=True).returncode == 128


def test_notebook_unreadable(both):
    with pytest.raises(json.JSONDecodeError):
        json.loads(read(both.plain / "book.ipynb"))
    [cell] = json.loads(read(both.safe / "book.ipynb"))["cells"]
    assert (cell["source"], cell["outputs"][0]["text"]) == (["a = 2"], ["mine\n"])


@pytest.fixture
def start(tmp_path, monkeypatch, copier):
    """Two copies of a project of a small template, of which there is a newer version then."""
    template, project = tmp_path / "template", tmp_path / "project"
    isolate(monkeypatch, tmp_path / "home", template)

    def run(new: dict, yours: dict, copier_yml: str = COPIER_YML) -> tuple[Path, Path]:
        write(template, {"copier.yml": COPIER_YML})
        write(template / "template", SETTINGS | {"code.py": CODE.old})
        commit(template, tag="v1.0.0")
        assert copier("copy", "--defaults", SOURCE, project).returncode == 0
        write(project, yours)
        git(project, "init", "--quiet", "--initial-branch=main")
        git(project, "add", "--all")
        git(project, "commit", "--quiet", "--message=Work")
        write(template, {"copier.yml": copier_yml})
        write(template / "template", new)
        commit(template, tag="v2.0.0")
        return project, shutil.copytree(project, tmp_path / "safe")

    return run


def test_something_in_the_way(start, copier):
    """A folder at the place of a new file, and a file at that of a new folder."""
    yours = {"folder/mine": "mine\n", "file": "mine\n"}
    new = {"folder": "theirs\n", "file/theirs": "theirs\n", "code.py": CODE.new}
    project, copied = start(new, yours)
    done = copier("update", "--defaults", cwd=project)
    assert done.returncode == 1 and "Traceback" in done.stderr
    done = safe(copied)
    assert done.returncode == 2 and "folder/mine is in the way" in done.stdout
    assert read(copied / "code.py") == CODE.new.encode()
    assert [read(copied / name) for name in yours] == [b"mine\n"] * 2


def test_stops_half_way(start, copier):
    """At a .rej file of the user's whose file is not there."""
    project, copied = start({"code.py": CODE.new}, {"code.py": CODE.yours})
    write(project, {"a.rej": "mine\n"})
    done = copier("update", "--defaults", cwd=project)
    assert done.returncode == 1 and "Traceback" in done.stderr
    assert read(project / "code.py") == CODE.new.encode() and unmerged(project) == []
    write(copied, {"a.rej": "mine\n"})
    assert safe(copied).returncode == 2
    assert unmerged(copied) == ["code.py"] and read(copied / "a.rej") == b"mine\n"


def test_choice_replaced(start, copier):
    less = COPIER_YML.replace("default: red", "default: green").replace("[red, ", "[")
    project, copied = start({}, {}, less)
    assert copier("update", "--defaults", cwd=project).returncode == 0
    assert b"colour: green\n" in read(project / ".copier-answers.yml")
    done = safe(copied)
    assert (done.returncode, done.stdout) == (1, "")
    assert "v2.0.0 does not take your answer colour: red any more" in done.stderr
    assert b"colour: red\n" in read(copied / ".copier-answers.yml")


# The guide itself.


def blocks(kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


URL = "https://raw.githubusercontent.com/org/gpu-ml-template/main/template/tools/"
# In which state of the story each block of commands is typed, its exit code, and what it says.
BLOCKS = {
    "git switch -c update-template": ("before", 2, "  conflict  pyproject.toml\n"),
    "uv run": ("before", 2, "  conflict  pyproject.toml\n"),
    "python3 ~/update.py": ("before", 2, "  conflict  pyproject.toml\n"),
    "git diff": ("after", 0, "\n++<<<<<<< yours\n"),
    "git add pyproject.toml": ("edited", 0, "] Update from the template\n"),
    "nox -s update -- --abort": ("after", 0, "The update is taken back"),
    "git revert": ("done", 0, '] Revert "Update"\n'),
    "git restore": ("done", 0, ""),
    "nox -s update -- --check": ("before", 2, "The template is at v1.1.0"),
    "nox -s update -- --data": ("before", 2, "  deleted   .github/workflows/ci.yml\n"),
    "nox -s update -- --to": ("before", 2, "From v1.0.0 to v1.1.0 of the template"),
    "nox -s update -- --newest-updater": ("before", 2, "  conflict  pyproject.toml\n"),
    "uvx copier recopy": ("before", 0, "\n-import logging\n"),
}


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


class Story:
    """A project that is updated as the guide tells; `type` types a block of its commands."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder, self.url = folder, url

    def type(self, block: str, state: str, name: str) -> subprocess.CompletedProcess:
        """Type it in a copy, of this name, of the project in that state."""
        project = shutil.copytree(self.folder / state, self.folder / name, symlinks=True)
        for ours, theirs in ((URL, self.url), ("uvx copier", "copier"), ("v0.3.0", "v1.1.0")):
            block = block.replace(ours, theirs)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        env = os.environ | {"PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
        env |= {"HOME": str(self.folder / "home")} if "~" in block else {}
        line = ["sh", "-c", block]
        return subprocess.run(
            line, cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )


@pytest.fixture(scope="module")
def story(tmp_path_factory, files, copier):
    folder = tmp_path_factory.mktemp("story")
    template, project = shutil.copytree(files, folder / "template"), folder / "before"

    def edit(path: Path, old: str, new: str) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    handler = functools.partial(Quiet, directory=TOOL.parent)
    with (
        pytest.MonkeyPatch.context() as patch,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server,
    ):
        isolate(patch, folder / "home", template)
        shutil.copy(TOOL, folder / "home")
        commit(template, tag="v1.0.0")
        name = "--data=package_name=cats"
        assert copier("copy", "--defaults", name, SOURCE, project).returncode == 0
        edit(project / "src/cats/engine/train.py", "import gc\n", "import gc\nimport logging\n")
        edit(project / "pyproject.toml", '    "tyro', '    "tabulate>=0.9",\n    "tyro')
        edit(project / "AGENTS.md", "# Working", "Mind our coding guidelines.\n\n# Working")
        commit(project)
        package = template / "template/src/{{package_name}}"
        edit(package / "engine/train.py", "def train(", "# Fixed.\ndef train(")
        (package / "new.py").write_text("NEW = True\n")
        edit(template / "template/pyproject.toml.jinja", '"tyro>=1.0"', '"tyro>=1.1"')
        (template / "template/AGENTS.md.jinja").unlink()
        commit(template, tag="v1.1.0")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        story = Story(folder, f"http://127.0.0.1:{server.server_port}/")
        story.first = story.type(blocks("sh")[0], "before", "after")
        story.type("sed -i '/^[<=>]\\{7\\}/d' pyproject.toml", "after", "edited")
        story.type("git commit --all --message=Update", "edited", "done")
        yield story
        server.shutdown()


@pytest.mark.parametrize("begin", BLOCKS)
def test_the_guides_commands(begin, story):
    [block] = [block for block in blocks("sh") if block.startswith(begin)]
    state, code, said = BLOCKS[begin]
    first = block == blocks("sh")[0]
    done = story.first if first else story.type(block, state, re.sub(r"\W", "-", begin))
    assert done.returncode == code and said in done.stdout, done.stdout + done.stderr


def test_the_guides_commands_are_all_typed():
    assert [sum(map(block.startswith, BLOCKS)) for block in blocks("sh")] == [1] * len(BLOCKS)


def test_the_guides_output_is_real(story):
    diff = git(story.folder / "after", "diff")
    [conflict] = re.findall("^@@@ .*?\n(.*?>>>>>>> .*?\n)", diff, re.DOTALL | re.MULTILINE)
    assert blocks("console") == [story.first.stdout, conflict]


def test_the_guides_way_out_for_hunks(both):
    assert read(both.exact / "jobs.yml") == read(both.safe / "jobs.yml")


def test_the_guides_table_names_these_tests():
    table = re.findall(r"^\|.*\| `(\w+)` \|$", GUIDE, re.MULTILINE)
    ours = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    ours = {name for name in ours if name != "limit" and not name.startswith("the_guide")}
    assert sorted(table) == sorted({*FATES, *ours})
