"""The project's work inside, without any network, as the user."""

import json

import pytest

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def workspace(started):
    """A container that lost its network."""
    workspace = started("1234")
    [container] = workspace.containers
    networks = list(workspace.container["NetworkSettings"]["Networks"])
    for network in networks:
        workspace.engine.docker("network", "disconnect", network, container)
    yield workspace
    for network in networks:
        workspace.engine.docker("network", "connect", network, container)


def test_there_is_no_network(workspace):
    get = "import socket; socket.create_connection(('1.1.1.1', 53), timeout=3)"
    assert workspace.try_exec("python", "-c", get).returncode != 0


def test_it_trains(workspace):
    assert "on the CPU" in workspace.exec("nox", "-s", "train", "--", "--epochs", "2")
    [run_dir] = (workspace.folder / "runs").glob("*-digits")
    assert json.loads((run_dir / "metrics.json").read_text())["val_accuracy"] > 0.8
    assert run_dir.stat().st_uid == workspace.user.uid
