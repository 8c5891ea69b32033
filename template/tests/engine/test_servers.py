# Managed by gpu-ml-template: copier update merges fixes into this file.
"""`nox -s lab` and `nox -s tensorboard`: they listen to this machine only, and call no other."""

import contextlib
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Python imports it at its start, also in processes that a server starts.
HOOK = """
import os, sys
def note(event, args):
    if event in ("socket.bind", "socket.connect", "socket.getaddrinfo"):
        address = args[:1] if event == "socket.getaddrinfo" else args[1][:1]
        with open(os.environ["NETWORK_LOG"], "a") as log:
            print(event, *address, file=log)
sys.addaudithook(note)
"""
HERE = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture
def serve(tmp_path):
    """Start a server of nox's and return the address that it prints; at the end, where it went."""
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    log = tmp_path / "network.log"
    env = os.environ | {
        "NETWORK_LOG": str(log),
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        "UV_PROJECT_ENVIRONMENT": sys.prefix,  # as in the container: no browser opens
        "PYTHONUNBUFFERED": "1",
        **{f"JUPYTER_{kind}_DIR": str(tmp_path / kind) for kind in ("CONFIG", "DATA", "RUNTIME")},
    }

    @contextlib.contextmanager
    def run(session: str, *options: str) -> Iterator[tuple[str, list[str]]]:
        line = [sys.executable, "-m", "nox", "-s", session, "--", *options]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        went, printed = [], ""
        with subprocess.Popen(line, cwd=ROOT, env=env, **pipes) as process:
            try:
                for text in process.stdout:
                    printed += text
                    if found := re.search(r"http://(localhost|127\.0\.0\.1):\d+/\S*", text):
                        break
                assert found, printed
                while not answers(found[0]):  # Lab prints its address before it listens
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        process.wait(0.1)
                        raise AssertionError(f"it ended:\n{printed}")
                yield found[0], went
            finally:
                process.terminate()
        went += log.read_text().splitlines()

    return run


def get(url: str) -> str:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url).read().decode()


def answers(url: str) -> bool:
    try:
        return bool(get(url))
    except urllib.error.URLError as error:
        assert isinstance(error.reason, ConnectionRefusedError), error
        return False


def test_lab_asks_nobody_for_versions_or_news(serve):
    with serve("lab", "--port=0", "--allow-root") as (url, went):
        assert '"disabled": true' in re.search(r'"news": \{.*?\}', get(url))[0]
        place, _, token = url.partition("/lab?")
        for question in ("update", "news"):
            get(f"{place}/lab/api/{question}?{token}")
    assert any(line.startswith("socket.bind") for line in went)
    assert {line.split()[1] for line in went} <= HERE


def test_tensorboard_shows_the_runs_to_this_machine_only(serve, finished):
    with serve("tensorboard", f"--logdir={finished.parent}", "--port=0") as (url, went):
        assert "val_accuracy" in get(f"{url}data/plugin/scalars/tags")
    assert any(line.startswith("socket.bind") for line in went)
    assert {line.split()[1] for line in went} <= HERE
