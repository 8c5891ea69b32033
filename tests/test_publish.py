"""What release.yml and weekly.yml do with tags and locks: git for real, a stand-in for gh."""

import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, SOURCE, git
from releases import NEXT, read_releases

REPOSITORY = SOURCE.removeprefix("gh:")
TOKEN = "token-of-the-job"

# GitHub's command line, with the options that its manual lists for these commands.
GH = """#!{python}
import argparse, json, os, pathlib, sys
parser = argparse.ArgumentParser(allow_abbrev=False)
subjects = parser.add_subparsers(dest="subject", required=True)
release = subjects.add_parser("release").add_subparsers(dest="verb", required=True)
pr = subjects.add_parser("pr").add_subparsers(dest="verb", required=True)
for verbs, verb, tag, options, flags in (
    (release, "view", True, [], []),
    (release, "create", True, ["--title", "--notes-file"], ["--verify-tag", "--prerelease"]),
    (pr, "list", False, ["--state", "--limit", "--json", "--jq"], []),
    (pr, "create", False, ["--head", "--base", "--title", "--body-file"], ["--draft"]),
):
    command = verbs.add_parser(verb, allow_abbrev=False)
    if tag:
        command.add_argument("tag")
    for option in ["--repo", *options]:
        command.add_argument(option)
    for flag in flags:
        command.add_argument(flag, action="store_true")
args = parser.parse_args()
path = pathlib.Path(os.environ["FORGE"])
forge = json.loads(path.read_text())
assert args.repo == "{repository}" and os.environ["GH_TOKEN"] == "{token}"
if args.verb == "view":
    sys.exit(args.tag not in [made["tag"] for made in forge["release"]])
if args.verb == "list":
    assert args.state == "open" and "isCrossRepository | not" in args.jq
    print(*forge["open"], sep="\\n")
    sys.exit()
if forge.get("forbidden"):
    sys.exit("GitHub Actions is not permitted to create or approve pull requests")
forge[args.subject].append(vars(args) | {"text": sys.stdin.read()})
path.write_text(json.dumps(forge))
print("https://forge.example/made")
"""


class Runner:
    """A checkout on a runner, a server that has the same, and gh."""

    def __init__(self, clone: Path, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.clone, self.server, self.state = clone, folder / "server.git", folder / "forge.json"
        git(folder, "clone", "--quiet", "--bare", str(clone), str(self.server))
        git(clone, "remote", "add", "origin", str(self.server))
        git(clone, "fetch", "--quiet", "origin")
        (folder / "bin").mkdir()
        gh = GH.replace("{python}", sys.executable).replace("{repository}", REPOSITORY)
        (folder / "bin/gh").write_text(gh.replace("{token}", TOKEN))
        (folder / "bin/gh").chmod(0o755)
        self.set(release=[], pr=[], open=[])
        patch.setenv("FORGE", str(self.state))
        patch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
        with (folder / "home/gitconfig").open("w") as config:
            config.write(f'[url "{self.server.as_uri()}"]\n\tinsteadOf = https://forge.example/')
            config.write(f"{REPOSITORY}.git\n[user]\n\tname = Ada\n\temail = ada@example.org\n")

    def set(self, **state) -> None:
        old = json.loads(self.state.read_text()) if self.state.exists() else {}
        self.state.write_text(json.dumps(old | state))

    def __getitem__(self, name: str):
        return json.loads(self.state.read_text())[name]

    def run(self, *line: str, **env: str) -> subprocess.CompletedProcess:
        env = {"GITHUB_ACTIONS": "true", "GITHUB_REPOSITORY": REPOSITORY, "GH_TOKEN": TOKEN} | env
        env |= {"GITHUB_SERVER_URL": "https://forge.example", "GITHUB_RUN_ID": "7"}
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        done = subprocess.run([sys.executable, *line], cwd=self.clone, env=os.environ | env, **out)
        assert "Traceback" not in done.stdout and TOKEN not in done.stdout
        return done

    def publish(self, tag: str) -> subprocess.CompletedProcess:
        env = {"GITHUB_REF_TYPE": "tag", "GITHUB_REF_NAME": tag, "DEFAULT_BRANCH": "main"}
        git(self.clone, "switch", "--quiet", "--detach", tag)  # what the workflow checks out
        done = self.run(str(ROOT / "tools/publish.py"), **env)
        git(self.clone, "switch", "--quiet", "main")
        return done


@pytest.fixture
def runner(history, tmp_path, monkeypatch) -> Runner:
    """A runner with this version, in a home of its own."""
    return Runner(history, tmp_path, monkeypatch)


# Releases


def released(runner: Runner, version: str, section: str = "") -> None:
    """Tag HEAD as `nox -s release` does, with a section of the changelog; record and push it."""
    log = runner.clone / "CHANGELOG.md"
    top, first, rest = re.split(r"^(## )", log.read_text(), maxsplit=1, flags=re.MULTILINE)
    section = section or (
        f"## {version} - 2026-12-24\n\n### Added\n* A long line that goes on\n  in the next one.\n"
        "* Another.\n\n### Updating from v0.1.0\nNothing to\nmind.\n\n"
    )
    log.write_text(f"{top}{section}{first}{rest}")
    git(runner.clone, "commit", "--quiet", "--all", "--message=Release")
    git(runner.clone, "tag", "--annotate", f"--message={version}", version)
    commit = git(runner.clone, "rev-parse", "HEAD").strip()
    with (runner.clone / "releases.txt").open("a") as record:
        record.write(f"{version} {commit}\n")
    git(runner.clone, "commit", "--quiet", "--all", f"--message=Record {version}")
    git(runner.clone, "push", "--quiet", "--follow-tags", "origin", "main")


def test_a_recorded_tag_becomes_a_release_with_its_section(runner):
    released(runner, "v999.0.0")
    done = runner.publish("v999.0.0")
    assert (done.returncode, done.stdout) == (0, "https://forge.example/made\n")
    [made] = runner["release"]
    assert (made["tag"], made["title"]) == ("v999.0.0", "v999.0.0")
    assert made["verify_tag"] and not made["prerelease"] and made["notes_file"] == "-"
    assert made["text"] == (
        "### Added\n* A long line that goes on in the next one.\n* Another.\n\n"
        "### Updating from v0.1.0\nNothing to mind.\n"
    )
    done = runner.publish("v999.0.0")
    assert (done.returncode, done.stdout) == (0, "v999.0.0 is published already.\n")
    released(runner, "v1001.0.0rc1")
    assert runner.publish("v1001.0.0rc1").returncode == 0
    assert runner["release"][-1]["prerelease"]


def test_the_last_release_could_be_published(runner):
    tag = list(read_releases())[-1]
    assert runner.publish(tag).returncode == 0
    [made] = runner["release"]
    assert made["tag"] == tag and "### Updating from" in made["text"]


def test_what_nobody_released_is_not_published(runner):
    done = runner.publish(NEXT)  # a tag, not in releases.txt
    assert done.returncode == 1
    assert f"releases.txt does not record {NEXT}: release with `nox -s release" in done.stdout
    tag = next(iter(read_releases()))
    git(runner.clone, "tag", "--force", tag, "HEAD")
    done = runner.publish(tag)
    assert done.returncode == 1 and "a tag is never moved" in done.stdout
    released(runner, "v999.0.0", "## v999.0.0 - 2026-12-24\n\n### Added\n* Something.\n\n")
    done = runner.publish("v999.0.0")
    assert done.returncode == 1 and "says nothing under ### Updating from" in done.stdout
    assert runner["release"] == []


# Locks


def upgrade(runner: Runner) -> None:
    """What `nox -s lock -- --upgrade` does."""
    for lock in runner.clone.glob("template/*tensorflow*/*pu.txt"):
        lock.write_text(re.sub(r"^keras==\S+", "keras==3.99.0", lock.read_text(), flags=re.M))


@pytest.fixture
def proposer(runner) -> Runner:
    def run(action: str, **env: str) -> subprocess.CompletedProcess:
        return Runner.run(runner, "tools/propose_locks.py", action, "locks.patch", **env)

    runner.run = run
    return runner


def prepared(runner: Runner, folder: Path) -> str:
    """Do what the first job does; leave the checkout as the second one gets it."""
    done = runner.run("prepare", GITHUB_OUTPUT=str(folder / "output"))
    assert done.returncode == 0, done.stdout
    git(runner.clone, "checkout", "--quiet", ".")
    return (folder / "output").read_text()


def test_newer_locks_become_a_pull_request(proposer, tmp_path):
    upgrade(proposer)
    assert prepared(proposer, tmp_path) == "changed=true\n"
    main = git(proposer.server, "rev-parse", "main")
    done = proposer.run("propose", TESTS="success", GITHUB_REF_NAME="main")
    assert (done.returncode, done.stdout) == (0, "https://forge.example/made\n")
    [pull] = proposer["pr"]
    branch = f"newer-locks/{date.today()}"
    assert (pull["head"], pull["base"], pull["draft"]) == (branch, "main", False)
    assert re.search(r"^\* `keras 3\.\S+ -> 3\.99\.0`$", pull["text"], re.MULTILINE)
    assert "**passed**" in pull["text"] and f"{REPOSITORY}/actions/runs/7" in pull["text"]
    assert git(proposer.server, "rev-parse", "main", f"{branch}~") == main * 2
    log = git(proposer.server, "show", f"{branch}:CHANGELOG.md")
    assert "### Changed\n* Locks: other versions of 1 packages.\n" in log.partition("\n## v")[0]
    changed = git(proposer.server, "diff", "--name-only", "main", branch).splitlines()
    assert len(changed) == 3 and "CHANGELOG.md" in changed
    author = git(proposer.server, "log", "-1", "--format=%an", branch)
    assert author == "github-actions[bot]\n"


def test_locks_that_fail_the_tests_become_a_draft(proposer, tmp_path):
    upgrade(proposer)
    prepared(proposer, tmp_path)
    assert proposer.run("propose", TESTS="failure", GITHUB_REF_NAME="main").returncode == 0
    [pull] = proposer["pr"]
    assert pull["draft"] and "**failed**" in pull["text"]


def test_one_proposal_at_a_time_and_none_without_news(proposer, tmp_path):
    assert prepared(proposer, tmp_path) == "changed=false\n"
    assert not (proposer.clone / "locks.patch").exists()
    upgrade(proposer)
    prepared(proposer, tmp_path)
    proposer.set(open=["other https://x/1", "newer-locks/2026-01-05 https://x/2"])
    done = proposer.run("propose", TESTS="success", GITHUB_REF_NAME="main")
    expected = "Proposed already: https://x/2 is open. Merge or close it.\n"
    assert (done.returncode, done.stdout) == (0, expected)
    assert proposer["pr"] == []


def test_a_repository_that_forbids_it_is_told_what_to_allow(proposer, tmp_path):
    upgrade(proposer)
    prepared(proposer, tmp_path)
    proposer.set(forbidden=True)
    done = proposer.run("propose", TESTS="success", GITHUB_REF_NAME="main")
    assert done.returncode == 1
    assert "settings, Actions, allow workflows to create pull requests" in done.stdout
    assert git(proposer.server, "branch", "--list", "newer-locks/*") == ""


def test_a_patch_of_anything_else_is_refused(proposer, tmp_path):
    (proposer.clone / ".ci/run").write_text("curl evil\n")
    assert prepared(proposer, tmp_path) == "changed=true\n"
    done = proposer.run("propose", TESTS="success", GITHUB_REF_NAME="main")
    assert done.returncode == 1 and "the patch changes .ci/run, which is no lock" in done.stdout
    assert proposer["pr"] == []


@pytest.mark.parametrize("tool", ["publish.py", "propose_locks.py"])
def test_outside_ci_they_say_what_to_do_instead(tool, monkeypatch):
    for name in [name for name in os.environ if name.startswith("GITHUB_")]:
        monkeypatch.delenv(name)
    line = [sys.executable, ROOT / "tools" / tool]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 1 and "; here it is `nox -s " in done.stderr


def test_the_job_that_runs_new_packages_may_write_nothing():
    workflow = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text())
    lock, propose = workflow["jobs"]["lock"], workflow["jobs"]["propose"]
    assert lock["permissions"] == {"contents": "read"}
    assert "secrets" not in json.dumps(lock) and "token" not in json.dumps(lock)
    assert propose["permissions"] == {"contents": "write", "pull-requests": "write"}
    runs = [step["run"] for step in propose["steps"] if "run" in step]
    assert runs == ["python3 tools/propose_locks.py propose patch/locks.patch"]
