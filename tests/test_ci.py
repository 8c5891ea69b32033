"""CI, generated and of this repository: its files by schema and rule, and what they call.

tests/container/test_ci.py executes the steps of the generated workflow.
"""

import hashlib
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, commit, git

BIN = Path(sys.executable).parent
TEMPLATE = "template"  # stands for this repository among the projects below
PINNED = re.compile(r"actions/[\w-]+@[0-9a-f]{40}")


def run(*line: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name != "GH_TOKEN"} | env
    out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.run(line, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, **out)


@pytest.fixture(scope="module")
def projects(copy, tmp_path_factory) -> dict[str, Path]:
    """A project for each forge, and this repository."""
    made = {TEMPLATE: ROOT}
    for ci in ("github", "gitlab"):
        made[ci] = tmp_path_factory.mktemp("ci") / ci
        assert copy(made[ci], ci=ci, package_name="cats").returncode == 0
        commit(made[ci])
    return made


def workflows(project: Path) -> dict[str, dict]:
    """Each workflow by its file's name. (YAML 1.1 reads the key `on` as true.)"""
    return {
        file.name: yaml.safe_load(file.read_text())
        for file in sorted((project / ".github/workflows").glob("*.yml"))
    }


def jobs(project: Path) -> list[tuple[str, dict]]:
    found = workflows(project).items()
    return [(f"{file}: {name}", job) for file, one in found for name, job in one["jobs"].items()]


# The files


@pytest.mark.parametrize("ci", ["github", TEMPLATE])
def test_workflows_fit_their_schema_and_zizmor_finds_nothing(projects, ci):
    files = sorted((projects[ci] / ".github/workflows").glob("*.yml"))
    assert len(files) == 3
    check = [BIN / "check-jsonschema", "--builtin-schema=vendor.github-workflows"]
    done = run(*check, *files, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    zizmor = [BIN / "zizmor", "--offline", "--no-progress", "--persona=pedantic", "--no-config"]
    done = run(*zizmor, "--strict-collection", *files, cwd=ROOT)
    assert done.returncode == 0, done.stdout


def test_gitlabs_file_fits_its_schema(projects):
    line = [BIN / "check-jsonschema", "--builtin-schema=vendor.gitlab-ci"]
    done = run(*line, projects["gitlab"] / ".gitlab-ci.yml", cwd=ROOT)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("ci", ["github", TEMPLATE])
def test_workflows_may_do_no_more_than_they_have_to(projects, ci):
    for file, one in workflows(projects[ci]).items():
        assert one["permissions"] in ({}, {"contents": "read"}), file
        assert "concurrency" in one, file
        assert "pull_request_target" not in one[True], file
    for name, job in jobs(projects[ci]):
        assert 0 < job["timeout-minutes"] <= 120, name
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step), name
            if "uses" in step:
                assert PINNED.fullmatch(step["uses"]), name
            else:
                assert "${{" not in step["run"], name  # what others typed never gets into a shell
        checkout = job["steps"][0]
        assert checkout["uses"].startswith("actions/checkout@"), name
        assert checkout["with"]["persist-credentials"] is False, name


def test_all_use_the_same_versions_of_actions_and_tools(projects):
    uses, pins = set(), set()
    for project in projects.values():
        for _, job in jobs(project):
            for step in job["steps"]:
                uses |= {step["uses"]} if "uses" in step else set()
                pins |= set(re.findall(r"\b(?:nox|uv)==\S+", step.get("run", "")))
    pins |= set(
        re.findall(r"\b(?:nox|uv)==\S+", (projects["gitlab"] / ".gitlab-ci.yml").read_text())
    )
    assert len({action.split("@")[0] for action in uses}) == len(uses)
    assert len(pins) == 2
    for lock in ROOT.glob("template/*requirements*/dev.txt"):
        assert all(f"\n{pin} " in lock.read_text() for pin in pins), lock


def sessions(project: Path) -> set[str]:
    listed = run(BIN / "nox", "--list", cwd=project).stdout
    return set(re.findall(r"^[-*] (\w+)", listed, re.MULTILINE))


OTHERS = ("pip install nox==", "pip install uv==", "python tools/propose_update.py ", 'echo "::')


def test_each_step_is_a_nox_session_that_exists(projects):
    known = sessions(projects["github"])
    found = set()
    for name, job in jobs(projects["github"]):
        for step in job["steps"]:
            if "run" in step and not step["run"].startswith(OTHERS):
                words = shlex.split(step["run"])
                assert words[:2] == ["nox", "-s"] and words[2] in known, name
                found.add(" ".join(words[2:]))
    assert found == {
        *("ci -- lint", "ci -- tests", "ci -- notebook"),
        *("container -- --rebuild nox -s gpu", "container -- --cpu nox -s sbom", "audit"),
    }
    gitlab = yaml.safe_load((projects["gitlab"] / ".gitlab-ci.yml").read_text())
    for name in ("check", "gpu", "audit"):
        for line in gitlab[name]["script"]:
            if not line.startswith("test -n"):
                words = shlex.split(line.partition(" -- ")[0])
                assert words[:2] == ["nox", "-s"] and set(words[2:]) <= known, line
    known = sessions(ROOT)
    lines = [step.get("run", "") for _, job in jobs(ROOT) for step in job["steps"]]
    called = {line.split()[2] for line in lines if line.startswith("nox ")}
    assert called == {"lock", "publish", "thorough"} and called <= known


# The GPU


def holds(condition: str, variable: str, event: str) -> bool:
    """Whether a condition of a workflow holds."""
    python = condition.replace("&&", "and").replace("||", "or")
    python = python.replace("vars.GPU_RUNNER", repr(variable))
    return eval(python.replace("github.event_name", repr(event)), {"__builtins__": {}})


@pytest.mark.parametrize("event", ["push", "workflow_dispatch", "pull_request"])
@pytest.mark.parametrize("label", ["", "gpu-box"])
def test_a_gpu_is_used_where_there_is_one_and_else_ci_says_so(projects, event, label):
    workflow = workflows(projects["github"])["ci.yml"]
    assert event in workflow[True] and workflow[True]["push"] == {"branches": ["main"]}
    gpu, check = workflow["jobs"]["gpu"], workflow["jobs"]["check"]
    assert gpu["runs-on"] == "${{ vars.GPU_RUNNER }}"
    assert holds(gpu["if"], label, event) == (label != "" and event != "pull_request")
    [notice] = [step for step in check["steps"] if "::notice" in step.get("run", "")]
    assert holds(notice["if"], label, event) == (label == "" and event != "pull_request")
    done = run("bash", "-ec", notice["run"], cwd=ROOT)
    assert done.stdout.startswith("::notice title=No GPU is tested::Register ")
    assert done.stdout.count("\n") == 1 and "GPU_RUNNER" in done.stdout


def test_gitlab_does_the_same_by_a_tag(projects):
    gitlab = yaml.safe_load((projects["gitlab"] / ".gitlab-ci.yml").read_text())
    never, rule = gitlab["gpu"]["rules"]
    assert never == {"if": '$CI_PIPELINE_SOURCE == "schedule"', "when": "never"}
    assert rule == {"if": "$GPU_RUNNER_TAG && $CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"}
    assert gitlab["gpu"]["tags"] == ["$GPU_RUNNER_TAG"]
    say = gitlab["check"]["script"][-1]
    assert "No GPU is tested" in run("sh", "-ec", say, cwd=ROOT, GPU_RUNNER_TAG="").stdout
    done = run("sh", "-ec", say, cwd=ROOT, GPU_RUNNER_TAG="gpu-box")
    assert (done.returncode, done.stdout) == (0, "")


# nox -s ci

CALLED = "import sys; print('CALLED', *sys.argv[1:]); sys.exit(7)\n"


@pytest.fixture
def host(projects, tmp_path) -> Path:
    """A project in which tools/container.py only says how it was called."""
    shutil.copytree(projects["github"], tmp_path / "host")
    (tmp_path / "host/tools/container.py").write_text(CALLED)
    return tmp_path / "host"


@pytest.mark.parametrize(
    ("given", "env", "called"),
    [
        ([], {}, "env CI=true nox -s lint tests notebook"),
        (["--", "tests"], {"CI": "1"}, "env CI=true nox -s tests"),
        (["--", "--rebuild"], {}, "--rebuild env CI=true nox -s lint tests notebook"),
        (
            ["--", "notebook", "lint"],
            {"SMOKE": "1", "PYTEST_ADDOPTS": "-x -q"},
            "env CI=true PYTEST_ADDOPTS=-x -q SMOKE=1 nox -s notebook lint",
        ),
    ],
)
def test_ci_is_one_command_anywhere(host, monkeypatch, given, env, called):
    for name in ("CI", "SMOKE", "PYTEST_ADDOPTS", "UV_PROJECT_ENVIRONMENT"):
        monkeypatch.delenv(name, raising=False)
    done = run(BIN / "nox", "-s", "ci", *given, cwd=host, **env)
    assert done.returncode == 7  # the command's own
    assert f"CALLED run --cpu {called}\n" in done.stdout


def test_ci_refuses_what_it_does_not_know_in_a_sentence(host, monkeypatch):
    monkeypatch.delenv("UV_PROJECT_ENVIRONMENT", raising=False)
    done = run(BIN / "nox", "-s", "ci", "--", "test", cwd=host)
    assert done.returncode == 1 and "CALLED" not in done.stdout
    assert "CI has no test: `nox -s ci` takes lint, tests, notebook, and --rebuild" in done.stdout
    done = run(BIN / "nox", "-s", "ci", cwd=host, UV_PROJECT_ENVIRONMENT="/opt/venv")
    assert done.returncode == 1 and "so do it on its host" in done.stdout


# nox -s audit, nox -s sbom


class Database(BaseHTTPRequestHandler):
    """A database of vulnerabilities like OSV's, which knows what the test says."""

    def do_POST(self):
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((query["package"]["name"], query["version"]))
        known = self.server.known.get(query["package"]["name"], [])
        answer = json.dumps({"vulns": known} if known else {}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


@pytest.fixture
def database():
    with ThreadingHTTPServer(("127.0.0.1", 0), Database) as server:
        server.asked, server.known, server.status = [], {}, 200
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def vulnerability(name: str, id: str, fixed: str, alias: str) -> dict:
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = {"package": {"ecosystem": "PyPI", "name": name}}
    affected |= {"ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": id, "aliases": [alias], "summary": "Bad", "affected": [affected]}


@pytest.fixture(scope="module")
def python(projects, tmp_path_factory) -> Path:
    """The Python of the environment that `nox -s audit` makes."""
    folder = tmp_path_factory.mktemp("audit") / "environment"
    python = folder / "bin/python"
    sync = ["pip", "sync", f"--python={python}", "--require-hashes", "requirements/audit.txt"]
    for line in (["venv", "--python", ">=3.11,<3.14", str(folder)], sync):
        done = run(BIN / "uv", *line, cwd=projects["github"])
        assert done.returncode == 0, done.stdout
    return python


@pytest.fixture
def audited(projects, tmp_path) -> Path:
    shutil.copytree(projects["github"], tmp_path / "audited")
    return tmp_path / "audited"


@pytest.fixture
def audit(python, audited, database):
    """Run tools/audit.py as the nox session does, with the database above."""

    def audit(*options: str) -> subprocess.CompletedProcess:
        url = f"http://127.0.0.1:{database.server_port}/"
        env = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url}
        env |= {"NO_PROXY": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
        done = run(python, "tools/audit.py", *options, cwd=audited, **env)
        assert "Traceback" not in done.stdout
        return done

    return audit


HASH = f"--hash=sha256:{'0' * 64}"


def small(project: Path, pins: str = f"keras==3.15.1 \\\n    {HASH}\n") -> None:
    """Leave locks that are looked up faster."""
    for lock in (project / "requirements").glob("*.txt"):
        lock.write_text(f"# Made by `nox -s lock`\n{pins}")


def test_every_pin_of_every_lock_is_looked_up(audit, audited, database):
    done = audit()
    assert done.returncode == 0, done.stdout
    expected = set()
    for lock in (audited / "requirements").glob("*.txt"):
        expected |= set(re.findall(r"^([\w.-]+)==([^\s;]+)", lock.read_text(), re.MULTILINE))
    assert len(expected) > 200 and set(database.asked) == expected
    assert f"{len(expected)} pins, 0 known vulnerabilities, 0 accepted" in done.stdout
    assert ".github: No findings to report." in done.stdout


def test_a_known_vulnerability_is_named_until_it_is_accepted(audit, audited, database):
    small(audited)
    database.known["keras"] = [vulnerability("keras", "PYSEC-2026-1", "3.99.0", "CVE-2026-1")]
    done = audit()
    assert done.returncode == 1
    named = "keras 3.15.1: PYSEC-2026-1, fixed in 3.99.0 (audit.txt, cpu.txt, dev.txt,"
    assert named in done.stdout and "`nox -s lock -- --upgrade PACKAGE`" in done.stdout
    pyproject = audited / "pyproject.toml"
    text = pyproject.read_text()
    for accepted in ("PYSEC-2026-1", "CVE-2026-1"):
        pyproject.write_text(f'{text}\n[tool.audit.accepted]\n{accepted} = "no layers of others"\n')
        done = audit()
        assert done.returncode == 0, done.stdout
        assert "1 pins, 0 known vulnerabilities, 1 accepted" in done.stdout


def test_a_database_that_does_not_answer_is_told_in_one_sentence(audit, audited, database):
    small(audited)
    database.status = 500
    done = audit()
    assert done.returncode == 1
    assert "\naudit: the database of vulnerabilities does not answer (" in done.stdout
    assert done.stdout.count("\n") == 2 and "so nothing was looked up" in done.stdout
    done = audit("--osv-url=http://127.0.0.1:9/")
    assert done.returncode == 1 and done.stdout.count("\n") == 2
    done = audit("--nonsense")
    assert done.returncode == 1 and "unrecognized arguments: --nonsense" in done.stdout


UNKNOWN = """
import json, pathlib, sys
[file] = [word.partition("=")[2] for word in sys.argv if word.startswith("--requirement=")]
names = [line.split("==")[0] for line in pathlib.Path(file).read_text().split()]
skip = {name: {"skip_reason": "Dependency not found"} for name in names if name != "keras"}
found = [{"name": name, **skip.get(name, {"version": "3.15.1", "vulns": []})} for name in names]
print(json.dumps({"dependencies": found}))
"""


def test_what_the_database_does_not_know_is_not_passed_over(audit, audited, monkeypatch, tmp_path):
    (tmp_path / "stub").mkdir()
    (tmp_path / "stub/pip_audit.py").write_text(UNKNOWN)  # as PyPI's answers 404
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))
    small(audited, f"ours==1.0 \\\n    {HASH}\nkeras==3.15.1 \\\n    {HASH}\n")
    done = audit()
    assert done.returncode == 0, done.stdout
    assert "Not known to the database, so not looked up: ours\n" in done.stdout
    small(audited, f"ours==1.0 \\\n    {HASH}\n")
    done = audit()
    assert done.returncode == 1
    assert "knows none of the packages, so nothing was looked up" in done.stdout
    for lock in (audited / "requirements").glob("*.txt"):
        lock.unlink()
    done = audit()
    assert done.returncode == 1 and "requirements/ has no locks" in done.stdout


def test_a_dangerous_workflow_is_found(audit, audited, database):
    small(audited)
    bad = "on: pull_request_target\njobs:\n  x:\n    runs-on: ubuntu-latest\n    steps:\n"
    bad += "      - run: echo ${{ github.event.pull_request.title }}\n"
    (audited / ".github/workflows/bad.yml").write_text(bad)
    done = audit()
    assert done.returncode == 1
    assert "template-injection" in done.stdout
    assert done.stdout.endswith("audit: zizmor complains of the workflows in .github, see above.\n")


def test_the_bill_of_materials_says_what_the_locks_say(python, projects, tmp_path):
    project = shutil.copytree(projects["github"], tmp_path / "billed")
    done = run(python, "tools/sbom.py", python, cwd=project)
    assert done.returncode == 0, done.stdout
    texts = {file.name: file.read_text() for file in (project / "reports").iterdir()}
    assert texts.keys() == {"sbom-cpu.cdx.json", "sbom-gpu.cdx.json", "licences.md"}
    for text in texts.values():  # the same everywhere and at any time
        assert "/tmp" not in text and str(Path.home()) not in text and str(project) not in text
        assert "timestamp" not in text and "serialNumber" not in text
    for kind in ("cpu", "gpu"):
        bom = json.loads(texts[f"sbom-{kind}.cdx.json"])
        assert (bom["bomFormat"], bom["metadata"]["component"]["name"]) == ("CycloneDX", "cats")
        lock = (project / f"requirements/{kind}.txt").read_text()
        found = {(one["name"], one["version"]) for one in bom["components"]}
        assert found == set(re.findall(r"^([\w.-]+)==([^\s;]+)", lock, re.MULTILINE))
        hashes = set(re.findall(r'"content": "(\w{64})"', texts[f"sbom-{kind}.cdx.json"]))
        assert hashes == set(re.findall(r"sha256:(\w{64})", lock))
        declared = {one["name"]: one.get("licenses") for one in bom["components"]}
        spdx = {"id": "BSD-3-Clause", "acknowledgement": "declared"}
        assert declared["idna"] == [{"license": spdx}]
        assert declared["keras"] is None  # it is not installed here
    assert re.search(r"^\| idna \| \S+ \| BSD-3-Clause \| cpu, gpu \|$", texts["licences.md"], re.M)
    assert re.search(r"^\| keras \|.*\| \(not installed here\) \|", texts["licences.md"], re.M)


def test_the_sessions_make_their_environment_by_themselves(audited, database):
    audit = (audited / "requirements/audit.txt").read_text()
    small(audited)
    (audited / "requirements/audit.txt").write_text(audit)
    url = f"http://127.0.0.1:{database.server_port}/"
    env = {"PIP_AUDIT_VULNERABILITY_SERVICE": "osv", "PIP_AUDIT_OSV_URL": url}
    done = run(BIN / "nox", "-s", "audit", "sbom", cwd=audited, NO_PROXY="127.0.0.1", **env)
    assert done.returncode == 0, done.stdout
    assert " pins, 0 known vulnerabilities" in done.stdout
    assert "licences.md: 1 of these are not installed here" in done.stdout
    assert not (audited / ".venv").exists()


# Secrets

KEY = "-----BEGIN RSA " + "PRIVATE KEY-----"
SECRETS = {
    "aws.py": 'client = boto3.client("s3", aws_access_key_id="AKIA' + 'QYLPMN5HHHFPZAM2")\n',
    "github.md": "The token is ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a\n",
    "hub.py": 'login(token="hf_' + 'kQzXvWbTnYpLrJsHdGmFcAeUoIiKtRwEyB")\n',
    "wandb.yaml": "WANDB_API_KEY: 8f3a1c7be92d4056a7c1e0b3" + "d95f2486ac07be13\n",
    "server.key": f"{KEY}\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE" + " KEY-----\n",
}
HARMLESS = {
    "fetch.py": f'FILE_HASH = "{hashlib.sha256().hexdigest()}"\nTOKEN = os.environ["HF_TOKEN"]\n',
    "picture.ipynb": json.dumps(
        {
            "cells": [
                {
                    "attachments": {"p.png": {"image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYA"}},
                    "cell_type": "markdown",
                    "id": "1a2b3c4d",
                    "metadata": {},
                    "source": ["![p](attachment:p.png)"],
                }
            ],
            "metadata": {},
            "nbformat": 4,
            "nbformat_minor": 5,
        },
        indent=1,
    )
    + "\n",
}


@pytest.fixture(scope="module")
def repository(projects, tmp_path_factory) -> Path:
    """A project whose commits are checked, by a pre-commit on the PATH."""
    folder = tmp_path_factory.mktemp("secrets")
    project = shutil.copytree(projects["github"], folder / "project")
    assert run(sys.executable, "tools/hooks.py", cwd=project).returncode == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRE_COMMIT_HOME", str(folder / "pre-commit"))
        patch.setenv("PATH", f"{BIN}{os.pathsep}{os.environ['PATH']}")
        yield project


def try_commit(repository: Path, files: dict[str, str]) -> subprocess.CompletedProcess:
    """Commit these files, and no trace of them remains."""
    for name, text in files.items():
        (repository / name).write_text(text)
    git(repository, "add", "--force", *files)
    done = run("git", "commit", "--message=Work", cwd=repository)
    git(repository, "reset", "--quiet", "--hard", "HEAD" if done.returncode else "HEAD~")
    return done


def test_a_commit_with_a_secret_is_refused(repository):
    for name, text in SECRETS.items():
        done = try_commit(repository, {name: text})
        assert done.returncode == 1, name
        failed = set(re.findall(r"^(.+?)\.+Failed$", done.stdout, re.MULTILINE))
        assert failed & {"no passwords, keys, tokens", "no tokens of Hugging Face"}, done.stdout
        assert name in done.stdout


def test_a_false_alarm_can_be_allowed(repository):
    comment = "  # pragma: allowlist secret\n"
    files = {name: SECRETS[name].rstrip("\n") + comment for name in ("aws.py", "hub.py")}
    done = try_commit(repository, {"all.py": "".join(files.values())})
    failed = re.findall(r"^(.+?)\.+Failed$", done.stdout, re.MULTILINE)
    assert set(failed) <= {"ruff check"}, done.stdout  # it knows neither boto3 nor login


def test_nothing_in_the_project_is_a_false_alarm(repository, copy, tmp_path):
    others = {}
    for framework, ci in itertools.product(("jax", "torch"), ("gitlab",)):
        folder = tmp_path / framework
        assert copy(folder, framework=framework, ci=ci, package_name="cats").returncode == 0
        for name in (
            *(f"requirements/{lock.name}" for lock in (folder / "requirements").iterdir()),
        ):
            others[f"{framework}-{Path(name).name}"] = (folder / name).read_text()
        others[f"{framework}.gitlab-ci.yml"] = (folder / ".gitlab-ci.yml").read_text()
        others[f"{framework}.ipynb"] = (folder / "notebooks/gpu_check.ipynb").read_text()
    for name, text in (others | HARMLESS).items():
        (repository / name).write_text(text)
    git(repository, "add", "--all", "--force")
    for hook in ("detect-secrets", "hub-tokens"):
        done = run(BIN / "pre-commit", "run", "--all-files", hook, cwd=repository)
        assert done.returncode == 0, done.stdout
    git(repository, "reset", "--quiet", "--hard")
