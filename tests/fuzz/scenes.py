"""Renames that Hypothesis draws: what the template and the user do to one file, and in which order.

A scene is the template's edits, the user's edits and the lines of renames.txt.
"""

from pathlib import PurePath
from typing import NamedTuple

from hypothesis import strategies as st

from .actions import Edit
from .notebooks import notebook
from .renames import Lines

SUBJECTS = (
    *("conf/a.yml", "conf/b.yml", "{name}/core.yml", "script.sh"),
    *("ci/build.yml", "with space.yml", "ünï [x].yml", "plain.dat", "README.md"),
    *("logo.bin", "lab/check.ipynb", "seed/model.yml", "seed/start.ipynb", "{name}/start.yml"),
)
WHO = ("theirs", "theirs", "mine", "mine", "both alike", "both", "both", "blocked")
POSITION = st.integers(0, 50)


class Scene(NamedTuple):
    template: list[Edit]
    user: list[Edit]
    lines: Lines


def places(name: str, who: str) -> list[str]:
    """Where somebody may move a file."""
    base = PurePath(name).name
    if base == "start.yml":
        return [f"{who}/start.yml", f"{{name}}/{who}/start.yml"]
    if name.startswith("seed/") and who == "new":
        return [f"seed/new {base}"]
    found = [f"{who}/{base}", f"conf/{who} {base}", f"{who} dir/ü {base}", f"{{name}}/{who}/{base}"]
    if PurePath(name).suffix == ".yml" and who == "new" and "{" not in name:
        found.append(f"new/{PurePath(name).stem}.log")  # git ignores it
    return found


def small(name: str, who: str) -> st.SearchStrategy[Edit]:
    """A change after which the file still looks like the one before."""
    suffix = PurePath(name).suffix
    if suffix == ".bin":
        return st.just(Edit("mode", name))
    if suffix == ".ipynb":
        what = st.sampled_from(["source", "insert", "tag", "attach", "run", "repeat"])
        text = st.sampled_from([f"{who}(1)", f"{who}(2)\nmore()"])
        return st.builds(lambda *d: Edit("notebook", name, d), what, st.integers(0, 4), text)
    line = st.sampled_from([f"# {who} {n}\n".encode() for n in range(3)])
    lines = st.builds(lambda at, one: Edit("lines", name, (at, 0, (one,))), POSITION, line)
    return st.one_of(lines, lines, lines, st.just(Edit("mode", name)))


def large(name: str, who: str) -> st.SearchStrategy[Edit]:
    """A change after which the file no longer looks like the one before."""
    suffix = PurePath(name).suffix
    if suffix == ".bin":
        return st.just(Edit("write", name, (b"\0" + who.encode() * 40,)))
    if suffix == ".ipynb":
        return st.just(Edit("write", name, (notebook(*[f"{who}({n})" for n in range(9)]),)))
    many = tuple(f"# {who} wrote line {n} here, of many\n".encode() for n in range(60))
    added = st.builds(lambda at: Edit("lines", name, (at, 0, many)), POSITION)
    return st.one_of(added, added, st.just(Edit("write", name, (b"".join(many),))))


@st.composite
def changes(draw, name: str, who: str) -> list[Edit]:
    how = draw(st.sampled_from(["none", "small", "small", "small", "large", "large"]))
    if how == "none":
        return []
    return [draw({"small": small, "large": large}[how](name, who))]


@st.composite
def template_renames(draw, name: str) -> tuple[Scene, str]:
    """A rename that renames.txt declares, perhaps in two steps or with the whole folder."""
    folder = PurePath(name).parent.as_posix()
    if folder in ("conf", "{name}") and draw(st.sampled_from([True, False, False])):
        right = f"src/{folder}"
        edits, lines = [Edit("folder", folder, (right,))], [(f"{folder}/", f"{right}/")]
        target = right + name[len(folder) :]
    else:
        target = draw(st.sampled_from(places(name, "new")))
        edits, lines = [Edit("rename", name, (target,))], [(name, target)]
    if not name.startswith(("seed/", "ci/")) and draw(st.sampled_from([True, False, False])):
        last = f"{PurePath(target).parent}/newer {PurePath(target).name}"
        edits.append(Edit("rename", target, (last,)))
        lines.append((target, last))
        target = last
    edits += draw(changes(target, "theirs"))
    if draw(st.sampled_from([True, False, False, False])) and "seed" not in name:
        shim = b"# moved: see the new file\n" * (not name.endswith(".ipynb"))
        edits.append(Edit("write", name, (shim or notebook("moved()"),)))
    return Scene(edits, [], lines), target


@st.composite
def user_renames(draw, name: str, target: str) -> list[Edit]:
    """A rename by the user: in a commit of its own, with an edit, or twice."""
    how = draw(st.sampled_from(["alone", "alone", "twice", "with an edit"]))
    if how == "with an edit":
        return [draw(small(name, "mine")), Edit("rename", name, (target,))]
    edits = draw(st.sampled_from([[], [draw(small(name, "mine"))]]))
    if how == "twice":
        middle = f"{PurePath(target).parent}/on its way {PurePath(target).name}"
        edits += [Edit("move", name, (middle,)), Edit("move", middle, (target,))]
    else:
        edits.append(Edit("move", name, (target,)))
    return edits + draw(changes(target, "mine"))


@st.composite
def renamed(draw, name: str) -> Scene:
    """What becomes of one file on both sides."""
    who = draw(st.sampled_from(WHO))
    template, target = draw(template_renames(name))
    if who == "mine":
        template = Scene(draw(changes(name, "theirs")), [], [])
    if who in ("theirs", "blocked"):
        user = draw(changes(name, "mine"))
    else:
        mine = target if who == "both alike" else draw(st.sampled_from(places(name, "mine")))
        user = draw(user_renames(name, mine))
    if who == "blocked":
        inside = draw(st.sampled_from(["", "", "/mine.txt"]))
        user.append(Edit("write", target + inside, (b"# my own file\n",)))
    return template._replace(user=user)


@st.composite
def scenes(draw) -> tuple[Scene, list[str]]:
    """Renames of some files, and the files that they are about."""
    most = draw(st.sampled_from([0, 1, 1, 2, 2, 2]))
    names = draw(st.lists(st.sampled_from(SUBJECTS), min_size=most, max_size=most, unique=True))
    found = [draw(renamed(name)) for name in names]
    folders = {left for scene in found for left, _ in scene.lines if left.endswith("/")}
    if len(names) > 1 and folders:  # a file line before the folder's, for the same folder
        found, names = found[:1], names[:1]
    template = [edit for scene in found for edit in scene.template]
    user = [edit for scene in found for edit in scene.user]
    return Scene(template, user, [line for scene in found for line in scene.lines]), names


@st.composite
def other_name(draw) -> list[Edit]:
    """The user's own files in a folder that has an answer as its name."""
    own = st.sampled_from(["{name}/mine.yml", "{name}/deep/mine.bin", "{name}/mine.log"])
    names = draw(st.lists(own, min_size=1, max_size=2, unique=True))
    return [Edit("write", name, (f"my own {name}\n".encode(),)) for name in names]
