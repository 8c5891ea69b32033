""".ci/run: the README's commands in an empty home, with nothing but the way to the network."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from conftest import ROOT

NOX = """#!/bin/sh
{ echo "nox $*"; env; find "$HOME" -type f; } >>"$(dirname "$0")/../../log"
test "$*" != "$(cat "$(dirname "$0")/../../fails")"
"""
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
  mkdir -p .venv/bin && cp "$(dirname "$0")/nox" "$(dirname "$0")/pip" .venv/bin
fi
"""
HIDDEN = {"PYTHONDONTWRITEBYTECODE": "1", "CI": "true", "UV_CACHE_DIR": "/x", "GITHUB_ACTIONS": "1"}
GIVEN = {
    "https_proxy": "http://proxy.example:3128",
    "NO_PROXY": "localhost, 127.0.0.1",
    "SSL_CERT_FILE": "/ca.pem",
    "NODE_EXTRA_CA_CERTS": "/ca.pem",
    "GIT_SSL_CAINFO": "/ca.pem",
    "PIP_INDEX_URL": "https://packages.example/simple",
    "UV_DEFAULT_INDEX": "https://packages.example/simple",
    "npm_config_registry": "https://packages.example/npm",
}
SETTINGS = [".npmrc", ".config/pip/pip.conf", ".config/uv/uv.toml"]


@pytest.fixture
def run(tmp_path):
    """Run .ci/run where all programs are there, and nox only says what it was given."""
    programs, checkout, home = (tmp_path / name for name in ("bin", "checkout", "home"))
    programs.mkdir()
    (checkout / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / ".ci/run", checkout / ".ci")
    names = ("pip", "docker", "dockerd", "debootstrap", "npm", "openssl", "chromium", "git")
    texts = {"nox": NOX, "python3": PYTHON} | dict.fromkeys(names, "#!/bin/sh\n")
    for name, text in texts.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    for name in [*SETTINGS, ".gitconfig", ".cache/uv/x"]:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text("mine\n")

    def call(fails: str = "nothing") -> tuple[subprocess.CompletedProcess, str]:
        (checkout / "fails").write_text(fails)
        env = {"PATH": f"{programs}:/usr/bin:/bin", "HOME": str(home)} | HIDDEN | GIVEN
        line = ["bash", str(checkout / ".ci/run")]
        done = subprocess.run(line, env=env, capture_output=True, text=True)
        return done, (checkout / "log").read_text()

    return call


def test_it_runs_in_the_environment_of_a_newcomer(run, tmp_path):
    done, log = run()
    assert done.returncode == 0, done.stderr
    lines = log.splitlines()
    called = [line for line in lines if line.startswith("nox")]
    assert sorted(called) == ["nox ", "nox -s container", "nox -s projects"]
    names = {line.partition("=")[0] for line in lines}
    assert not names & HIDDEN.keys()
    for name, value in GIVEN.items():
        assert lines.count(f"{name}={value}") == 3
    [home] = {Path(line.removeprefix("HOME=")) for line in lines if line.startswith("HOME=")}
    found = {line.removeprefix(f"{home}/") for line in lines if line.startswith(f"{home}/")}
    assert found == set(SETTINGS)
    assert home != tmp_path / "home" and not os.path.exists(home)


@pytest.mark.parametrize("fails", ["", "-s projects", "-s container"])
def test_it_fails_where_one_of_them_does(run, fails):
    done, _ = run(fails)
    assert done.returncode == 1
    assert not fails or f"failed: {fails[3:]}" in done.stdout
