"""Property: whatever the template and the user did, the safe update loses nothing.

25 examples here, always the same; `nox -s update_fuzz` draws 500 new ones. fuzz/edits.py and
fuzz/scenes.py draw, fuzz/oracle.py knows what has to become of each file, fuzz/judge.py compares.
"""

import json
import os
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from fuzz import judge, oracle
from fuzz.actions import Edit
from fuzz.edits import OWNED, TEXTS, worlds
from fuzz.files import snapshot
from fuzz.record import versions
from fuzz.renames import fill
from fuzz.world import Project, World, git_folder, project
from hypothesis import HealthCheck, assume, given, seed, settings

EXAMPLES = int(os.environ.get("UPDATE_FUZZ_EXAMPLES", 25))
ALWAYS = "always the same"
SEED = os.environ.get("UPDATE_FUZZ_SEED", ALWAYS)
BATCH = 10  # from then on, Hypothesis mostly varies the examples that it had


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of its own for the updater, whose environment with Copier is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
        if place := os.environ.get("UPDATE_FUZZ_COUNTS"):
            name = os.environ.get("PYTEST_XDIST_WORKER", "all")
            Path(place, name).write_text(json.dumps([versions(), judge.EXAMPLES, judge.FILES]))


def draw(batch: int, examples: int, check: Callable[[World], None], first: str = SEED) -> None:
    @seed(f"{first}, batch {batch}")
    @settings(
        max_examples=min(BATCH, examples - batch),
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(world=worlds())
    def holds(world: World) -> None:
        assume(world.template and world.user)
        check(world)

    holds()


@pytest.mark.parametrize("batch", range(0, EXAMPLES, BATCH))
def test_an_update_loses_nothing(batch):
    draw(batch, EXAMPLES, check)


def test_the_examples_are_of_every_kind():
    found: Counter[str] = Counter()
    for batch in range(0, 25, BATCH):
        draw(batch, 25, lambda world: found.update(drawn(world)), ALWAYS)
    assert found.keys() == {*DRAWN}, found


DRAWN: dict[str, Callable[[World], object]] = {
    "a rename by the template": lambda world: world.renames,
    "a rename in two steps": lambda world: (
        {a for a, _ in world.renames} & {b for _, b in world.renames}
    ),
    "a renamed folder": lambda world: any(left.endswith("/") for left, _ in world.renames),
    "a rename in a commit of its own": lambda world: (
        world.history and "move" in {one.kind for one in world.user}
    ),
    "a rename with an edit": lambda world: "rename" in {one.kind for one in world.user},
    "a rename by both": lambda world: (
        {left for left, _ in world.renames}
        & {one.name for one in world.user if one.kind in ("move", "rename")}
    ),
    "an answer that renames": lambda world: (
        {**world.answers, **world.data}["name"] != world.answers["name"]
    ),
    "a `.git` name": lambda world: world.evil,
    "a flag in the index": lambda world: world.flag,
    "core.fileMode=false": lambda world: not world.modes,
    "pins of hooks": lambda world: "pin" in {one.kind for one in world.template},
    "a new file that git ignores": lambda world: (
        {"later.log", "scratch", "new/a.log"} & {one.name for one in world.template}
    ),
}


def drawn(world: World) -> list[str]:
    """What an example has, before anything is made of it."""
    return [kind for kind, has in DRAWN.items() if has(world)]


def check(world: World) -> None:
    with project(world) as here:
        index, hidden = here.git("ls-files", "--stage", "-z"), here.git("ls-files", "-v", "-z")
        settings = git_folder(here)
        done = here.update(*(f"--data={name}={value}" for name, value in world.data.items()))
        kind = "updated"
        if done.returncode == 1:
            assert may_refuse(world, here), done.stderr
            assert is_refusal(done, flagged(world, here) or ""), done.stderr
            assert snapshot(here.folder) == here.disk
            assert here.git("ls-files", "--stage", "-z") == index
            kind = "refused"
        else:
            assert done.returncode in (0, 2), done.stderr
            assert not must_refuse(world, here), done.stdout
            wrong = judge.judge(here, done)
            assert not wrong, "\n".join([*wrong, done.stdout, done.stderr])
        assert git_folder(here) == settings
        if kind == "updated" and world.ending == "commit" and not world.flag:
            update_again(here)
        elif kind == "updated":
            take_back(here, index, edited=world.ending == "edit")
            assert here.git("ls-files", "-v", "-z") == hidden
        judge.EXAMPLES.update([*kinds(world, here), kind])


def is_refusal(done: CompletedProcess, name: str) -> bool:
    """Whether the tool says in its own words why it changes nothing, and names the file."""
    said = done.stderr.strip().splitlines() or [""]
    reason = any(line.startswith("update: ") for line in said)
    return reason and "Traceback" not in done.stderr and name in done.stderr and not done.stdout


def flagged(world: World, here: Project) -> str | None:
    """The file whose changes are hidden from git."""
    name = fill(world.flag[0], world.answers) if world.flag else None
    return name if name in here.index() and name in here.before else None


def must_refuse(world: World, here: Project) -> bool:
    name = flagged(world, here)
    return bool(world.evil or name and judge.concerned(here, name))


def may_refuse(world: World, here: Project) -> bool:
    name = flagged(world, here)
    return bool(world.evil or name and judge.concerned(here, name) is not False)


def kinds(world: World, here: Project) -> list[str]:
    """What sort of example this is, for the record."""
    found, own = here.renames, oracle.plan(here).places
    facts = {
        "with other answers": bool(world.data),
        "in a folder of a repository": world.nested,
        "with a filter on notebooks": world.strips,
        "with core.fileMode=false": not world.modes,
        "with a flag in git's index": bool(flagged(world, here)),
        "with a `.git` name in the template": bool(world.evil),
        "with a file that the template renamed": bool(found.lines),
        "with a folder that the template renamed": bool(found.folders and found.lines),
        "with a file that the user renamed": bool(found.certain),
        "with a file that both renamed": bool(found.certain.keys() & found.moves.keys()),
        "with an answer that renames": bool(found.answers),
        "with files of the user's own that move along": any(not one for one, _ in own.values()),
        "with moved pins of hooks": any(one.kind == "pin" for one in world.template),
        "committed, and updated again": world.ending == "commit",
        "taken back": world.ending == "abort",
        "taken back after another edit": world.ending == "edit",
    }
    return ["all", *(name for name, true in facts.items() if true)]


def update_again(here: Project) -> None:
    """Commit the update, conflicts and all: there is nothing to update then."""
    here.git("add", "--all")
    here.git("commit", "--quiet", "--allow-empty", "--message=Update")
    after = snapshot(here.folder)
    done = here.update()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Nothing to update")
    assert snapshot(here.folder) == after


def take_back(here: Project, index: bytes, edited: bool) -> None:
    """All is as it was before; what was edited since the update is where the output says."""
    new = {name for name, one in snapshot(here.folder).items() if one != here.disk.get(name)}
    path = here.folder / max(new)
    edited = edited and not path.is_symlink()
    if edited:
        later = path.read_bytes() + b"# later\n"
        path.write_bytes(later)
    done = here.update("--abort")
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(here.folder) == here.disk
    assert here.git("ls-files", "--stage", "-z") == index
    assert here.git("status", "--porcelain") == b""
    if edited:
        place = re.search("that text is in:? (.*)", done.stdout)[1]
        assert Path(place).read_bytes() == later


def world(template: list[Edit], user: list[Edit]) -> World:
    texts = {name: "jjjjjjjj" for name in TEXTS + OWNED}
    return World(texts, {"name": "ada", "ci": "github"}, template, user)


BLOCK = (b"- name: step\n", b"  image: base\n", b"  run: true\n", b"\n")
MINE = Edit("lines", "conf/a.yml", (13, 1, (b"  image: mine\n",)))
LOSSES = {  # what plain `copier update` does wrong
    "reverts a binary": ([], [Edit("write", "logo.bin", (b"\0 mine",))]),
    "deletes an edited file": ([Edit("delete", "conf/a.yml")], [MINE]),
    "puts an edit into another block": ([Edit("lines", "conf/a.yml", (0, 0, BLOCK))], [MINE]),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_the_oracle_sees_what_plain_copier_loses(loss):
    template, user = LOSSES[loss]
    wrong = judge_plain_copier(world(template, user))
    assert [line.split(" is ")[0] for line in wrong] == [user[0].name]


def test_the_oracle_agrees_where_plain_copier_is_right():
    theirs = Edit("lines", "README.md", (3, 1, (b"# theirs\n",)))
    assert not judge_plain_copier(world([theirs], [MINE]))


def test_the_oracle_sees_that_plain_copier_follows_no_rename():
    lines = [("conf/a.yml", "conf/new.yml")]
    renamed = world([Edit("rename", *lines[0][:1], lines[0][1:])], [MINE])
    wrong = judge_plain_copier(renamed._replace(renames=lines))
    assert "conf/new.yml" in [line.split(" is ")[0] for line in wrong]


def judge_plain_copier(world: World) -> list[str]:
    with project(world) as here:
        done = here.run(sys.executable, "-m", "copier", "update", "--defaults")
        assert done.returncode == 0, done.stderr
        after = here.seen()
        return judge.judge_tree(here, judge.choose(oracle.plan(here), after, {}), after, {})
