"""The update's locks: what the template moves, what stays yours, and that no line gets lost."""

import sys

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "template" / "tools"))
from updater.files import Entry
from updater.locks import HOOKS, LATER, LOCKS, Forwarded, follow, forward, own_pins, split

CPU, DEV = "requirements/cpu.txt", "requirements/dev.txt"
HEAD = "# Made by `nox -s lock`\n# digest: {}\n"
# A tools/lock.py that "resolves" to other versions of two packages.
STUB = """
import json, os, pathlib, sys
scratch = pathlib.Path(sys.argv[1])
{}
for file in scratch.glob("requirements/*.txt"):
    text = file.read_text().replace("ruff==2 ", "ruff==1.5 ").replace("keras==2 ", "keras==1.5 ")
    file.write_text("# made again\\n" + text)
"""


def block(name: str, version: str, hashes: int = 2) -> str:
    """A requirement as uv writes it."""
    lines = [f"    --hash=sha256:{name}{version}{n}" for n in range(hashes)]
    return " \\\n".join([f"{name}=={version}", *lines]) + "\n"


def pin(name: str, version: str) -> str:
    return f"          - {name}=={version}\n"


def config(*pins: str) -> bytes:
    return "".join(["additional_dependencies:\n", *pins]).encode()


def lock(*blocks: str, digest: int = 0) -> bytes:
    return (HEAD.format(digest) + "".join(blocks)).encode()


def pyproject(*ranges: str) -> bytes:
    return f"[project]\ndependencies = {list(ranges)}\n".encode()


OLD = {
    "pyproject.toml": pyproject("keras"),
    "tools/lock.py": STUB.format("").encode(),
    CPU: lock(block("keras", "1"), digest=1),
    DEV: lock(block("ruff", "1"), digest=2),
    HOOKS: config(pin("ruff", "1")),
}
NEW = OLD | {
    CPU: lock(block("keras", "2"), digest=3),
    DEV: lock(block("ruff", "2"), digest=4),
    HOOKS: config(pin("ruff", "2")),
}
RANGES = {"pyproject.toml": pyproject("keras", "mine")}  # not the template's
EDITED = RANGES | {"tools/lock.py": b"edited\n"}  # so that it does not run


def entries(files: dict[str, bytes]) -> dict[str, Entry]:
    return {name: Entry("100644", data) for name, data in files.items()}


def update(mine: dict[str, bytes], hooks: bytes | None = None, new: dict = NEW) -> Forwarded:
    """Bring the locks of a project that has these files to NEW, with `hooks` after the merge."""
    mine = OLD | mine
    merged = mine | {HOOKS: hooks if hooks is not None else new[HOOKS]}
    old, new = entries(OLD), entries(new)
    return forward(old, new, entries(mine).get, lambda name: merged.get(name, b""))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """The folder of a project, in which the project's tools/lock.py runs."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools/lock.py").write_bytes(OLD["tools/lock.py"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UV", "uv")
    return tmp_path


# The hooks' pins.


def test_a_pin_of_the_template_moves_with_it():
    assert follow(OLD[HOOKS], [], OLD[HOOKS], NEW[HOOKS]) == NEW[HOOKS]


def test_a_pin_of_your_own_lock_moves_with_the_template():
    mine = config(pin("ruff", "1.2"))
    assert follow(mine, [lock(block("ruff", "1.2"))], OLD[HOOKS], NEW[HOOKS]) == NEW[HOOKS]


@pytest.mark.parametrize("version", ["0.9", "1.0", "1.*", "2.1", "11"])
def test_any_other_version_of_a_hook_is_yours(version):
    mine = config(pin("ruff", version))
    assert follow(mine, [OLD[DEV]], OLD[HOOKS], NEW[HOOKS]) == mine
    assert own_pins(mine, [OLD[DEV]], OLD[HOOKS]) == {(b"ruff", version.encode())}
    assert own_pins(OLD[HOOKS], [OLD[DEV]], OLD[HOOKS]) == set()


def test_a_pin_that_the_template_did_not_move_stays_in_step_with_your_lock():
    mine = config(pin("ruff", "1.2"))
    assert follow(mine, [lock(block("ruff", "1.2"))], OLD[HOOKS], OLD[HOOKS]) == mine


@pytest.mark.parametrize("text", ['["ruff==1"]', "['ruff==1', black]", "[ruff==1]", "ruff==1  # x"])
def test_what_stands_around_a_pin_stays(text):
    assert follow(text.encode(), [], b"ruff==1", b"ruff==2") == text.replace("1", "2").encode()


@pytest.mark.parametrize("text", [b"my-ruff==1", b"my.ruff==1", b"ruff===1", b"ruff==1.0"])
def test_a_pin_that_only_looks_alike_stays(text):
    assert follow(text, [], b"ruff==1", b"ruff==2") == text


def test_your_own_pin_survives_even_where_the_locks_have_the_package():
    mine = config(pin("ruff", "1"), pin("keras", "0.5"))
    files, todo = update({HOOKS: mine}, config(pin("ruff", "2"), pin("keras", "0.5")))
    assert HOOKS not in files and not todo


def test_a_hook_of_yours_that_followed_your_lock_goes_on_with_it():
    """The template's settings do not pin keras, its locks do."""
    mine = config(pin("ruff", "1"), pin("keras", "1"))
    files, _ = update({HOOKS: mine}, config(pin("ruff", "2"), pin("keras", "1")))
    assert files[HOOKS] == config(pin("ruff", "2"), pin("keras", "2"))


def test_hooks_follow_what_your_ranges_resolve_to(project):
    """Your own keras pin is by chance the version that the run of tools/lock.py starts from."""
    mine = config(pin("ruff", "1"), pin("keras", "2"))
    files, _ = update(RANGES | {HOOKS: mine}, config(pin("ruff", "2"), pin("keras", "2")))
    assert b"\nkeras==1.5 " in files[CPU] and b"\nruff==1.5 " in files[DEV]
    assert files[HOOKS] == config(pin("ruff", "1.5"), pin("keras", "2"))


def test_a_hook_at_one_of_several_locked_versions_stays():
    files, _ = update({}, config(pin("keras", "1")), NEW | {CPU: lock("keras==1\nkeras==2\n")})
    assert HOOKS not in files
    files, _ = update({}, config(pin("keras", "1")), NEW | {CPU: lock("keras==2\nkeras==3\n")})
    assert files[HOOKS] == config(pin("keras", "3"))


# The locks.


def test_the_templates_locks_are_taken_where_you_changed_no_range():
    files, todo = update({CPU: lock(block("keras", "1"), block("mine", "1"))})
    assert (files, todo) == ({CPU: NEW[CPU], DEV: NEW[DEV]}, "")


def test_nothing_happens_where_the_template_changed_no_lock():
    assert update({CPU: lock()}, OLD[HOOKS], OLD) == Forwarded({}, "")


def test_only_locks_that_both_have_count():
    def names(yours: dict[str, Entry], new: dict[str, Entry]) -> set[str]:
        return set(forward(entries(OLD), new, yours.get, lambda _: OLD["pyproject.toml"]).files)

    gpu, link = "requirements/gpu.txt", Entry("120000", b"elsewhere.txt")
    yours, new = entries(OLD), entries(NEW)
    assert names(yours, new) == {CPU, DEV}
    assert names(yours | {CPU: link}, new) == names(yours, new | {CPU: link}) == {DEV}
    one = {name: entry for name, entry in yours.items() if name != DEV}
    assert names(one, new | {gpu: new[CPU]}) == names(one | {gpu: yours[CPU]}, new) == {CPU}
    assert names({}, new) == set()


def test_packages_that_you_added_keep_their_pins():
    added = [block("aaa", "7"), block("Zope_x", "3")]
    files, todo = update({CPU: lock(block("keras", "0.9"), *added), **EDITED})
    assert files[CPU] == lock(added[0], block("keras", "2"), added[1], digest=3)
    assert files[DEV] == NEW[DEV]
    assert todo == LATER and "finish them with `nox -s lock`" in todo


def test_a_package_spelled_otherwise_is_the_same():
    assert update({CPU: lock(block("KERAS", "0.9")), **EDITED}).files[CPU] == NEW[CPU]


def test_packages_that_the_template_dropped_go():
    new = NEW | {CPU: lock(block("jax", "1"), digest=3)}
    assert update(EDITED, new=new).files[CPU] == new[CPU]


def test_a_lock_that_is_as_it_is_to_be_does_not_change():
    windows = NEW[DEV].replace(b"\n", b"\r\n")
    assert update({CPU: NEW[CPU], DEV: windows}) == ({}, "")


def test_windows_newlines_stay():
    windows = {name: data.replace(b"\n", b"\r\n") for name, data in OLD.items()}
    files, _ = update({CPU: windows[CPU]})
    assert files[CPU] == NEW[CPU].replace(b"\n", b"\r\n")
    mine = windows[CPU] + block("mine", "7").replace("\n", "\r\n").encode()
    expected = lock(block("keras", "2"), block("mine", "7"), digest=3)
    assert update({CPU: mine, **EDITED}).files[CPU] == expected.replace(b"\n", b"\r\n")


TAILS = {
    "no newline": ("mine==1 \\\n    --hash=a \\\n    --hash=b", {b"mine": 1}),
    "cut off": ("mine==1 \\", {b"mine": 1}),
    "cut off after a hash": ("mine==1 \\\n    --hash=a \\\n", {b"mine": 1}),
    "no indentation": ("mine==1 \\\n--hash=a \\\n--hash=b\n", {b"mine": 1}),
    "Windows newlines": ("mine==1 \\\r\n    --hash=a \\\r\n    --hash=b", {b"mine": 1}),
    "annotations": ("mine==1 \\\n    --hash=a\n    # via b\n    # via c\n", {b"mine": 1}),
    "a URL": ("mine @ https://example.org/mine-1.whl \\\n    --hash=a\n", {b"mine": 1}),
    "a URL without spaces": ("mine@https://example.org/mine-1.whl", {b"mine": 1}),
    "extras": ("mine[all]==1 \\\n    --hash=a", {b"mine": 1}),
    "a bare name": ("mine", {b"mine": 1}),
    "markers": (
        "mine==1 ; python_version < '3.12'\nmine==2 ; python_version >= '3.12'",
        {b"mine": 2},
    ),
    "options": ("--extra-index-url https://example.org\n-r other.txt\n-c more.txt\n", {b"": 3}),
    "editable": ("-e .\n-e ./lib\n./wheels/mine.whl\ngit+https://example.org/mine", {b"": 4}),
    "comments": ("# mine\\\nmine==1\n  # indented\n\n# last", {b"": 2, b"mine": 1}),
    "no UTF-8": ("# \udce9\nmine==1", {b"": 1, b"mine": 1}),
}


@pytest.mark.parametrize("tail, packages", TAILS.values(), ids=TAILS)
def test_every_line_of_a_lock_survives(tail, packages):
    """Whole, by itself, and with what the template has before and behind it."""
    data = tail.encode(errors="surrogateescape")
    found = split(data)
    assert {name: len(lines) for name, lines in found.items()} == packages
    mine = OLD[CPU] + data
    new = {**NEW, CPU: lock(block("keras", "2"), block("zlib", "1"), digest=3)}
    text = update({CPU: mine, **EDITED}, new=new).files[CPU]
    assert split(text)[b"zlib"] == [block("zlib", "1").encode()]
    words = [word for line in data.splitlines() if (word := line.rstrip(b" \t\\").strip())]
    assert [word for word in words if word not in text] == []
    assert text.endswith(b"\n") and text.startswith(HEAD.format(3).encode())
    assert text.count(b"# digest") == 1 and b"\r" not in text


# The run of tools/lock.py.


def test_lock_py_makes_locks_for_your_ranges(project):
    files, todo = update(RANGES | {CPU: OLD[CPU] + b"# mine\n-r other.txt\nmine==7"})
    assert todo == ""
    again = "# made again\n"
    assert files[CPU].decode() == again + block("keras", "2").replace("==2", "==1.5") + "mine==7\n"
    assert files[DEV].decode() == again + block("ruff", "2").replace("==2", "==1.5")
    assert files[HOOKS] == config(pin("ruff", "1.5"))


def test_it_runs_isolated_and_leaves_nothing(project, monkeypatch):
    (project / "json.py").write_text("raise SystemExit('the wrong module')\n")
    monkeypatch.setenv("PYTHONPATH", str(project))
    monkeypatch.setenv("PYTHONSTARTUP", "json.py")
    (project / "tools/json.py").write_text("raise SystemExit('the wrong module')\n")
    before = sorted(project.rglob("*"))
    assert update(RANGES).todo == ""
    assert sorted(project.rglob("*")) == before


@pytest.mark.parametrize("mine", [OLD["tools/lock.py"], b"", b"import edited\n"])
def test_a_lock_py_that_is_not_the_new_one_does_not_run(project, mine):
    done = update(RANGES | {"tools/lock.py": mine}, new=NEW | {"tools/lock.py": b"# new\n"})
    assert done == ({CPU: NEW[CPU], DEV: NEW[DEV]}, LATER)


def test_its_mode_does_not_matter(project):
    mine = entries(OLD | RANGES) | {"tools/lock.py": Entry("100755", OLD["tools/lock.py"])}
    done = forward(entries(OLD), entries(NEW), mine.get, lambda name: mine[name].data)
    assert done.todo == "" and done.files[CPU].startswith(b"# made again")


@pytest.mark.parametrize(
    "line, said",
    [
        ("sys.exit('no route')", "uv could not resolve your ranges (see above); "),
        ("os.kill(os.getpid(), 9)", "tools/lock.py was stopped; "),
        (f"(scratch / {CPU!r}).write_text(''); sys.exit()", "tools/lock.py was stopped; "),
    ],
    ids=["failed", "killed", "empty"],
)
def test_where_it_fails_the_locks_hold_the_templates_pins_and_yours(project, line, said):
    tool = STUB.format(line).encode()
    (project / "tools/lock.py").write_bytes(tool)
    done = update(RANGES | {"tools/lock.py": tool}, new=NEW | {"tools/lock.py": tool})
    assert done == ({CPU: NEW[CPU], DEV: NEW[DEV]}, said + LATER)


def test_without_uv_the_output_says_so(project, monkeypatch):
    monkeypatch.delenv("UV")
    assert update(RANGES).todo == f"uv is missing; {LATER}"


@pytest.mark.parametrize("text", [b"<<<<<<< yours\n", b"\xff", b"project = 1\n", b"tool = 1\n"])
def test_a_pyproject_in_conflict_comes_first(project, text):
    done = update({"pyproject.toml": text})
    assert done.todo == "resolve pyproject.toml, then `nox -s lock`"
    assert done.files == {CPU: NEW[CPU], DEV: NEW[DEV]}


def test_the_names_are_those_of_lock_py():
    import lock as tool

    assert [name.removeprefix("requirements/") for name in LOCKS] == list(tool.LOCKS)
    assert HOOKS == tool.HOOKS
