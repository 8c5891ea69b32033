"""docs/maintaining.md: its commands are run, and a small template renames as it says."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import guards
import pytest
import yaml
from conftest import ROOT, SOURCE, commit, git, isolate
from releases import NEXT, read_releases

GUIDE = (ROOT / "docs/maintaining.md").read_text()
FORK, MERGE, MOVE, _, RELEASE = re.findall(r"^```sh\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)
[RENAME] = re.findall(r"^```text\n(.*?)\n```$", GUIDE, re.DOTALL | re.MULTILINE)
TOMBSTONE, QUESTION, LABEL, ASK_ANEW, SEEDED = BLOCKS
UPSTREAM, FORKED = re.findall(r"https://github.com/\S+\.git", FORK)
THEIRS, OURS = (
    url.removeprefix("https://github.com/")[: -len(".git")] for url in (UPSTREAM, FORKED)
)
TOOL = ROOT / "template/tools/update.py"
OLDEST = next(iter(read_releases()))

ANSWERS = guards.ANSWERS_FILE
SETTINGS = "_subdirectory: template\n_envops: {undefined: jinja2.StrictUndefined}\n"
START = {"template/{{_copier_conf.answers_file}}.jinja": "{{ _copier_answers | to_nice_yaml -}}\n"}


def shell(commands: str, cwd: Path) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    line = ["sh", "-ec", commands]
    env = {**os.environ, "PATH": path}
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True)


def update(project: Path, command: str) -> subprocess.CompletedProcess:
    """Run `copier update` or the safe update, as the guide's reader does."""
    command = command.replace("nox -s update", f"python '{TOOL}'")
    return shell(command.replace("copier", "python -m copier"), project)


def test_the_guide_names_every_guard():
    table = GUIDE.partition("## What must never be done")[2].partition("\n## ")[0]
    named = re.findall(r"\| `(\w+)` \|$", table, re.MULTILINE)
    every = (*guards.OF_ONE, *guards.OF_TWO, guards.wrong_record)
    assert sorted(named) == sorted(guard.__name__ for guard in every)


# A fork


@pytest.fixture
def forked(history, tmp_path) -> Path:
    """What the guide's commands make of a clone; the servers are folders."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "server.git")
    if (here := SOURCE.removeprefix("gh:")) != THEIRS:  # this is a fork: play what it came from
        for name in git(history, "grep", "-l", here, "--", ":!docs/maintaining.md").splitlines():
            (history / name).write_text((history / name).read_text().replace(here, THEIRS))
        commit(history)
        git(history, "tag", "--force", NEXT)
    with (tmp_path / "home/gitconfig").open("w") as config:
        config.write("[user]\n\tname = Ada\n\temail = ada@example.org\n")
        for url, folder in ((UPSTREAM, history), (FORKED, tmp_path / "server.git")):
            config.write(f'[url "{folder.as_uri()}"]\n\tinsteadOf = {url}\n')
    (tmp_path / "work").mkdir()
    done = shell(FORK, tmp_path / "work")
    assert done.returncode == 0, done.stderr
    return tmp_path / "work" / Path(UPSTREAM).stem


@pytest.fixture
def project(forked, copier, tmp_path) -> Path:
    """A project of the oldest release, made before there was a fork."""
    oldest = f"--vcs-ref={OLDEST}"
    made = copier("copy", "--defaults", oldest, f"gh:{THEIRS}", tmp_path / "project")
    assert made.returncode == 0, made.stderr
    commit(tmp_path / "project")
    return tmp_path / "project"


def test_a_fork_has_the_history_and_its_own_address(forked, tmp_path):
    server = tmp_path / "server.git"
    assert set(git(server, "tag").split()) == {*read_releases(), NEXT}
    assert git(server, "rev-parse", "main") == git(forked, "rev-parse", "HEAD")
    files = [forked / name for name in git(forked, "grep", "-l", OURS).splitlines()]
    assert forked / "copier.yml" in files
    for path in set(files) - {forked / "docs/maintaining.md"}:
        assert not re.search(rf"(?<!-){THEIRS}", path.read_text()), path
    assert git(forked, "status", "--porcelain") == ""


@pytest.mark.parametrize("command", ["copier update --defaults", "nox -s update"])
def test_a_project_moves_to_the_fork(forked, project, command):
    release = f"{NEXT}.post1"  # above NEXT, as the guide says
    git(forked, "tag", release)
    git(forked, "push", "--quiet", "origin", release)
    move, _, last = MOVE.strip().rpartition("\n")
    assert last == "nox -s update"
    assert shell(move, project).returncode == 0
    done = update(project, command)
    assert done.returncode == 0, done.stderr
    answers = yaml.safe_load((project / ANSWERS).read_text())
    assert answers["_src_path"] == f"gh:{OURS}"
    assert answers["_commit"] == release
    assert OURS in (project / "README.md").read_text()
    assert git(project, "diff", "--name-only", "--diff-filter=U") == ""


@pytest.mark.parametrize("command", ["copier update --defaults", "nox -s update"])
def test_a_fork_without_tags_is_told(forked, project, tmp_path, command):
    git(tmp_path / "server.git", "tag", "--delete", OLDEST)
    assert shell(MOVE.strip().rpartition("\n")[0], project).returncode == 0
    done = update(project, command)
    assert done.returncode == 1
    assert OLDEST in done.stderr
    assert git(project, "status", "--porcelain") == ""


def test_a_fork_takes_over_a_later_release(forked, history):
    later = "v2000.0.0"
    (history / "template/later.txt").write_text("later\n")
    commit(history, tag=later)
    done = shell(MERGE.replace("v0.4.0", later), forked)
    assert done.returncode == 0, done.stderr
    assert (forked / "template/later.txt").exists()
    assert git(forked, "tag", "--list", later)


# A release


@pytest.fixture
def scratch(history, tmp_path) -> Path:
    """A clone that is ready to be released as v999.0.0, with a short test in the guards' place."""
    git(tmp_path, "init", "--quiet", "--bare", "--initial-branch=main", "server.git")
    git(history, "remote", "add", "origin", str(tmp_path / "server.git"))
    (history / "tests/test_guards.py").write_text("def test_guards():\n    assert True\n")
    section = "## v999.0.0 - 2026-01-31\n\n### Updating from v0.1.0\nNo conflicts.\n\n##"
    text = (history / "CHANGELOG.md").read_text().replace("## Unreleased\n\n", "")
    text = re.sub("^##", section, text, count=1, flags=re.MULTILINE)
    (history / "CHANGELOG.md").write_text(text)
    commit(history)
    return history


def release(folder: Path, commands: str) -> subprocess.CompletedProcess:
    return shell(commands.replace("nox -s release --", "python tools/release.py"), folder)


def test_a_release_is_tagged_recorded_and_pushed(scratch, tmp_path):
    head, before = git(scratch, "rev-parse", "HEAD").strip(), read_releases(scratch)
    done = release(scratch, RELEASE.replace("v0.4.0", "v999.0.0"))
    assert done.returncode == 0, done.stdout + done.stderr
    record = read_releases(scratch)
    assert record == before | {"v999.0.0": head}
    server = tmp_path / "server.git"
    assert git(server, "rev-parse", "v999.0.0^{commit}").strip() == head
    assert git(server, "log", "--format=%s", "-2", "main") == "Record v999.0.0\nWork\n"
    assert git(scratch, "status", "--porcelain") == ""
    assert guards.wrong_record(record, (scratch / "CHANGELOG.md").read_text(), scratch) == []


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        ("", "name the version"),
        ("0.4.0", "0.4.0 is not a version"),
        ("v998.0.0", "no section ## v998.0.0"),
        (OLDEST, f"a section above ## {OLDEST}"),
    ],
)
def test_a_wrong_version_is_not_released(files, version, reason):
    done = release(files, f"nox -s release -- {version}")  # a folder without git
    assert done.returncode == 1
    assert reason in done.stderr


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("sed -i.bak s/v999.0.0/v0.0.9/ CHANGELOG.md", "v0.0.9 is not above"),
        ("git tag v999.0.0 HEAD~", "There is a tag v999.0.0 already"),
        ("touch new.txt", "not committed"),
        ("git switch --quiet --detach", "HEAD is on no branch"),
        ("echo 'assert 0' > tests/test_guards.py; git commit -qam Bad", "guards have complaints"),
        ("printf 'exit 1' > .git/hooks/pre-commit; chmod +x .git/hooks/*", "git commit failed"),
    ],
)
def test_what_is_not_ready_is_not_released(scratch, spoil, reason):
    shell(spoil, scratch)
    before = git(scratch, "rev-parse", "HEAD"), git(scratch, "tag"), read_releases(scratch)
    version = "v0.0.9" if "v0.0.9" in spoil else "v999.0.0"
    done = release(scratch, f"nox -s release -- {version}")
    assert done.returncode == 1
    assert reason in done.stderr
    after = git(scratch, "rev-parse", "HEAD"), git(scratch, "tag"), read_releases(scratch)
    assert after == before


# Names that change

PLAIN, SAFE = "copier update --defaults", "nox -s update"


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Release two versions of a small template, and make a project of the first with edits."""

    def run(first: dict, second: dict, edits: dict | None = None, **given: str) -> Path:
        template, project = tmp_path / "template", tmp_path / "project"
        isolate(monkeypatch, tmp_path / "home", template)
        for version, files in (("v1.0.0", first), ("v2.0.0", second)):
            folder = write(tmp_path / version, START | files)
            if template.exists():
                git(template, "rm", "-r", "--quiet", ".")
            shutil.copytree(folder, template, dirs_exist_ok=True)
            commit(template, tag=version)
        rendered = guards.render(tmp_path / "v1.0.0", given)
        texts = {name: data.decode() for name, (_, data) in rendered.items()} | (edits or {})
        source = f"_commit: v1.0.0\n_src_path: {SOURCE}\n"
        texts[ANSWERS] = re.sub(r"_src_path.*\n", source, texts[ANSWERS])
        commit(write(project, {name: text for name, text in texts.items() if text is not None}))
        return project

    return run


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def complaints(folder: Path) -> list[str]:
    notes = "### Changed\n* Names."
    versions = folder / "v1.0.0", folder / "v2.0.0"
    return [line for guard in guards.OF_TWO for line in guard(*versions, notes)]


def contents(project: Path) -> dict[str, str]:
    return {
        path.relative_to(project).as_posix(): path.read_text()
        for path in project.rglob("*")
        if path.is_file() and ".git" not in path.parts and path.name != ANSWERS
    }


def answers(project: Path) -> dict:
    stored = yaml.safe_load((project / ANSWERS).read_text())
    return {name: stored[name] for name in stored if not name.startswith("_")}


OLD, NEW = RENAME.split(" -> ")
UNTOUCHED, DELETED = "tools/untouched.py", "tools/deleted.py"
LINES = "".join(f"line {number}\n" for number in range(9))


@pytest.mark.parametrize(
    ("command", "tombstone", "left"),
    [
        (PLAIN, True, {OLD: LINES + "mine\n", UNTOUCHED: "old\n", NEW: "new\n" + LINES}),
        (PLAIN, False, {NEW: "new\n" + LINES}),
        (SAFE, True, {NEW: "new\n" + LINES + "mine\n"}),
        (SAFE, False, {NEW: "new\n" + LINES + "mine\n"}),
    ],
)
def test_a_file_gets_another_name(make, tmp_path, command, tombstone, left):
    olds = {OLD: LINES, UNTOUCHED: "old\n", DELETED: "old\n"}
    [entry] = yaml.safe_load(TOMBSTONE)["_exclude"]
    assert entry == f"/{OLD}"
    more = "".join(TOMBSTONE.splitlines(True)[1].replace(OLD, name) for name in olds if name != OLD)
    first = {"copier.yml": SETTINGS} | {f"template/{name}": text for name, text in olds.items()}
    settings = SETTINGS + (TOMBSTONE + more) * tombstone
    second = {"copier.yml": settings, f"template/{NEW}": "new\n" + LINES}
    second["renames.txt"] = RENAME + "\n"
    project = make(first, second, {OLD: LINES + "mine\n", DELETED: None})
    done = update(project, command)
    assert done.returncode == 0, done.stderr
    assert contents(project) == left
    if command == SAFE:
        assert f"merged    {NEW}  (was {OLD})" in done.stdout
    assert len(complaints(tmp_path)) == (0 if tombstone else 3)


def test_a_rename_that_is_not_declared_is_a_complaint(make, tmp_path):
    first = {"copier.yml": SETTINGS, f"template/{OLD}": LINES}
    make(first, {"copier.yml": SETTINGS + TOMBSTONE, f"template/{NEW}": LINES}, {})
    [complaint] = complaints(tmp_path)
    assert f"add `{RENAME}` to renames.txt" in complaint


@pytest.mark.parametrize("command", [PLAIN, SAFE])
def test_edits_move_with_a_file_that_is_renamed_first(make, command):
    lines = [f"line {number}\n" for number in range(9)]
    first = {"copier.yml": SETTINGS, f"template/{OLD}": "".join(lines)}
    text = "".join([*lines, "new\n"])
    second = {"copier.yml": SETTINGS + TOMBSTONE, f"template/{NEW}": text}
    project = make(first, second, {OLD: "mine\n" + "".join(lines)})
    assert shell(f"git mv {OLD} {NEW}; git commit -qm Rename", project).returncode == 0
    assert update(project, command).returncode in (0, 2)
    assert contents(project).keys() == {NEW}
    assert {"mine", "new"} <= set(contents(project)[NEW].splitlines())


OWNER = "owner: {type: str, help: Who, default: Ada, validator: ''}\n"
CHOICE = (
    "framework: {type: str, help: What, default: jax, choices: [jax, tensorflow], validator: ''}\n"
)


@pytest.mark.parametrize("command", [PLAIN, f"{PLAIN} --skip-answered", SAFE])
def test_a_question_and_a_label_get_another_name(make, tmp_path, command):
    first = {"copier.yml": SETTINGS + OWNER + CHOICE}
    second = {"copier.yml": SETTINGS + QUESTION + LABEL, "template/team.jinja": "{{ team }}\n"}
    project = make(first, second, owner="Zoë", framework="tensorflow")
    done = update(project, command)
    assert done.returncode == 0, done.stderr
    assert answers(project) == {"team": "Zoë", "framework": "tensorflow"}
    assert contents(project) == {"team": "Zoë\n"}
    assert complaints(tmp_path) == []


@pytest.mark.parametrize("command", [PLAIN, SAFE])
def test_a_choice_gets_another_word(make, tmp_path, command):
    first, second = {"copier.yml": SETTINGS + CHOICE}, {"copier.yml": SETTINGS + ASK_ANEW}
    project = make(first, second, framework="tensorflow")
    done = update(project, command)
    assert done.returncode == 0, done.stderr
    assert answers(project) == {"backend": "tf"}
    assert complaints(tmp_path) == []


@pytest.mark.parametrize("command", [PLAIN, SAFE])
def test_an_answer_that_the_new_question_refuses_stops_the_update(make, command):
    refuses = QUESTION.replace("not team", "team == 'Zoë'")
    first, second = {"copier.yml": SETTINGS + OWNER}, {"copier.yml": SETTINGS + refuses}
    project = make(first, second, owner="Zoë")
    done = update(project, command)
    assert done.returncode == 1
    assert "'team': Type a name." in done.stderr
    assert answers(project) == {"owner": "Zoë"}


def test_copier_settings_win_over_an_old_answer(make, tmp_path):
    first, second = {"copier.yml": SETTINGS + OWNER}, {"copier.yml": SETTINGS + QUESTION}
    project = make(first, second, owner="Zoë")
    (tmp_path / "home/settings.yml").write_text("defaults: {team: Ada}\n")
    assert update(project, PLAIN).returncode == 0
    assert answers(project) == {"team": "Ada"}


def test_a_choice_is_not_translated_under_its_own_name(make):
    changed = ASK_ANEW.replace("backend", "framework")
    first, second = {"copier.yml": SETTINGS + CHOICE}, {"copier.yml": SETTINGS + changed}
    project = make(first, second, framework="tensorflow")
    done = update(project, SAFE)
    assert done.returncode == 1
    assert "does not take your answer framework: tensorflow" in done.stderr
    assert update(project, PLAIN).returncode == 0
    assert answers(project) == {"framework": "tf"}


@pytest.mark.parametrize("tombstone", [True, False])
@pytest.mark.parametrize("command", [PLAIN, SAFE])
def test_a_seeded_file_gets_a_new_version(make, tmp_path, command, tombstone):
    package = "package_name: {type: str, help: Name, default: cats, validator: ''}\n"
    seeded = yaml.safe_load(SEEDED)
    if not tombstone:
        del seeded["_exclude"]
    for listed in seeded.values():  # the same for a file that nobody edits
        listed += [line.replace("model", "data") for line in listed]
    source = "template/src/{{ package_name }}"
    first = {
        "copier.yml": f"{SETTINGS}_skip_if_exists: [src/*/model.py, src/*/data.py]\n{package}",
        f"{source}/model.py": "old\n",
        f"{source}/data.py": "old\n",
    }
    second = {
        "copier.yml": SETTINGS + yaml.safe_dump(seeded) + package,
        f"{source}/model_2.py": "new\n",
        f"{source}/data_2.py": "new\n",
    }
    project = make(first, second, {"src/dogs/model.py": "mine\n"}, package_name="dogs")
    done = update(project, command)
    assert done.returncode == 0, done.stderr
    stay = {"src/dogs/model.py": "mine\n", "src/dogs/data.py": "old\n"}
    new = {"src/dogs/model_2.py": "new\n", "src/dogs/data_2.py": "new\n"}
    assert contents(project) == (stay if tombstone or command == SAFE else {}) | new
    assert len(complaints(tmp_path)) == (0 if tombstone else 2)
