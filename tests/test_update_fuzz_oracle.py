"""The random updates' oracle: what it expects of renames, pins and notebooks, in small examples."""

import json

import pytest
from fuzz import judge, locks, oracle
from fuzz.files import Entry, Files
from fuzz.notebooks import edit_notebook, illustrated, missing
from fuzz.renames import Renames, alike_pairs, by_answers, destinations, final, templates
from fuzz.world import HOOKS, OWN_HOOK, OWN_PIN, SEEDED, Project, seeded

ADA, BOB = {"name": "ada"}, {"name": "bob"}
LINES = "".join(f"line {n}\n" for n in range(9))
MINE, THEIRS = LINES.replace("line 1\n", "mine\n"), LINES.replace("line 7\n", "theirs\n")
MERGED = MINE.replace("line 7\n", "theirs\n")


def files(**texts: str) -> Files:
    return {
        name.replace("__", "/"): Entry("100644", text.encode(), 0o644)
        for name, text in texts.items()
    }


def project(base: Files, before: Files, theirs: Files, **renames: object) -> Project:
    return Project(None, base, before, theirs, SEEDED, set(), Renames(**renames))


def expected(project: Project) -> dict[str, tuple[str, str]]:
    """What becomes of each path, and its text, where something does."""
    return {
        name: (outs[0].what, outs[0].entry.data.decode() if outs[0].entry else None)
        for name, outs in oracle.plan(project).outcomes.items()
    }


@pytest.mark.parametrize(
    ("lines", "name", "target"),
    [
        ([("a", "b")], "a", "b"),
        ([("a", "b")], "x", None),
        ([("a", "b"), ("b", "c")], "a", "c"),
        ([("b", "c"), ("a", "b")], "a", "b"),
        ([("d/", "e/")], "d/x/y", "e/x/y"),
        ([("d/", "e/"), ("e/x", "f")], "d/x", "f"),
        ([("{name}/a", "{name}/b")], "ada/a", "bob/b"),
        ([("{name}/a", "{name}/b"), ("{name}/b", "c/{name}")], "ada/a", "c/bob"),
    ],
)
def test_a_line_of_renames_txt_leads_to_the_final_name(lines, name, target):
    assert final(lines, name, ADA, BOB) == target


@pytest.mark.parametrize(
    ("base", "theirs", "applies"),
    [
        (files(a="", x=""), files(b=""), True),
        (files(a=""), files(a="", b=""), True),  # a shim
        (files(a="", b=""), files(b=""), False),
        (files(a=""), files(c=""), False),
    ],
)
def test_a_line_applies_between_releases_that_differ_by_it(base, theirs, applies):
    found = templates(base, theirs, [("a", "b")], ADA, {})
    assert found.moves == ({"a": "b"} if applies else {})


def test_an_answer_renames_what_the_new_release_has_no_longer():
    base = files(ada__a="", ada__b="", c="")
    assert by_answers(base, files(bob__a="", ada__b="", c=""), ADA, BOB) == {"ada/a": "bob/a"}
    assert by_answers(base, base, ADA, ADA) == {}


def test_own_files_go_with_a_folder_that_moves_as_a_whole():
    base, bob = files(ada__a="", ada__b="", c=""), files(bob__a="", bob__b="", c="")
    whole = Renames(answers={"ada/a": "bob/a", "ada/b": "bob/b"}, answer=("ada", "bob"))
    assert destinations("ada/x/mine", base, bob, whole) == (["bob/x/mine"], True)
    assert destinations("mine", base, bob, whole) == ([], False)
    half = whole._replace(answers={"ada/a": "bob/a"}, lines={"ada/b": "x/b"})
    assert destinations("ada/mine", base, files(bob__a="", x__b=""), half) == (["bob/mine"], False)
    new, lines = files(src__ada__a="", src__ada__b="", c=""), [("ada/", "src/ada/")]
    folder = templates(base, new, lines, ADA, {})
    assert destinations("ada/mine", base, new, folder) == (["src/ada/mine"], True)


def test_git_sees_similar_files_and_no_others():
    assert alike_pairs(files(a=LINES, b="x\n"), files(c=MINE, b="x\n")) == {"a": "c"}
    assert alike_pairs(files(a=LINES), files(c="other\n" * 9)) == {}


RENAMED = {"lines": {"a": "b"}}
CASES = {
    "an edit moves to the template's new name": (
        project(files(a=LINES), files(a=MINE), files(b=THEIRS), **RENAMED),
        {"a": (oracle.GONE, None), "b": (oracle.MERGED, MERGED)},
    ),
    "a file without a change moves": (
        project(files(a=LINES), files(a=MINE), files(b=LINES), **RENAMED),
        {"a": (oracle.GONE, None), "b": (oracle.MOVED, MINE)},
    ),
    "a new file takes the old name": (
        project(files(a=LINES), files(a=MINE), files(a="shim\n", b=THEIRS), **RENAMED),
        {"a": (oracle.FRESH, "shim\n"), "b": (oracle.MERGED, MERGED)},
    ),
    "the user's own file has the new name": (
        project(files(a=LINES), files(a=MINE, b="own\n"), files(b=THEIRS), **RENAMED),
        {"a": (oracle.STUCK, MINE), "b": (oracle.BLOCKED, "own\n")},
    ),
    "the user's own file has the name of the new folder": (
        project(files(a=LINES), files(a=MINE, b="own\n"), files(b__c=THEIRS), lines={"a": "b/c"}),
        {"a": (oracle.STUCK, MINE), "b": (oracle.OWN, "own\n"), "b/c": (oracle.BLOCKED, None)},
    ),
    "the user deleted it": (
        project(files(a=LINES), {}, files(b=THEIRS), **RENAMED),
        {"a": (oracle.GONE, None), "b": (oracle.DELETED, None)},
    ),
    "the user renamed it": (
        project(files(a=LINES), files(u=MINE), files(a=THEIRS), certain={"a": "u"}),
        {"a": (oracle.GONE, None), "u": (oracle.FOLLOWED, MERGED)},
    ),
    "both renamed it to the same name": (
        project(files(a=LINES), files(b=MINE), files(b=THEIRS), certain={"a": "b"}, **RENAMED),
        {"a": (oracle.GONE, None), "b": (oracle.MERGED, MERGED)},
    ),
    "both renamed it to different names": (
        project(files(a=LINES), files(u=MINE), files(b=THEIRS), certain={"a": "u"}, **RENAMED),
        {
            "a": (oracle.GONE, None),
            "b": (oracle.GONE, None),
            "u": (oracle.RENAMED_TWICE, MERGED),
        },
    ),
    "a seeded file moves as it is": (
        project(
            files(seed__a=LINES),
            files(seed__a=MINE),
            files(seed__b="x"),
            lines={"seed/a": "seed/b"},
        ),
        {"seed/a": (oracle.GONE, None), "seed/b": (oracle.MOVED, MINE)},
    ),
    "own files move with their folder": (
        project(
            files(ada__a=LINES),
            files(ada__a=LINES, ada__x="own\n"),
            files(bob__a=LINES),
            answers={"ada/a": "bob/a"},
            answer=("ada", "bob"),
        ),
        {
            "ada/a": (oracle.GONE, None),
            "ada/x": (oracle.GONE, None),
            "bob/a": (oracle.MOVED, LINES),
            "bob/x": (oracle.MOVED, "own\n"),
        },
    ),
    "own files move with their folder to where a file goes": (
        project(
            files(ada__a=LINES, b=LINES),
            files(ada__a=LINES, ada__b__x="own\n", b=LINES),
            files(bob__a=LINES, bob__b=LINES),
            answers={"ada/a": "bob/a"},
            lines={"b": "bob/b"},
            answer=("ada", "bob"),
        ),
        {
            "ada/a": (oracle.GONE, None),
            "ada/b/x": (oracle.STUCK, "own\n"),
            "b": (oracle.STUCK, LINES),
            "bob/a": (oracle.MOVED, LINES),
            "bob/b": (oracle.BLOCKED, None),
            "bob/b/x": (oracle.BLOCKED, None),
        },
    ),
    "the user gave a file the name of a new seeded one": (
        project(files(a=LINES), files(seed__x=LINES), files(seed__x="x"), certain={"a": "seed/x"}),
        {"a": (oracle.GONE, None), "seed/x": (oracle.SEEDED, LINES)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_oracle_follows_renames(case):
    here, outcomes = CASES[case]
    assert expected(here) == outcomes


def test_the_oracle_sees_an_edit_in_the_wrong_file():
    here, _ = CASES["an edit moves to the template's new name"]
    plan = oracle.plan(here)

    def findings(after: Files) -> set[str]:
        found = judge.judge_tree(here, judge.choose(plan, after, {}), after, {})
        found += judge.lost(here, plan, after, {}, "")
        return {line.split(" ")[0] for line in found}

    assert findings(files(b=MERGED)) == set()
    assert findings(files(b=THEIRS)) == {"b", "a"}  # wrong, and lost
    assert findings(files(a=MINE, b=THEIRS)) == {"a", "b"}
    assert findings(files(b=MERGED, c=MINE)) == {"c"}


def test_a_file_that_looks_alike_may_be_a_renamed_one():
    here = project(files(a=LINES), files(u=MINE), files(a=THEIRS), chance=frozenset({("a", "u")}))
    outs = [(one.what, one.entry.data.decode()) for one in oracle.plan(here).outcomes["u"]]
    assert outs == [(oracle.OWN, MINE), (oracle.FOLLOWED, MERGED)]


def test_pins_of_the_user_stay_and_those_of_the_template_win():
    base, theirs = b"- ruff==0.1\n", b"- ruff==0.2\n"
    yours = base + OWN_HOOK
    entries = [Entry("100644", text) for text in (base, yours, theirs)]
    found = oracle.merge(HOOKS, *entries)
    assert (found.what, found.entry.data) == (oracle.MERGED, theirs + OWN_HOOK)
    assert not locks.lost_pin({HOOKS: entries[1]}, {HOOKS: found.entry})
    changed = found.entry._replace(data=found.entry.data.replace(OWN_PIN.encode(), b"numpy==2.1"))
    assert locks.lost_pin({HOOKS: entries[1]}, {HOOKS: changed})


def test_a_hash_has_no_pin():
    lock = b"a==1 \\\n    --hash=sha256:a1"
    assert locks.pins(lock + b"b==2\n") == {b"a": b"1"}
    assert locks.pins(lock + b"\nb==2\n") == {b"a": b"1", b"b": b"2"}


def test_a_version_that_the_user_gave_a_hook_stays():
    texts = (b"- ruff==0.1\n- x==1\n", b"- ruff==0.1.9\n- x==1\n", b"- ruff==0.2\n- x==2\n")
    found = oracle.merge(HOOKS, *(Entry("100644", text) for text in texts))
    assert (found.what, found.entry.data) == (oracle.MERGED, b"- ruff==0.1.9\n- x==2\n")


@pytest.mark.parametrize("what", ["attach", "tag", "repeat", "source", "insert", "kernel", "run"])
def test_the_oracle_sees_what_a_merged_notebook_lacks(what):
    base = illustrated("a()\nsame", "b()")
    at = 0 if what == "attach" else 1
    yours = edit_notebook(base, what, at, "mine()")
    theirs = edit_notebook(base, "source", 2, "theirs()")
    assert missing(theirs, base, yours, theirs)
    assert not missing(edit_notebook(yours, "source", -1, "theirs()"), base, yours, theirs)
    assert not missing(yours, base, yours, base)


def test_a_notebook_in_conflict_has_markers_where_a_line_begins():
    texts = [illustrated(source) for source in ("a()", "mine()", "theirs()")]
    outcome = oracle.merge("x.ipynb", *(Entry("100644", text) for text in texts))
    assert outcome.what == oracle.NOTEBOOK
    lines = texts[1:]
    marked = Entry("100644", b"<<<<<<< yours\n%s=======\n%s>>>>>>> template\n" % (*lines,))
    cells = json.loads(texts[1])
    cells["cells"][1]["source"] = ["<<<<<<< yours\n", "mine()\n", "=======\n", "theirs()\n"]
    assert judge.fits(outcome, marked, unmerged=True)
    assert not judge.fits(outcome, marked, unmerged=False)
    inside = Entry("100644", json.dumps(cells, indent=1).encode())
    assert not judge.fits(outcome, inside, unmerged=True)


def test_patterns_of_seeded_files():
    assert seeded("seed/x", SEEDED)
    assert seeded("src/ada/start.yml", SEEDED)
    assert not seeded("conf/seed/x", SEEDED)
    assert not seeded("conf/a.yml", SEEDED)
