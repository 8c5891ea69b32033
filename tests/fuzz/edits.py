"""What Hypothesis draws: a world of few lines and few names, so that the two sides meet."""

from pathlib import PurePath

from hypothesis import strategies as st

from .actions import Edit
from .notebooks import notebook
from .scenes import POSITION, other_name, scenes
from .world import ANSWERS, BLOCKS, HOOKS, LOCK, OWN_HOOK, SEEDED, TOOL, World

TEXTS = ("conf/a.yml", "conf/b.yml", "ci/build.yml", "with space.yml", "ünï [x].yml", "plain.dat")
OWNED = ("README.md", "{name}/core.yml")  # hold the answer
OTHERS = (*OWNED, "script.sh", "logo.bin", "link", ".gitignore")
SEEDS = ("seed/model.yml", "seed/start.ipynb", "seed/logo.bin", "{name}/start.yml")
LATER = (  # names that the template may take, and so may the user before
    "conf/later.yml",
    "ci/later.yml",
    "{name}/later.yml",
    "seed/later.yml",
    "new dir/deep/x.yml",
    "later.log",  # ignored
    "scratch",  # ignored
    "lab/later.ipynb",
    "later.bin",
    ":odd*?.yml",
    "-dash'\"\\ é.yml",
    "script.sh/run.yml",  # a file becomes a folder
    "conf",  # a folder becomes a file
)
YOURS = (
    "conf/mine.yml",
    "mine.log",
    "forced.log",
    "mine\udcff.txt",
    "conf/later.yml/mine.txt",
    "later.bin/mine.txt",
    "new dir",
)
CONTENTS = (
    BLOCKS["j"].encode() * 3,
    b"",
    b"# no newline",
    b"# windows\r\n" * 3,
    b"\0 one",
    b"\0 two",
    notebook("one()"),
    notebook("one()", "two()"),
    b"caf\xe9\n# latin\n",  # last: Copier renders no such Jinja file
)
EVIL = (  # what git takes for its own folder, here or elsewhere
    ".git/hooks/post-index-change",
    ".git/hooks/pre-commit",
    ".GIT/config",
    "conf/.git/hooks/post-checkout",
    ".g\u200cit/config",
    "git~1/config",
    "conf/.git",
)
FLAGS = ("--assume-unchanged", "--skip-worktree")


def kinds(name: str, who: str) -> list[str]:
    """What somebody does to a file; the usual is repeated."""
    if name == ".gitignore":
        return ["ignore", "ignore", "delete"]
    if name in LATER + YOURS:
        return ["write"] * 5 + ["link", "mkdir"]
    if name in ("pyproject.toml", LOCK) and who == "theirs":
        return ["require"] * 8 + ["delete"]
    usual = {".ipynb": "notebook", ".bin": "write", ".toml": "require", ".txt": "require"}
    rare = ["delete", "rename", "mode", "write", "crlf", "link"]
    if who == "mine":
        rare += ["chop", "mkdir", "private", "lines", "mode", "crlf"]
    return [usual.get(PurePath(name).suffix, "lines")] * 16 + rare


def details(kind: str, name: str, who: str) -> st.SearchStrategy[tuple]:
    """How it is done, for World.edit."""
    own = [f"# {who} {n}\n".encode() for n in range(4)]
    odd = [b"# caf\xe9\n", b"# mixed\r\n"] if who == "mine" else []
    line = st.sampled_from([*BLOCKS["j"].encode().splitlines(True), b"# same\n", *own, *odd])
    rule = st.sampled_from([b"*.yml\n", b"/conf\n", b"*.bin\n", b"!later.log\n"])
    changes = ["source", "source", "source", "run", "insert", "drop", "indent"]
    changes += ["tag", "attach", "repeat", "kernel"]
    return {
        "lines": st.tuples(POSITION, st.integers(0, 3), st.lists(line, max_size=3).map(tuple)),
        "ignore": st.tuples(POSITION, st.integers(0, 1), st.tuples(rule)),
        "notebook": st.tuples(
            st.sampled_from(changes),
            st.integers(0, 4),
            st.sampled_from([f"{who}(1)", f"{who}(2)\nmore()", "same()"]),
        ),
        "require": st.tuples(
            st.sampled_from(["keras", "numpy", f"{who}-one", "pillow"]),
            st.sampled_from(["4.1", "5"]),
        ),
        "write": st.tuples(st.sampled_from(CONTENTS[:-1] if name in OWNED else CONTENTS)),
        "rename": st.tuples(st.sampled_from(LATER)),
        "link": st.tuples(st.sampled_from(["conf/a.yml", "nowhere", "conf"])),
    }.get(kind, st.just(()))


@st.composite
def edits(draw, names: list[str], who: str) -> list[Edit]:
    """What the template (`theirs`) or the user (`mine`) does to these files."""
    found = []
    for name in dict.fromkeys(names):
        few, many = name.endswith(".ipynb"), 1 if name in LATER else 3
        some = st.lists(st.sampled_from(kinds(name, who)), min_size=few, max_size=many)
        found += [Edit(kind, name, draw(details(kind, name, who))) for kind in draw(some)]
    return found


@st.composite
def pins(draw) -> tuple[list[Edit], list[Edit]]:
    """The template moves the pins of its hooks, and the user has a hook with a pin."""
    version = draw(st.sampled_from(["0.2", "0.3"]))
    template = [Edit("require", LOCK, ("ruff", version)), Edit("pin", HOOKS, ("ruff", version))]
    if draw(st.booleans()):
        template.append(Edit("pin", HOOKS, ("pre-commit-hooks", "6.1.0")))
    if draw(st.sampled_from([True, False, False])):
        template.append(Edit("lines", TOOL, (0, 0, (b"# a newer tool\n",))))
    user = [Edit("lines", HOOKS, (draw(st.sampled_from([9, 16])), 0, (OWN_HOOK,)))]
    mine = st.sampled_from(
        [
            Edit("require", "pyproject.toml", ("mine-one", "")),
            Edit("require", LOCK, ("mine-one", "4.1")),
            Edit("pin", HOOKS, ("ruff", "0.1.9")),
        ]
    )
    return template, user + draw(st.lists(mine, max_size=2, unique=True))


@st.composite
def worlds(draw) -> World:
    def some(names: tuple[str, ...], least: int, most: int) -> list[str]:
        return draw(st.lists(st.sampled_from(names), min_size=least, max_size=most, unique=True))

    scene, subjects = draw(scenes())
    names = some(TEXTS, 1, 3) + some(OTHERS, 0, 2) + some(SEEDS, 0, 2) + some(LATER, 1, 3)
    names += draw(st.sampled_from([["lab/check.ipynb"], ["lab/check.ipynb"], []]))
    names += draw(st.sampled_from([[], [], ["pyproject.toml", LOCK]]))
    names = [name for name in names if name not in subjects]
    answers = {"name": st.sampled_from(["ada", "bob"]), "ci": st.sampled_from(["github", "none"])}
    has, data = (
        draw(st.fixed_dictionaries(answers)),
        draw(st.fixed_dictionaries({}, optional=answers)),
    )
    relocated = Edit("relocate", "conf", ("moved",))
    noted = Edit("lines", ANSWERS, (draw(st.integers(0, 4)), 0, (b"# mine 1\n",)))
    odd = draw(st.sampled_from([[], [], [], [], [], [relocated], [noted]]))
    template, user = draw(edits(names, "theirs")), draw(edits(names + some(YOURS, 1, 3), "mine"))
    if draw(st.sampled_from([True, True, False, False, False])):
        data["name"] = "bob" if has["name"] == "ada" else "ada"
        user += draw(other_name())
    if draw(st.sampled_from([True, False, False])):
        theirs, mine = draw(pins())
        template, user = template + theirs, user + mine
    no_longer, newly = SEEDED[1:], (*SEEDED, "conf/b.yml")
    flagged = (*TEXTS, "README.md", "script.sh", "{name}/core.yml", "pyproject.toml")
    flagged += tuple({one.name: 1 for one in template + scene.template if one.kind == "lines"})
    flag = st.tuples(st.sampled_from(flagged[::-1]), st.sampled_from(FLAGS), st.booleans())
    rare = draw(st.integers(0, 19))  # one of these kinds, or none
    return World(
        texts={
            name: draw(st.text("jjs" if name in TEXTS else "jso", min_size=4, max_size=12))
            for name in TEXTS + OWNED
        },
        answers=has,
        template=template + scene.template,
        user=user + scene.user + odd,
        data=data,
        renames=scene.lines,
        seeded=draw(st.sampled_from([SEEDED, SEEDED, SEEDED, newly, no_longer])),
        evil=draw(st.sampled_from(EVIL)) if rare == 13 else "",
        asks=draw(st.booleans()),
        eol=draw(st.booleans()),
        strips=draw(st.sampled_from([False, False, True])),
        nested=draw(st.booleans()),
        history=draw(st.sampled_from([True, True, False])),
        modes=draw(st.sampled_from([True, True, True, True, False])),
        flag=draw(flag) if rare in (7, 11) else None,
        ending=draw(st.sampled_from(["abort", "commit", "edit", "abort"])),
    )
