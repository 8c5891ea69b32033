"""docs/tracking.md, word for word: the table of runs, and MLflow in an environment of its own.

MLflow is the real one from PyPI, as the project's lock pins it. The framework is not installed.
"""

import os
import re
import shlex
import signal
import socket
import sqlite3
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from conftest import ROOT

PAGE = (ROOT / "docs/tracking.md").read_text().replace("PACKAGE", "cats")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
TABLE, INSTALL, LOG, LOOK = (text for kind, text in BLOCKS if kind == "sh")
[SCRIPT] = (text for kind, text in BLOCKS if kind == "python")
# Runs as train.py leaves them, but for what needs a framework.
MAKE = """
import dataclasses, json, pathlib, sys, types
import numpy as np
from cats import recipes
from cats.engine import pipeline, runs
split = pipeline.Split(100, None)
dataset = pipeline.Dataset(split, split, split, ("a", "b"))
example = np.zeros((1, 8, 8, 1), "uint8"), np.zeros(1, "int32")
task = types.SimpleNamespace(monitor="val_loss", mode="min", dataset=dataset, example=example)
for n, rate in enumerate((0.01, 0.001)):
    run_dir = pathlib.Path("runs", f"2026010{n}-digits")
    wish = dataclasses.replace(recipes.digits(), epochs=3, learning_rate=rate)
    runs.open_dir(run_dir, wish, task, "a test")
    row = {"loss": 1.0, "accuracy": 0.5, "val_accuracy": 0.6 - n / 10}
    row |= {"examples_per_s": 96.0, "data_wait": 0.1}
    with runs.Log(run_dir, []) as log:
        for epoch in (1, 2, 3):
            log.add({"epoch": epoch, "val_loss": 1 / epoch, **row}, 3)
    results = {"best_epoch": 3, "val_loss": 1 / 3, "val_accuracy": 0.6 - n / 10}
    results |= {"test_loss": 0.5, "test_accuracy": 0.5}
    results |= {"test_balanced_accuracy": 0.5, "test_macro_f1": 0.5}
    (run_dir / "metrics.json").write_text(json.dumps(results))
    for name in ("report.html", "MODEL_CARD.md", "model.keras"):
        (run_dir / name).write_text(name)
"""
# Python imports it at its start: it notes each address that is asked for, in every process.
HOOK = """
import os, sys
def note(event, args):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo"):
        address = args[0] if event == "socket.getaddrinfo" else args[1]
        address = address[0] if isinstance(address, tuple) else address
        with open(os.environ["NETWORK_LOG"], "a") as log:
            print(event, address, file=log)
sys.addaudithook(note)
"""
NO_TELEMETRY_IN = ("CI", "PYTEST_", "GITHUB_", "GITLAB_", "MLFLOW_", "DO_NOT_TRACK")


@pytest.fixture(scope="module")
def project(copy, tmp_path_factory) -> Path:
    """A project with MLflow, pinned as the page says, and two runs."""
    folder = tmp_path_factory.mktemp("tracking") / "project"
    assert copy(folder, package_name="cats").returncode == 0
    pyproject = folder / "pyproject.toml"
    [line] = re.findall('`("mlflow>=.*?",)` to the list `dev`', PAGE)
    text = pyproject.read_text()
    assert text.count("\ndev = [\n") == 1
    pyproject.write_text(text.replace("\ndev = [\n", f"\ndev = [\n    {line}\n"))
    lock, setup, activate = INSTALL.splitlines()
    assert (setup, activate) == ("nox -s setup", "source .venv/bin/activate")
    run(folder, lock)
    assert re.search(r"^mlflow==3\.\S+ \\\n +--hash=sha256:", pins(folder), re.MULTILINE)
    # `nox -s setup` is tested in test_generated.py; here a part of these pins is enough.
    python = "--python=.venv/bin/python"
    install = f"uv pip install --quiet {python} --constraints=requirements/dev.txt"
    install += " --constraints=requirements/cpu.txt cattrs mlflow numpy python-dotenv tyro"
    run(folder, f"uv venv --quiet --python={sys.executable} .venv && {install}")
    [packages] = folder.glob(".venv/lib/python3*/site-packages")
    (packages / "cats.pth").write_text(str(folder / "src"))
    run(folder, f"{activate}\npython -c {shlex.quote(MAKE)}")
    (folder / "scripts").mkdir()
    (folder / "scripts/mlflow_runs.py").write_text(SCRIPT)
    return folder


def pins(folder: Path) -> str:
    return (folder / "requirements/dev.txt").read_text()


def environment(project: Path) -> dict[str, str]:
    """A person's environment: not that of CI, where MLflow reports nothing anyway."""
    env = {name: os.environ[name] for name in os.environ if not name.startswith(NO_TELEMETRY_IN)}
    hook = project.parent / "hook"
    hook.mkdir(exist_ok=True)
    (hook / "sitecustomize.py").write_text(HOOK)
    env |= {"PYTHONPATH": str(hook), "NETWORK_LOG": str(project.parent / "network.log")}
    return env


def run(project: Path, commands: str, env: dict[str, str] | None = None) -> str:
    line = ["bash", "-ec", commands]
    done = subprocess.run(line, cwd=project, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked_for(project: Path) -> set[str]:
    """The hosts that MLflow asked for; a path is a socket of this machine, such as Docker's."""
    lines = (project.parent / "network.log").read_text().splitlines()
    return {host for _, host in (line.split(" ", 1) for line in lines) if host[0] != "/"}


def rows(project: Path, query: str) -> list[tuple]:
    with sqlite3.connect(project / "runs/mlflow.db") as database:
        return database.execute(query).fetchall()


def test_the_table_is_as_the_page_shows_it(project):
    printed = run(project, f"source .venv/bin/activate\n{TABLE}").splitlines()
    [shown] = (text for kind, text in BLOCKS if kind == "text")
    assert printed[0].split() == shown.splitlines()[0].split()
    newest, best = printed[:5], printed[5:]
    assert [line.split()[-1] for line in newest[1::2]] == ["20260101-digits", "20260100-digits"]
    assert newest[2].split() == ["learning_rate=0.001"]
    assert [line.split()[-1] for line in best[1::2]] == ["20260100-digits", "20260101-digits"]


def test_mlflow_gets_each_finished_run_once_and_shows_it_here_only(project):
    env = environment(project)

    def log() -> list[str]:
        return run(project, f"source .venv/bin/activate\n{LOG}", env).splitlines()

    names = ["20260100-digits", "20260101-digits"]
    assert log() == [f"logged runs/{name}" for name in names]
    live = "FROM runs WHERE lifecycle_stage = 'active'"
    assert rows(project, f"SELECT name, status {live}") == [(name, "FINISHED") for name in names]
    first = f"(SELECT run_uuid {live} ORDER BY name LIMIT 1)"
    of_first = f"WHERE run_uuid = {first}"
    steps = f"SELECT step, value FROM metrics {of_first} AND key = 'val_loss' ORDER BY step"
    assert rows(project, steps) == [(n, pytest.approx(1 / n)) for n in (1, 2, 3)]
    best = f"SELECT value FROM metrics {of_first} AND key = 'best/test_accuracy'"
    assert rows(project, best) == [(0.5,)]
    assert ("learning_rate", "0.01") in rows(project, f"SELECT key, value FROM params {of_first}")
    copies = {path.name for path in project.glob("runs/mlflow/*/artifacts/*")}
    assert copies == {
        "config.json", "metrics.jsonl", "report.html", "MODEL_CARD.md", "model.keras",
    }  # fmt: skip

    # A run that was being logged when somebody pressed Ctrl-C, and one that is not finished.
    with sqlite3.connect(project / "runs/mlflow.db") as database:
        database.execute(f"UPDATE runs SET status = 'RUNNING' {of_first}")
    (project / "runs" / names[1] / "metrics.json").rename(project / "finished.json")
    assert log() == [f"logged runs/{names[0]}"]
    assert log() == []
    assert sorted(rows(project, f"SELECT name, status {live}")) == [(n, "FINISHED") for n in names]
    assert run(project, "git init --quiet && git status --porcelain runs") == ""

    old = "import mlflow; mlflow.set_tracking_uri('mlruns'); mlflow.search_experiments()"
    with pytest.raises(AssertionError, match="MLFLOW_ALLOW_FILE_STORE"):
        run(project, f"source .venv/bin/activate\npython -c {shlex.quote(old)}", env)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["bash", "-ec", f"source .venv/bin/activate\n{LOOK}"],
        cwd=project,
        env=env | {"MLFLOW_PORT": str(port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed = []
        while not any(f"http://127.0.0.1:{port} " in line for line in printed[-1:]):
            printed.append(server.stdout.readline())
            assert printed[-1], "".join(printed)
        get = urllib.request.build_opener(urllib.request.ProxyHandler({})).open
        address = f"http://127.0.0.1:{port}"
        assert b"<title>MLflow</title>" in get(address).read()
        assert b'"disable_ui_telemetry":true' in get(
            f"{address}/ajax-api/3.0/mlflow/ui-telemetry"
        ).read().replace(b" ", b"")
        found = get(f"{address}/api/2.0/mlflow/experiments/search?max_results=9").read()
        assert b'"project"' in found
        assert listening(port) == {"0100007F"}  # 127.0.0.1
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate()
    assert "127.0.0.1" in asked_for(project) <= {"127.0.0.1", "::1"}, "MLflow talks to others"


def listening(port: int) -> set[str]:
    """The addresses at which this machine listens for a port, in hex."""
    tables = [Path("/proc/net", name).read_text() for name in ("tcp", "tcp6")]
    found = re.findall(r"^ *\d+: (\w+):(\w+) \w+:\w+ 0A", "".join(tables), re.MULTILINE)
    return {address for address, number in found if int(number, 16) == port}
