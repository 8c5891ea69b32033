"""JupyterLab of the dev container in a real browser: in its network, and from the host."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from .conftest import BUILD

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def workspace(started):
    return started("1000")


@pytest.fixture(scope="module")
def lab(workspace, caller, tmp_path_factory):
    """The address that `nox -s lab`, started on the host, prints."""
    log = tmp_path_factory.mktemp("lab") / "log"
    env = workspace.env() | {"HOME": str(caller.home), "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "nox", "-s", "lab", "--", "--port", "8890"],
            cwd=workspace.folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield address(log, process)
    finally:
        process.terminate()
        process.wait(30)


def address(log: Path, process: subprocess.Popen) -> str:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if found := re.search(r"http://127\.0\.0\.1:\d+/lab\?token=\w+", log.read_text()):
            return found[0]
        time.sleep(0.2)
    pytest.fail(f"`nox -s lab` printed no address:\n{log.read_text()}")


@pytest.fixture(scope="module", params=["in its network", "through the relay"])
def page(request, workspace, tmp_path_factory):
    """A page of a headless Chromium."""
    from playwright.sync_api import sync_playwright

    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if not browser:
        pytest.fail("A browser is needed: install chromium.", pytrace=False)
    program = tmp_path_factory.mktemp("browser") / "chromium"
    enter = ""
    if request.param == "in its network":
        if os.geteuid():
            pytest.skip("only root can enter the container's network")
        enter = f"nsenter --target {workspace.container['State']['Pid']} --net "
    program.write_text(f'#!/bin/sh\nexec {enter}{browser} "$@"\n')
    program.chmod(0o755)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program)
        yield chromium.new_page(viewport={"width": 1400, "height": 1000})
        chromium.close()


def test_the_page_asks_for_the_token(lab, page):
    page.goto(lab.split("?")[0])
    assert page.url.split("?")[0].endswith("/login")
    assert page.get_by_text("Token authentication is enabled").is_visible()


def test_nothing_is_answered_without_the_token(lab):
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(lab.replace("/lab?", "/api/contents?").split("?")[0])


def test_the_notebook_runs_to_its_last_cell(lab, page, workspace, request):
    file = workspace.folder / "notebooks/gpu_check.ipynb"
    source = file.read_text()
    try:
        page.goto(lab.replace("/lab?", "/lab/tree/notebooks/gpu_check.ipynb?"))
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=180_000)
        page.get_by_role("menuitem", name="Run", exact=True).click()
        page.get_by_text("Run All Cells", exact=True).click()
        cells = wait_for_last_cell(page, file)
        assert not [out for cell in cells for out in cell["outputs"] if "ename" in out]
        page.locator(".jp-CodeCell .jp-OutputArea-output").last.scroll_into_view_if_needed()
        BUILD.mkdir(parents=True, exist_ok=True)
        where = request.node.callspec.params["page"].replace(" ", "-")
        page.screenshot(path=BUILD / f"lab-{where}.png")
    finally:
        file.write_text(source)


def wait_for_last_cell(page, file: Path) -> list[dict]:
    """Save the notebook until its last cell has an output; return its code cells."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        page.wait_for_timeout(2000)
        page.keyboard.press("Control+s")
        page.wait_for_timeout(500)
        try:
            notebook = json.loads(file.read_text())
        except ValueError:  # it is being written
            continue
        cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        if cells[-1]["execution_count"] and cells[-1]["outputs"]:
            return cells
    page.screenshot(path=BUILD / "lab-failed.png")
    raise AssertionError("the notebook did not end; see build/container/lab-failed.png")


def test_it_listens_to_its_own_machine_only(lab, workspace):
    loopback = {"0100007F", "0" * 24 + "01000000"}
    printed = workspace.exec("cat", "/proc/net/tcp", "/proc/net/tcp6")
    listening = re.findall(r"^ *\d+: (\w+):(\w+) \w+:\w+ 0A", printed, re.M)
    assert 8890 in [int(port, 16) for _, port in listening]
    assert {host for host, _ in listening} <= loopback
    assert workspace.container["NetworkSettings"]["Ports"] in ({}, None)
