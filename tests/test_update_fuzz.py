"""Property: whatever the template and the user did, the safe update loses nothing.

25 examples here, always the same; `nox -s update_fuzz` draws 500 new ones. What is drawn stands in
fuzz/edits.py, what has to hold in fuzz/oracle.py.
"""

import json
import os
import re
import sys
from pathlib import Path

import pytest
from fuzz import oracle
from fuzz.edits import OWNED, TEXTS, worlds
from fuzz.record import versions
from fuzz.world import Edit, Project, World, project, snapshot
from hypothesis import HealthCheck, assume, given, seed, settings

EXAMPLES = int(os.environ.get("UPDATE_FUZZ_EXAMPLES", 25))
SEED = os.environ.get("UPDATE_FUZZ_SEED", "always the same")
BATCH = 10  # from then on, Hypothesis mostly varies the examples that it had


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """A cache of its own for the updater, whose environment with Copier is made once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield
        if place := os.environ.get("UPDATE_FUZZ_COUNTS"):
            name = os.environ.get("PYTEST_XDIST_WORKER", "all")
            Path(place, name).write_text(json.dumps([versions(), oracle.EXAMPLES, oracle.FILES]))


@pytest.mark.parametrize("batch", range(0, EXAMPLES, BATCH))
def test_an_update_loses_nothing(batch):
    @seed(f"{SEED}, batch {batch}")
    @settings(
        max_examples=min(BATCH, EXAMPLES - batch),
        database=None,
        deadline=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(world=worlds())
    def loses_nothing(world: World) -> None:
        assume(world.template and world.user)
        check(world)

    loses_nothing()


def check(world: World) -> None:
    with project(world) as here:
        index = here.git("ls-files", "--stage", "-z")
        done = here.update(*(f"--data={name}={value}" for name, value in world.data.items()))
        assert done.returncode in (0, 2), done.stderr
        wrong = oracle.judge(here, done)
        assert not wrong, "\n".join([*wrong, done.stdout, done.stderr])
        if world.ending == "commit":
            update_again(here)
        else:
            take_back(here, index, edited=world.ending == "edit")
        oracle.EXAMPLES.update(kinds(world))


def kinds(world: World) -> list[str]:
    """What sort of example this is, for the record."""
    facts = {
        "with other answers": bool(world.data),
        "in a folder of a repository": world.nested,
        "with a filter on notebooks": world.strips,
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
    new = {name for name, one in snapshot(here.folder).items() if one != here.before.get(name)}
    path = here.folder / max(new)
    edited = edited and not path.is_symlink()
    if edited:
        later = path.read_bytes() + b"# later\n"
        path.write_bytes(later)
    done = here.update("--abort")
    assert (done.returncode, done.stderr) == (0, "")
    assert snapshot(here.folder) == here.before
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


def judge_plain_copier(world: World) -> list[str]:
    with project(world) as here:
        done = here.run(sys.executable, "-m", "copier", "update", "--defaults")
        assert done.returncode == 0, done.stderr
        return oracle.judge_tree(here, oracle.outcomes(here), snapshot(here.folder), {}, "")
