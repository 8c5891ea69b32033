"""What Hypothesis draws: a world of few lines and few names, so that the two sides meet."""

from pathlib import PurePath

from hypothesis import strategies as st

from .world import ANSWERS, BLOCKS, LOCK, SEEDED, Edit, World, notebook

TEXTS = ("conf/a.yml", "conf/b.yml", "ci/build.yml", "with space.yml", "ünï [x].yml", "plain.dat")
OWNED = ("README.md", "{name}/core.yml")  # hold the answer
OTHERS = (*OWNED, "script.sh", "logo.bin", "link", ".gitignore")
SEEDS = ("seed/model.yml", "seed/start.ipynb", "seed/logo.bin", LOCK)
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
POSITION = st.integers(0, 50)


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
def worlds(draw) -> World:
    def some(names: tuple[str, ...], least: int, most: int) -> list[str]:
        return draw(st.lists(st.sampled_from(names), min_size=least, max_size=most, unique=True))

    names = some(TEXTS, 1, 4) + some(OTHERS, 0, 2) + some(SEEDS, 0, 2) + some(LATER, 1, 4)
    names += draw(st.sampled_from([["lab/check.ipynb"], ["lab/check.ipynb"], []]))
    names += draw(st.sampled_from([[], [], ["pyproject.toml", LOCK]]))
    answers = {"name": st.sampled_from(["ada", "bob"]), "ci": st.sampled_from(["github", "none"])}
    relocated = Edit("relocate", "conf", ("moved",))
    noted = Edit("lines", ANSWERS, (draw(st.integers(0, 4)), 0, (b"# mine 1\n",)))
    odd = draw(st.sampled_from([[], [], [], [], [], [relocated], [noted]]))
    no_longer, newly = SEEDED[1:], (*SEEDED, "conf/b.yml")
    return World(
        texts={
            name: draw(st.text("jjs" if name in TEXTS else "jso", min_size=4, max_size=12))
            for name in TEXTS + OWNED
        },
        answers=draw(st.fixed_dictionaries(answers)),
        template=draw(edits(names, "theirs")),
        user=draw(edits(names + some(YOURS, 1, 3), "mine")) + odd,
        data=draw(st.fixed_dictionaries({}, optional=answers)),
        seeded=draw(st.sampled_from([SEEDED, SEEDED, SEEDED, newly, no_longer])),
        asks=draw(st.booleans()),
        eol=draw(st.booleans()),
        strips=draw(st.booleans()),
        nested=draw(st.booleans()),
        ending=draw(st.sampled_from(["abort", "commit", "edit", "abort"])),
    )
