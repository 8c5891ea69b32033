"""Being told of new versions: the literal steps of the CI files, against a stand-in forge."""

import functools
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import threading
from base64 import b64encode
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, commit, git, isolate
from packaging.version import Version

TOKEN, JOB_TOKEN, READ_TOKEN = "fine-grained-secret", "token-of-the-job", "secret-for-reading"


def basic(token: str) -> str:
    """A token as HTTP has it."""
    return b64encode(f"x-access-token:{token}".encode()).decode()


VERSION = "v1.1.0"
TITLE = f"Update from the template to {VERSION}"
BRANCH = f"template-update/{VERSION}"
SCRIPT = "tools/propose_update.py"
FILES = {"github": {".github/workflows/template-update.yml", SCRIPT}, "gitlab": {SCRIPT}}
BOTS = {
    "github": "41898282+github-actions[bot]@users.noreply.github.com",
    "gitlab": "noreply@forge.example",
}
PRIVATE = "/org/private.git"

# GitHub's command line, with the options and the rules for tokens that its manual has.
GH = """
import argparse, json, os, subprocess, sys
from pathlib import Path
parser = argparse.ArgumentParser(allow_abbrev=False)
subjects = parser.add_subparsers(dest="subject", required=True)
for subject, options in {"pr": ["--head", "--base"], "issue": []}.items():
    verbs = subjects.add_parser(subject).add_subparsers(dest="verb", required=True)
    for verb, more in {
        "list": ["--state", "--json", "--limit"],
        "create": ["--title", "--body-file"],
        "close": ["--comment"],
    }.items():
        command = verbs.add_parser(verb, allow_abbrev=False)
        for option in ["--repo", *(options if verb != "close" else []), *more]:
            command.add_argument(option)
        if verb == "close":
            command.add_argument("url")
        elif verb == "create":
            command.add_argument("--draft", action="store_true")
args = parser.parse_args()
path = Path(os.environ["FORGE"])
forge = json.loads(path.read_text())
host, repository = args.repo.split("/", 1)
assert repository == "org/cats" and host == forge["host"] == os.environ["GH_HOST"]
cloud = host == "github.com" or host.endswith(".ghe.com")
token = os.environ.get("GH_TOKEN" if cloud else "GH_ENTERPRISE_TOKEN")
if not token:
    sys.exit("To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN variable")
if token != "token-of-the-job" and args.subject == "issue":
    sys.exit("GraphQL: Resource not accessible by personal access token")
if token == "token-of-the-job" and args.subject == "pr" and args.verb != "list":
    sys.exit("GraphQL: Resource not accessible by integration")
if args.subject == "issue" and forge.get("no issues"):
    sys.exit("the 'org/cats' repository has disabled issues")
git = ["git", "--git-dir", forge["repository"]]
if args.verb == "list":
    found = forge[args.subject]
    if args.subject == "pr" and args.head:
        found = [one for one in found if one["headRefName"] == args.head]
    if args.state != "all":
        found = [one for one in found if one["state"] == args.state.upper()]
    print(json.dumps([{name: one[name] for name in args.json.split(",")} for one in found]))
    sys.exit()
if args.verb == "close":
    [one] = [one for one in forge[args.subject] if one["url"] == args.url]
    one |= {"state": "CLOSED", "comment": args.comment}
    path.write_text(json.dumps(forge))
    if commit := forge.get("pushed meanwhile"):
        subprocess.run([*git, "update-ref", f"refs/heads/{one['headRefName']}", commit], check=True)
    sys.exit()
if forge.get("down") or args.draft and forge.get("no drafts"):
    reason = "Draft pull requests are not" if args.draft else "Pull requests are"
    sys.exit(f"pull request create failed: GraphQL: {reason} supported in this repository.")
if args.subject == "pr":
    known = ["rev-parse", "--verify", "--quiet", f"refs/heads/{args.head}"]
    subprocess.run([*git, *known], check=True, stdout=subprocess.DEVNULL)
assert args.body_file == "-"
made = vars(args) | {"body": sys.stdin.read(), "token": token, "state": "OPEN"}
made |= {"headRefName": made.get("head"), "isCrossRepository": False}
made["url"] = f"https://forge.example/org/cats/{args.subject}/{len(forge[args.subject]) + 1}"
forge[args.subject].append(made)
path.write_text(json.dumps(forge))
print(made["url"])
"""
# What GitLab does when a branch was pushed, in the words that it says it in.
POST_RECEIVE = """#!/usr/bin/env python3
import json, os, sys
from pathlib import Path
path = Path(os.environ["FORGE"])
forge = json.loads(path.read_text())
count = int(os.environ.get("GIT_PUSH_OPTION_COUNT", 0))
options = [os.environ[f"GIT_PUSH_OPTION_{n}"] for n in range(count)]
if options and forge.get("down"):
    print("WARNINGS:\\nError encountered with push options 'merge_request.create': Oh no")
elif options:
    forge["options"].append(options)
    path.write_text(json.dumps(forge))
    print("View merge request: https://forge.example/org/cats/-/merge_requests/1")
"""
# Records each command, and the tokens that it could see.
WRAPPER = """#!/bin/sh
seen="${{TEMPLATE_UPDATE_TOKEN:+WITH TOKEN }}${{TEMPLATE_READ_TOKEN:+READING }}"
printf '%s\\n' "$seen"'{name} '"$*" >> "$COMMANDS"
{do}
"""

Done = namedtuple("Done", "code output commands")


class Server(BaseHTTPRequestHandler):
    """A forge's git over HTTP: everything in its folder, for the one who has the right token."""

    def do_GET(self):
        token = READ_TOKEN if self.path.startswith(PRIVATE) else TOKEN
        if self.headers.get("Authorization") != f"Basic {basic(token)}":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="forge"')
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        length = self.headers.get("Content-Length", "0")
        env = {
            "GIT_PROJECT_ROOT": self.server.folder,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "bot",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_LENGTH": length,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "FORGE": self.server.forge,
        }
        answer = subprocess.run(
            ["git", "http-backend"],
            input=self.rfile.read(int(length)),
            env=os.environ | env,
            stdout=subprocess.PIPE,
        ).stdout
        head, _, content = answer.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(headers.pop("Status", "200").split()[0]))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module", autouse=True)
def cache(template, tmp_path_factory):
    """The template with a second release, and a cache as a runner has one."""
    folder = tmp_path_factory.mktemp("told")
    newer = shutil.copytree(template, folder / "template")
    hooks = newer / "template/tools/hooks.py"
    hooks.write_text(hooks.read_text().replace('"""Install a', '"""Make a'))
    (script,) = newer.glob("template/tools/*propose_update.py*")
    script.write_text(script.read_text() + '\nprint("UNSEEN CODE RAN")\n')
    with pytest.MonkeyPatch.context() as patch:
        isolate(patch, folder / "home", newer)
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        patch.setenv("NO_PROXY", "127.0.0.1")
        commit(newer, tag=VERSION)
        yield folder / "cache/gpu-ml-template"


@pytest.fixture(scope="module")
def project(copy, tmp_path_factory):
    """A project of a version; `edited` is where the next version changes it too."""

    @functools.cache
    def make(ci: str, version: str = "v1.0.0", edited: bool = False) -> Path:
        folder = tmp_path_factory.mktemp("project") / "cats"
        assert copy(folder, f"--vcs-ref={version}", ci=ci).returncode == 0
        if edited:
            hooks = folder / "tools/hooks.py"
            hooks.write_text(hooks.read_text().replace('"""Install a', '"""Put a'))
        commit(folder)
        return folder

    return make


@pytest.fixture
def server(tmp_path):
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        server.folder, server.forge = str(tmp_path / "forge"), str(tmp_path / "forge.json")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Forge:
    """A stand-in for GitHub or GitLab with one project, and for their runners."""

    def __init__(self, folder: Path, server: ThreadingHTTPServer, ci: str, project: Path):
        self.ci, self.folder, self.port = ci, folder, server.server_port
        self.repository, self.state = folder / "forge/org/cats.git", Path(server.forge)
        self.commands, self.trace = folder / "commands", folder / "trace"
        git(folder, "clone", "--quiet", "--bare", str(project), str(self.repository))
        for setting in ("http.receivepack", "receive.advertisePushOptions"):
            git(self.repository, "config", setting, "true")
        if ci == "gitlab":
            (self.repository / "hooks/post-receive").write_text(POST_RECEIVE)
            (self.repository / "hooks/post-receive").chmod(0o755)
        self.set(pr=[], issue=[], options=[], repository=str(self.repository), host="github.com")
        self.clone = folder / "clone"
        git(folder, "clone", "--quiet", str(self.repository), str(self.clone))
        if ci == "gitlab":
            git(self.clone, "checkout", "--quiet", "--detach")
        (folder / "gh.py").write_text(GH)
        (folder / "bin").mkdir()
        for name, do in {
            "git": f'exec {shutil.which("git")} "$@"',
            "python": f'exec {sys.executable} "$@"',
            "gh": f'exec {sys.executable} {folder}/gh.py "$@"',
            "pip": "exit 0",
            "apt-get": "exit 0",
        }.items():
            (folder / "bin" / name).write_text(WRAPPER.format(name=name, do=do))
            (folder / "bin" / name).chmod(0o755)

    def set(self, **state) -> None:
        old = json.loads(self.state.read_text()) if self.state.exists() else {}
        self.state.write_text(json.dumps(old | state))

    def __getitem__(self, name: str):
        return json.loads(self.state.read_text())[name]

    def steps(self) -> list[tuple[str, dict]]:
        """What the job runs, each with its variables."""
        if self.ci == "gitlab":
            job = yaml.safe_load((self.clone / ".gitlab-ci.yml").read_text())["template-update"]
            return [(line, {}) for line in job["before_script"] + job["script"]]
        workflow = (self.clone / ".github/workflows/template-update.yml").read_text()
        steps = yaml.safe_load(workflow)["jobs"]["propose"]["steps"]
        return [(step["run"], step.get("env", {})) for step in steps if "run" in step]

    def run(self, which: slice = slice(None), token: str = TOKEN, read: str = "") -> Done:
        """Run the job until a step fails, as a runner would. The tokens must not get about."""
        server = f"https://{self['host']}"
        env = {
            "PATH": f"{self.folder}/bin{os.pathsep}{os.environ['PATH']}",
            "COMMANDS": str(self.commands),
            "FORGE": str(self.state),
            "GIT_TRACE2": str(self.trace),
        }
        if self.ci == "github":
            env |= {"GITHUB_ACTIONS": "true", "GITHUB_SERVER_URL": server}
            env |= {"GITHUB_REPOSITORY": "org/cats", "GITHUB_REF_NAME": "main"}
        else:
            env |= {"GITLAB_CI": "true", "CI_PROJECT_URL": f"{server}/org/cats"}
            env |= {"CI_COMMIT_BRANCH": "main", "CI_SERVER_HOST": "forge.example"}
            env |= {"TEMPLATE_UPDATE_TOKEN": token} if token else {}
            env |= {"TEMPLATE_READ_TOKEN": read} if read else {}
        known = {"${{ github.token }}": JOB_TOKEN, "${{ secrets.TEMPLATE_UPDATE_TOKEN }}": token}
        known["${{ secrets.TEMPLATE_READ_TOKEN }}"] = read
        # Git finds the stand-in behind the forge's address.
        key = f"url.http://127.0.0.1:{self.port}/org/cats.git.insteadOf"
        env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": key}
        env |= {"GIT_CONFIG_VALUE_0": f"{server}/org/cats.git"}
        self.commands.write_text("")
        output = ""
        for script, own in self.steps()[which]:
            done = subprocess.run(
                ["bash", "-e", "-o", "pipefail", "-c", script],
                cwd=self.clone,
                env=os.environ | env | {name: known[value] for name, value in own.items()},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            output += done.stdout
            if done.returncode:
                break
        commands = self.commands.read_text()
        assert "Traceback" not in output
        assert "UNSEEN CODE RAN" not in output
        for secret in (TOKEN, basic(TOKEN), READ_TOKEN, basic(READ_TOKEN)):
            assert secret not in output
            for path in [self.commands, self.trace, *self.clone.rglob("*")]:
                assert not path.is_file() or secret.encode() not in path.read_bytes(), path
        assert not re.search(r"(?m)^WITH TOKEN .*(pip|python (?!\S+ propose$))", commands)
        assert not re.search(r"(?m)^(WITH TOKEN )?READING (pip|python (?!\S+ prepare$))", commands)
        return Done(done.returncode, output, commands)

    def older(self, version: str, *authors: str, state: str = "OPEN", **more) -> str:
        """Push a branch for an older version, with a commit of each author, and a pull request."""
        branch, commit = f"template-update/{version}", "main"
        for author in authors:
            who, _, committer = author.partition(" committed by ")
            names = {"GIT_AUTHOR_EMAIL": who, "GIT_COMMITTER_EMAIL": committer or who}
            line = ["git", "commit-tree", "main^{tree}", "-p", commit, "-m", f"By {author}"]
            made = subprocess.run(
                line,
                cwd=self.repository,
                env=os.environ | names,
                check=True,
                capture_output=True,
                text=True,
            )
            commit = made.stdout.strip()
        git(self.repository, "branch", branch, commit)
        url = f"https://forge.example/org/cats/pr/{version}"
        pull = {"headRefName": branch, "isCrossRepository": False, "url": url, "state": state}
        self.set(pr=[*self["pr"], pull | more])
        return url

    def pulls(self) -> dict[str, dict]:
        return {pull["url"].rpartition("/")[2]: pull for pull in self["pr"]}

    def branches(self) -> list[str]:
        names = git(self.repository, "for-each-ref", "--format=%(refname:short)", "refs/heads")
        return names.split()

    def file(self, name: str) -> str:
        """A file on the branch that was pushed."""
        return git(self.repository, "show", f"{BRANCH}:{name}")


@pytest.fixture
def forge(tmp_path, server, project):
    def make(ci: str, **kind) -> Forge:
        return Forge(tmp_path, server, ci, project(ci, **kind))

    return make


@pytest.fixture(scope="module")
def clones():
    return {}


@pytest.fixture
def prepared(forge, clones):
    """A forge whose job has run up to the step that needs the token."""

    def make(ci: str, edited: bool = False) -> Forge:
        here = forge(ci, edited=edited)
        if (ci, edited) not in clones:
            done = here.run(slice(-1))
            assert done.code == 0, done.output
            clones[ci, edited] = here.folder / "prepared"
            shutil.copytree(here.clone, clones[ci, edited], symlinks=True)
        else:
            shutil.rmtree(here.clone)
            shutil.copytree(clones[ci, edited], here.clone, symlinks=True)
        return here

    return make


PROPOSE = slice(-1, None)


# What is proposed


def test_github_gets_a_pull_request(prepared):
    here = prepared("github")
    main = git(here.repository, "rev-parse", "main")
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    [pull] = here["pr"]
    assert (pull["head"], pull["base"], pull["title"]) == (BRANCH, "main", TITLE)
    assert (pull["draft"], pull["token"]) == (False, TOKEN)
    assert pull["body"].startswith(f"The template is at {VERSION}, this project at v1.0.0.\n")
    assert "tools/hooks.py" in pull["body"] and "draft" not in pull["body"]
    assert pull["url"] in done.output
    assert (
        git(here.repository, "rev-parse", "main")
        == main
        == git(here.repository, "rev-parse", f"{BRANCH}~")
    )
    assert '"""Make a git hook' in here.file("tools/hooks.py")
    assert f"_commit: {VERSION}" in here.file(".copier-answers.yml")
    author = git(here.repository, "log", "-1", "--format=%an %cn %s", BRANCH)
    assert author == f"github-actions[bot] github-actions[bot] {TITLE}\n"
    assert here["issue"] == []


def test_a_detached_checkout_that_is_used_again_does_as_well(forge):
    here = forge("github")
    git(here.clone, "checkout", "--quiet", "--detach")
    for left in (BRANCH, "template-update/new"):
        git(here.clone, "branch", left)
    git(here.clone, "update-ref", "refs/template-update/prepared", "HEAD")
    git(here.clone, "update-ref", f"refs/template-update/proposed/{VERSION}", "HEAD")
    done = here.run()
    assert done.code == 0, done.output
    assert [pull["head"] for pull in here["pr"]] == [BRANCH]


def test_conflicts_become_a_draft_that_lists_them(prepared):
    here = prepared("github", edited=True)
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    [pull] = here["pr"]
    assert pull["draft"]
    assert "are in conflict in\n\n* `tools/hooks.py`\n\n" in pull["body"]
    assert f"git switch {BRANCH}\n" in pull["body"]
    text = here.file("tools/hooks.py")
    assert "<<<<<<< yours\n" in text and f">>>>>>> template {VERSION}\n" in text
    assert '"""Put a git hook' in git(here.repository, "show", "main:tools/hooks.py")
    assert '"""Put a git hook' in (here.clone / "tools/hooks.py").read_text()  # the runner is back


def test_where_there_are_no_drafts_it_is_a_pull_request(prepared):
    here = prepared("github", edited=True)
    here.set(**{"no drafts": True})
    assert here.run(PROPOSE).code == 0
    [pull] = here["pr"]
    assert pull["draft"] is False and "draft" not in pull["body"]
    assert "\nFinish this update before you merge it:\n" in pull["body"]


def test_without_a_token_github_gets_an_issue(prepared):
    here = prepared("github", edited=True)
    done = here.run(PROPOSE, token="")
    assert done.code == 0, done.output
    [issue] = here["issue"]
    assert (issue["title"], issue["token"]) == (TITLE, JOB_TOKEN)
    assert "* `tools/hooks.py`\n" in issue["body"]
    assert "Run `nox -s update` in a clone" in issue["body"]
    assert "TEMPLATE_UPDATE_TOKEN" in issue["body"] and "draft" not in issue["body"]
    assert here.branches() == ["main"] and here["pr"] == []
    assert issue["url"] in done.output


def test_a_fork_without_issues_is_told_in_the_log(prepared):
    here = prepared("github")
    here.set(**{"no issues": True})
    done = here.run(PROPOSE, token="")
    assert done.code == 0, done.output
    assert "::warning::The template is at v1.1.0, this project at v1.0.0. Run `nox" in done.output
    assert here["issue"] == []


def test_gitlab_gets_a_merge_request(prepared):
    here = prepared("gitlab")
    main = git(here.repository, "rev-parse", "main")
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    [options] = here["options"]
    first, *others, description = options
    assert first == "merge_request.create"
    assert others == ["merge_request.target=main", f"merge_request.title={TITLE}"]
    assert description.startswith(
        f"merge_request.description=The template is at {VERSION}, this project at v1.0.0.\\n\\n"
    )
    assert git(here.repository, "rev-parse", f"{BRANCH}~") == main
    assert '"""Make a git hook' in here.file("tools/hooks.py")
    author = git(here.repository, "log", "-1", "--format=%an <%ce>", BRANCH)
    assert author == "Template update <noreply@forge.example>\n"
    assert "/merge_requests/1" in done.output


def test_conflicts_become_a_draft_merge_request(prepared):
    here = prepared("gitlab", edited=True)
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    [options] = here["options"]
    assert "merge_request.draft" in options
    assert "are in conflict in\\n\\n* `tools/hooks.py`\\n" in options[-1]
    assert f"git switch {BRANCH}\\n" in options[-1]
    assert "<<<<<<< yours\n" in here.file("tools/hooks.py")


def test_without_a_token_gitlabs_job_fails_with_what_to_run(prepared):
    here = prepared("gitlab")
    done = here.run(PROPOSE, token="")
    assert done.code == 1
    assert done.output.startswith(
        "propose_update: The template is at v1.1.0, this project at v1.0.0. Run `nox -s update` "
    )
    assert here.branches() == ["main"]


# What is not proposed


@pytest.mark.parametrize("ci", FILES)
@pytest.mark.parametrize("token", [TOKEN, ""])
def test_nothing_is_proposed_where_there_is_nothing_new(forge, ci, token):
    here = forge(ci, version=VERSION)
    (here.clone / SCRIPT).write_text((here.clone / SCRIPT).read_text().replace("UNSEEN", "SEEN"))
    git(here.clone, "commit", "--quiet", "--all", "--message=Seen")
    for left in ("json", "bundle"):  # of an earlier run
        (here.clone / f".git/template-update.{left}").write_text("{}")
    done = here.run(token=token)
    assert done.code == 0, done.output
    assert "nothing newer than v1.1.0" in done.output
    assert "There is nothing to propose." in done.output
    assert here.branches() == ["main"] and here["pr"] == here["issue"] == here["options"] == []


PULL = {"headRefName": BRANCH, "isCrossRepository": False, "state": "CLOSED"}
PULL["url"] = "https://forge.example/org/cats/pr/7"


@pytest.mark.parametrize("token", [TOKEN, ""])
def test_a_version_is_proposed_by_one_pull_request_open_or_closed(prepared, token):
    here = prepared("github")
    here.set(pr=[PULL])
    done = here.run(PROPOSE, token=token)
    assert (done.code, done.output) == (0, f"Proposed already: {PULL['url']}\n")
    assert here.branches() == ["main"] and here["pr"] == [PULL] and here["issue"] == []


def test_a_strangers_pull_request_does_not_count(prepared):
    here = prepared("github")
    here.set(pr=[PULL | {"isCrossRepository": True}])
    assert here.run(PROPOSE).code == 0
    assert len(here["pr"]) == 2


def test_a_version_is_told_by_one_issue(prepared):
    here = prepared("github")
    other = {"title": f"{TITLE} again", "url": "https://forge.example/org/cats/issues/1"}
    here.set(issue=[other | {"state": "OPEN"}])
    assert here.run(PROPOSE, token="").code == 0
    assert len(here["issue"]) == 2
    done = here.run(PROPOSE, token="")
    assert (done.code, done.output) == (0, f"Proposed already: {here['issue'][1]['url']}\n")
    assert len(here["issue"]) == 2


@pytest.mark.parametrize("ci", FILES)
def test_a_branch_that_is_there_is_left_alone(prepared, ci):
    here = prepared(ci)
    git(here.repository, "branch", BRANCH, "main")
    done = here.run(PROPOSE)
    assert done.code == 0
    assert done.output == f"Proposed already: the branch {BRANCH} is there.\n"
    assert git(here.repository, "rev-parse", BRANCH) == git(here.repository, "rev-parse", "main")
    assert here["pr"] == here["options"] == []


# The barrier between the two steps

HOSTILE_HOOK = "#!/bin/sh\necho UNSEEN CODE RAN; env > {leak}\n"
# The worst that files of a new version could do to the clone, by an updater that refuses nothing.
HOSTILE_UPDATER = """
import os, re, shutil, sys
from pathlib import Path
if "--check" in sys.argv:
    sys.exit(2)
Path("tools/propose_update.py").write_text("print('UNSEEN CODE RAN')")
Path("tools/json.py").write_text("print('UNSEEN CODE RAN')")
Path(".gitattributes").write_text("* filter=evil")
git = Path(".git")
git.unlink() if git.is_file() else shutil.rmtree(git)
(git / "hooks").mkdir(parents=True)
evil = "sh -c 'echo UNSEEN CODE RAN >&2'"
(git / "config").write_text(
    f'[core]\\n\\tfsmonitor = "{evil}"\\n[filter "evil"]\\n\\tclean = "{evil}"\\n'
)
answers = Path(".copier-answers.yml")
answers.write_text(re.sub("_commit: .*", "_commit: v1.1.0", answers.read_text()))
print("NO BUILDS" if os.environ.get("UV_NO_BUILD") else "BUILDS")
"""


def everything(folder: Path) -> dict[str, tuple]:
    """All files and links of a checkout, its git folder included, but what `prepare` leaves."""
    return {
        str(path.relative_to(folder)): (path.lstat().st_mode, path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith("template-update.")
    }


@pytest.mark.parametrize("ci", FILES)
def test_prepare_changes_nothing_in_the_checkout(forge, ci):
    here = forge(ci, edited=True)
    before = everything(here.clone)
    assert here.run(slice(-1)).code == 0
    assert everything(here.clone) == before
    assert {path.name for path in (here.clone / ".git").glob("template-update*")} == {
        "template-update.json",
        "template-update.bundle",
    }


def test_a_template_that_renders_into_git_folders_runs_nothing(forge, own_template, monkeypatch):
    here = forge("github")
    leak = here.folder / "leak"
    for name in ("post-checkout", "post-commit", "post-index-change", "pre-push", "pre-commit"):
        hook = own_template / "template/{{ '.git' }}/hooks" / name
        hook.parent.mkdir(parents=True, exist_ok=True)
        hook.write_text(HOSTILE_HOOK.format(leak=leak))
        hook.chmod(0o755)
    (script,) = own_template.glob("template/tools/*propose_update.py*")
    script.write_text("import os\nprint('UNSEEN CODE RAN', os.environ)\n")
    commit(own_template, tag=VERSION)
    here.run(slice(-1))  # the updater may refuse such a version
    before = everything(here.clone)
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    assert not leak.exists()
    assert (here.clone / SCRIPT).read_bytes() == before[SCRIPT][1]


def test_an_updater_that_refuses_nothing_cannot_reach_the_checkout(forge):
    here = forge("github")
    (here.clone / "tools/update.py").write_text(HOSTILE_UPDATER)
    git(here.clone, "commit", "--quiet", "--all", "--message=Work")
    before = everything(here.clone)
    done = here.run(slice(-1))
    assert done.code == 0, done.output
    assert "\nNO BUILDS\n" in f"\n{done.output}"
    assert everything(here.clone) == before
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    assert "UNSEEN CODE RAN" in here.file(SCRIPT)  # proposed, and not run
    assert [pull["headRefName"] for pull in here["pr"]] == [BRANCH]


def test_hooks_of_the_checkout_do_not_run_with_the_token(prepared):
    here = prepared("github")
    leak = here.folder / "leak"
    for name in ("pre-push", "reference-transaction"):
        hook = here.clone / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(HOSTILE_HOOK.format(leak=leak))
        hook.chmod(0o755)
    assert here.run(PROPOSE).code == 0
    assert not leak.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"version": "--upload-pack=touch owned"},
        {"version": "../../heads/main"},
        {"version": "v1.1.0\n"},
        {"version": ["v1.1.0"]},
        {"draft": "no"},
        {"text": ["x"]},
        {"text": "\0"},
        {"summary": "\ud800"},
        {"repo": "org/dogs"},
        None,
    ],
    ids=str,
)
def test_a_note_in_another_form_is_refused(prepared, change):
    here = prepared("github")
    note = here.clone / ".git/template-update.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | change) if change else "[]")
    done = here.run(PROPOSE)
    assert done.code == 1
    assert done.output == (
        "propose_update: .git/template-update.json is not what `prepare` writes."
        " Run the whole job again.\n"
    )
    assert here.branches() == ["main"] and here["pr"] == []


def test_a_bundle_that_is_not_one_commit_on_top_of_the_checkout_is_refused(prepared):
    here = prepared("gitlab")
    other = here.folder / "other"
    git(here.folder, "clone", "--quiet", str(here.repository), str(other))
    git(other, "switch", "--quiet", "--create", "template-update/new")
    for _ in range(2):
        git(other, "commit", "--quiet", "--allow-empty", "--message=Theirs")
    bundle = here.clone / ".git/template-update.bundle"
    git(other, "bundle", "create", "--quiet", str(bundle), "template-update/new")
    done = here.run(PROPOSE)
    assert done.code == 1
    assert "is not one commit on top of this checkout. Run the whole job again." in done.output
    assert here.branches() == ["main"] and here["options"] == []


# GitHub Enterprise Server


@pytest.mark.parametrize("host", ["github.com", "acme.ghe.com", "github.acme.example"])
@pytest.mark.parametrize("token", [TOKEN, ""])
def test_gh_talks_to_the_server_that_runs_the_job(prepared, host, token):
    here = prepared("github")
    here.set(host=host)
    done = here.run(PROPOSE, token=token)
    assert done.code == 0, done.output
    [made] = here["pr"] + here["issue"]
    assert made["token"] == (token or JOB_TOKEN) and made["url"] in done.output


# A private template


@pytest.fixture
def private(forge, template):
    """A forge whose project comes from a template on a server that wants a token."""

    def make(ci: str, server: str = "http://ci@127.0.0.1:{port}") -> Forge:
        here = forge(ci)
        newer = Path(os.environ["GIT_CONFIG_GLOBAL"]).parents[1] / "template"
        git(here.folder, "clone", "--quiet", "--bare", str(newer), f"{here.folder}/forge{PRIVATE}")
        answers = here.clone / ".copier-answers.yml"
        source = server.format(port=here.port) + PRIVATE
        answers.write_text(re.sub("_src_path: .*", f"_src_path: {source}", answers.read_text()))
        git(here.clone, "commit", "--quiet", "--all", "--message=Work")
        return here

    return make


@pytest.mark.parametrize("ci", FILES)
def test_a_private_template_is_read_with_its_own_token(private, ci):
    here = private(ci)
    done = here.run(read=READ_TOKEN)
    assert done.code == 0, done.output
    assert here.branches() == ["main", BRANCH]
    assert "READING git" in done.commands  # so `run` would see it elsewhere


def test_without_that_token_a_private_template_is_out_of_reach(private):
    done = private("github").run(slice(-1))
    assert done.code == 1
    assert "/org/private.git cannot be reached" in done.output


def test_the_token_for_reading_goes_to_the_templates_server_alone(private):
    here = private("github", "http://localhost:{port}")
    key = f"url.http://127.0.0.1:{here.port}{PRIVATE}.insteadOf"
    settings = here.folder / "gitconfig"
    settings.write_text("")
    git(
        here.folder,
        "config",
        "--file",
        str(settings),
        key,
        f"http://localhost:{here.port}{PRIVATE}",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_CONFIG_GLOBAL", str(settings))
        done = here.run(slice(-1), read=READ_TOKEN)
    assert done.code == 1
    assert "cannot be reached" in done.output


def test_the_token_for_reading_needs_an_https_address(private):
    done = private("github", "ssh://git@forge.example").run(slice(-1), read=READ_TOKEN)
    assert done.code == 1
    assert done.output.endswith(
        "propose_update: TEMPLATE_READ_TOKEN cannot read ssh://git@forge.example/org/private.git,"
        " which is no https address. Put one into _src_path in .copier-answers.yml, or delete the"
        " token.\n"
    )


# Older proposals

BOT, PERSON = BOTS["github"], "ada@example.org"


def test_a_pull_request_closes_the_older_ones_of_the_bot(prepared):
    here = prepared("github")
    here.older("v1.0.1", BOT)
    here.older("v1.1.0rc1", BOT)
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    pulls = here.pulls()
    new = next(pull["url"] for pull in here["pr"] if pull["headRefName"] == BRANCH)
    for version in ("v1.0.1", "v1.1.0rc1"):
        assert pulls[version]["state"] == "CLOSED"
        assert pulls[version]["comment"] == f"The template is at v1.1.0 now: {new} replaces this."
    assert here.branches() == ["main", BRANCH]
    assert pulls[new.rpartition("/")[2]]["state"] == "OPEN"
    assert "stay open" not in pulls[new.rpartition("/")[2]]["body"]


@pytest.mark.parametrize(
    "authors", [(BOT, PERSON), (PERSON,), (f"{BOT} committed by {PERSON}",)], ids=str
)
def test_a_branch_with_somebodys_commits_stays_and_is_named(prepared, authors):
    here = prepared("github")
    url = here.older("v1.0.1", *authors)
    assert here.run(PROPOSE).code == 0
    assert here.pulls()["v1.0.1"]["state"] == "OPEN"
    assert here.branches() == ["main", "template-update/v1.0.1", BRANCH]
    [body] = [pull["body"] for pull in here["pr"] if "body" in pull]
    assert (
        f"These older proposals stay open. Close each when you need no more of it:\n\n* {url}\n"
        in body
    )


def test_a_push_in_the_last_moment_wins(prepared):
    here = prepared("github")
    here.older("v1.0.1", BOT)
    here.set(**{"pushed meanwhile": git(here.repository, "rev-parse", "main").strip()})
    assert here.run(PROPOSE).code == 0
    assert here.branches() == ["main", "template-update/v1.0.1", BRANCH]


def test_what_is_not_an_older_proposal_of_the_bot_stays_as_it_is(prepared):
    here = prepared("github")
    others = [
        here.older("v2.0.0", BOT),
        here.older("notes", BOT),
        here.older("v1.0.0.dev1", BOT),
        here.older("v0.8.0", BOT, isCrossRepository=True),
        here.older("v0.9.0", BOT, headRefName="v0.9.0"),
        here.older("v0.7.0", BOT, state="MERGED"),
    ]
    before, branches = here["pr"], here.branches()
    assert here.run(PROPOSE).code == 0
    assert here["pr"][:-1] == before and len(before) == len(others)
    assert "stay open" not in here["pr"][-1]["body"]
    assert here.branches() == sorted([*branches, BRANCH])


@pytest.mark.parametrize("token", [TOKEN, ""])
def test_older_issues_are_closed_too(prepared, token):
    here = prepared("github")
    titles = {
        "Update from the template to v1.0.1": "CLOSED",
        "Update from the template to v2.0.0": "OPEN",
        "Update from the template to v1.0.1, please": "OPEN",
        "Re: Update from the template to v1.0.1": "OPEN",
    }
    issues = [
        {"title": title, "state": "OPEN", "url": f"https://forge.example/org/cats/issues/{title}"}
        for title in titles
    ]
    old = {"title": "Update from the template to v0.9.0", "state": "CLOSED", "url": "old"}
    here.set(issue=[*issues, old])
    done = here.run(PROPOSE, token=token)
    assert done.code == 0, done.output
    found = {issue["title"]: issue for issue in here["issue"]}
    assert {title: found[title]["state"] for title in titles} == titles
    assert found[old["title"]] == old
    [made] = [one for one in here["pr"] + here["issue"] if "body" in one]
    assert made["state"] == "OPEN"
    assert made["url"] in found["Update from the template to v1.0.1"]["comment"]


def test_an_issue_names_the_pull_requests_that_it_cannot_close(prepared):
    here = prepared("github")
    url = here.older("v1.0.1", BOT)
    assert here.run(PROPOSE, token="").code == 0
    [issue] = here["issue"]
    assert f"* {url}\n" in issue["body"]
    assert here.pulls()["v1.0.1"]["state"] == "OPEN"


def test_gitlabs_job_deletes_older_branches_of_the_bot_and_names_them(prepared):
    here = prepared("gitlab")
    here.older("v1.0.1", BOTS["gitlab"])
    here.older("v1.0.2", BOTS["gitlab"], PERSON)
    here.older("v2.0.0", BOTS["gitlab"])
    done = here.run(PROPOSE)
    assert done.code == 0, done.output
    [options] = here["options"]
    assert (
        "\\nThis replaces older proposals, whose branches the job deletes:\\n\\n"
        "* `template-update/v1.0.1`\\n\\n"
        "Others have committed to these older proposals, so they stay:\\n\\n"
        "* `template-update/v1.0.2`\\n"
    ) in options[-1]
    kept = ["template-update/v1.0.2", BRANCH, "template-update/v2.0.0"]
    assert here.branches() == ["main", *kept]


def test_versions_are_in_the_order_of_pep_440(project):
    order = runpy.run_path(str(project("github") / SCRIPT))["order"]
    names = "0.9 1.0a1 1.0a2 1.0b1 1.0rc1 1.0rc1.post1 1.0 1.0.post0 1.0.post1 1.0.1 1.9 1.10"
    names = [f"v{name}" for name in names.split()]
    assert sorted(names[::-1], key=order) == names == sorted(names, key=Version)
    assert order("v1.0") == order("1.0.0") and order("notes") == order("v1.0.0-3-gabc") == ()


# What turns the job red


@pytest.mark.parametrize("ci", FILES)
def test_a_template_that_does_not_answer(forge, cache, ci, monkeypatch):
    here = forge(ci)
    for mirror in cache.glob("template-*"):  # a runner starts with an empty cache
        shutil.rmtree(mirror)
    settings = here.folder / "gitconfig"
    settings.write_text('[url "file:///nowhere/"]\n\tinsteadOf = https://github.com/\n')
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    done = here.run()
    assert done.code == 1
    assert "update: the template at https://github.com/org/gpu-ml-template.git" in done.output
    assert done.output.endswith("propose_update: tools/update.py failed, see above.\n")
    assert here.branches() == ["main"] and here["pr"] == here["issue"] == []


@pytest.mark.parametrize("ci", FILES)
def test_a_request_that_is_refused_leaves_no_branch(prepared, ci):
    here = prepared(ci, edited=True)
    here.set(down=True)
    done = here.run(PROPOSE)
    assert done.code == 1
    assert "propose_update: " in done.output.splitlines()[-1]
    assert here.branches() == ["main"] and here["pr"] == here["options"] == []
    here.set(down=False)
    assert here.run(PROPOSE).code == 0
    assert here.branches() == ["main", BRANCH]


@pytest.mark.parametrize("ci", FILES)
def test_a_token_that_has_expired(prepared, ci):
    here = prepared(ci)
    done = here.run(PROPOSE, token="of-last-year")
    assert done.code == 1
    assert done.output.endswith('", says what TEMPLATE_UPDATE_TOKEN has to be.\n')
    assert "of-last-year" not in done.output + done.commands
    assert here.branches() == ["main"]


def test_an_updater_that_is_missing_or_brings_nothing(forge):
    here = forge("github")
    (here.clone / "tools/update.py").unlink()  # Python's exit code is 2 then, like news
    git(here.clone, "commit", "--quiet", "--all", "--message=Work")
    done = here.run()
    assert done.code == 1
    assert "propose_update: tools/update.py found a newer version but did" in done.output
    assert here["pr"] == here["issue"] == []


def test_a_runner_without_gh(prepared):
    here = prepared("github")
    (here.folder / "bin/gh").unlink()
    done = here.run(PROPOSE)
    assert done.code == 1
    assert "propose_update: gh is missing on this runner: install it." in done.output


@pytest.mark.parametrize("words", [["prepare"], ["propose"], []])
def test_outside_ci_it_does_nothing(project, words):
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], cwd=project("github"), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "propose_update: this is what CI runs; here it is `nox -s update`"
    )


# The files


@pytest.mark.parametrize("ci", FILES)
def test_only_a_project_with_ci_has_them(project, ci):
    everything = set().union(*FILES.values())
    for answer, expected in {ci: FILES[ci], "none": set()}.items():
        assert {name for name in everything if (project(answer) / name).exists()} == expected


def workflow(project: Path, name: str) -> dict:
    return yaml.safe_load((project / f".github/workflows/{name}.yml").read_text())


def test_the_workflow_may_do_no_more_than_it_has_to(project):
    here = project("github")
    update = workflow(here, "template-update")
    assert update[True].keys() == {"schedule", "workflow_dispatch"}  # YAML 1.1 reads `on` as true
    assert update["permissions"] == {}
    assert update["concurrency"]["cancel-in-progress"] is False
    [job] = update["jobs"].values()
    allowed = {"contents": "read", "issues": "write", "pull-requests": "read"}
    assert job["permissions"] == allowed
    assert job["timeout-minutes"] <= 30
    pins = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"actions/[\w-]+@[0-9a-f]{40}", pin) for pin in pins)
    known = [step.get("uses") for step in workflow(here, "ci")["jobs"]["check"]["steps"]]
    assert set(pins) <= set(known)
    assert job["steps"][0]["with"] == {"fetch-depth": 0, "persist-credentials": False}
    *before, prepare, propose = job["steps"]
    assert "secrets." not in json.dumps(before) and "env" not in workflow(here, "template-update")
    assert prepare["env"].keys() == {"TEMPLATE_READ_TOKEN"}
    assert propose["env"].keys() == {"GH_TOKEN", "TEMPLATE_UPDATE_TOKEN"}


def test_gitlabs_schedule_runs_this_job_alone(project):
    jobs = yaml.safe_load((project("gitlab") / ".gitlab-ci.yml").read_text())
    scheduled = "$CI_PIPELINE_SCHEDULE_DESCRIPTION =~ /^template update$/i"
    assert jobs["template-update"]["rules"] == [{"if": scheduled}]
    assert jobs["check"]["rules"] == [
        {"if": scheduled, "when": "never"},
        {"if": "$CI_COMMIT_BRANCH || $CI_COMMIT_TAG"},  # what runs a job that has no rules
    ]
    assert jobs["template-update"]["interruptible"] is False
    assert jobs["template-update"]["variables"] == {"GIT_DEPTH": "0"}


def test_the_settings_for_renovate_find_the_template(project):
    settings = renovate_settings()
    assert settings["enabledManagers"] == ["copier"]
    answers = yaml.safe_load((project("github") / ".copier-answers.yml").read_text())
    [rule] = settings["packageRules"]
    [pattern] = rule["matchDepNames"]
    assert re.search(pattern.strip("/"), answers["_src_path"])
    old, new = re.findall("'(.*?)'", rule["overridePackageName"])
    address = re.sub(old, new, answers["_src_path"])
    assert address == "https://github.com/org/gpu-ml-template"


def test_the_settings_for_renovate_fit_their_schema(tmp_path):
    (tmp_path / "renovate.json").write_text(json.dumps(renovate_settings()))
    check = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema=vendor.renovate"]
    done = subprocess.run([*check, tmp_path / "renovate.json"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def renovate_settings() -> dict:
    """The settings that docs/updating.md offers."""
    page = (ROOT / "docs/updating.md").read_text()
    return json.loads(re.search(r"```json\n(.*?)```", page, re.DOTALL)[1])
