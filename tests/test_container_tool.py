"""tools/container.py, with an engine that runs here what it would run in a container."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="takes 127.0.0.2 as the container")

# `exec` puts what listens on 127.0.0.1 in the container on 127.0.0.2 here.
ENGINE = """#!{python}
import json, os, pathlib, sys
state = pathlib.Path(__file__).parents[1]
action, rest = sys.argv[1], sys.argv[2:]
containers = json.loads((state / "containers.json").read_text())
if action == "-v":
    print((state / "version").read_text())
elif action == "ps":
    print(*[c["Id"] for c in containers if c["State"]["Running"] or "--all" in rest], sep="\\n")
elif action == "inspect" and rest[0] == "--format":
    print(*[str(c["State"]["Running"]).lower() for c in containers if c["Id"] == rest[2]])
elif action == "inspect":
    print(json.dumps([c for c in containers if c["Id"] in rest]))
elif action == "exec":
    at = rest.index("--workdir")
    (state / "exec").write_text(" ".join(rest[: at + 3]))
    os.chdir(state / "project")
    command = [word.replace("127.0.0.1", "127.0.0.2") for word in rest[at + 3 :]]
    if command[0] == "cat":
        print((state / "sockets").read_text())
    else:
        os.execvp(command[0], command)
"""

CLI = """#!{python}
import os, pathlib, sys
state = pathlib.Path(__file__).parents[1]
with (state / "cli").open("a") as log:
    print(os.environ.get("DOCKER_BUILDKIT"), *sys.argv[1:], file=log)
print("what it says", flush=True)
if "exec" in sys.argv:
    sys.exit(int(sys.argv[-1]))
print("why it fails", file=sys.stderr)
sys.exit(int((state / "code").read_text()))
"""

# Answers with all that it got, once the other side has sent everything.
ECHO = """
import socket, sys, threading
def answer(connection):
    got = bytearray()
    while data := connection.recv(65536):
        got += data
    connection.sendall(got)
    connection.close()
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready", sys.argv[1], flush=True)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],)).start()
"""

# Answers each piece at once, as a websocket does.
PING = ECHO.replace("got += data", "connection.sendall(data)")


class Host:
    """A host with a project, an engine and the CLI, and nothing else on its PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.project, self.bin = folder, folder / "my project", folder / "bin"
        (self.project / "tools").mkdir(parents=True)
        (self.project / ".devcontainer").mkdir()
        self.tool = shutil.copy(ROOT / "template/tools/container.py", self.project / "tools")
        (folder / "project").symlink_to(self.project)
        self.bin.mkdir()
        (self.bin / "python3").symlink_to(sys.executable)
        self.program("docker", ENGINE)
        self.program("devcontainer", CLI)
        self.write(version="Docker version 29.3.0", code="0", sockets="", cli="")
        self.containers()

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text.replace("{python}", sys.executable))
        (self.bin / name).chmod(0o755)

    def write(self, **files: str) -> None:
        for name, text in files.items():
            (self.folder / name).write_text(text)

    def containers(self, *containers: dict) -> None:
        self.write(containers=json.dumps(containers))
        (self.folder / "containers").rename(self.folder / "containers.json")

    def container(self, folder: str = "", config: str = "", running: bool = True) -> dict:
        labels = {
            "devcontainer.local_folder": folder or str(self.project),
            "devcontainer.config_file": f"{self.project}/.devcontainer/{config}devcontainer.json",
            "devcontainer.metadata": '[{"remoteUser": "root"}, {"remoteUser": "dev"}, {}]',
        }
        mount = {"Type": "bind", "Source": str(self.folder), "Destination": "/workspaces/all"}
        home = {"Type": "bind", "Source": str(self.folder.parent), "Destination": "/home/host"}
        return {
            "Id": f"{'elsewhere' if folder.startswith('/') else 'here'}-{config or 'gpu/'}",
            "Config": {"Labels": labels, "User": "root"},
            "Mounts": [{"Type": "volume"}, mount, home],
            "State": {"Running": running},
        }

    def start(self, *args: str, **environment: str) -> subprocess.Popen:
        env = {"PATH": str(self.bin), "PYTHONUNBUFFERED": "1", **environment}
        out = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen([sys.executable, self.tool, *args], env=env, cwd="/", **out)

    def run(self, *args: str, **environment: str) -> tuple[int, str]:
        process = self.start(*args, **environment)
        printed = process.communicate(timeout=60)[0]
        assert "Traceback" not in printed
        return process.returncode, printed

    def calls(self) -> list[str]:
        return (self.folder / "cli").read_text().splitlines()


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path)


def test_it_finds_the_running_container_of_this_folder(host):
    assert host.run("find") == (1, "")
    other = host.container(folder=f"{host.folder}/other")
    host.containers(other, host.container(running=False))
    assert host.run("find") == (1, "")
    host.containers(other, host.container(config="cpu/"), host.container())
    assert host.run("find") == (0, "here-cpu/\n")
    in_wsl = str(host.project).replace("/", "\\")
    host.containers(host.container(folder=f"\\\\wsl.localhost\\Ubuntu{in_wsl}"))
    assert host.run("find") == (0, "here-gpu/\n")
    assert host.run("find", DOCKER="/nowhere/docker") == (1, "")
    (host.bin / "docker").rename(host.bin / "podman")
    assert host.run("find") == (0, "here-gpu/\n")
    (host.bin / "podman").unlink()
    assert host.run("find") == (1, "")


def test_up_starts_the_configuration_that_is_asked_for(host):
    code, printed = host.run("up")
    assert code == 0 and "what it says" in printed and "`nox -s container -- COMMAND`" in printed
    assert host.run("up", "--cpu", "--rebuild", "--gpu", "none", DOCKER_BUILDKIT="0")[0] == 0
    assert host.run("up", DOCKER="/opt/other/docker")[0] == 0
    options = "--config .devcontainer/cpu/devcontainer.json --remove-existing-container"
    assert host.calls() == [
        "1 up --workspace-folder .",
        f"0 up --workspace-folder . {options} --gpu-availability none",
        "1 up --workspace-folder . --docker-path /opt/other/docker",
    ]


def test_up_looks_for_no_gpu_where_the_cli_cannot(host):
    host.write(version="podman version 5.4.0")
    (host.bin / "docker").rename(host.bin / "podman")
    assert "`--gpu all` asks for them" in host.run("up")[1]
    assert host.run("up", "--gpu", "all")[0] == 0
    path = f"--docker-path {host.bin}/podman"
    assert [line.split(" . ")[1] for line in host.calls()] == [
        f"{path} --gpu-availability none",
        f"{path} --gpu-availability all",
    ]


@pytest.mark.parametrize("command", [["up"], ["run", "true"]])
def test_a_start_that_fails_is_explained(host, command):
    host.write(code="3")
    doctor = "import sys; print(sys.argv[1:], 'explains:', sys.stdin.read().split())"
    (host.project / ".devcontainer/doctor.py").write_text(doctor)
    code, printed = host.run(*command)
    assert code == 3
    said = ["what", "it", "says", "why", "it", "fails"]
    assert printed == f"what it says\nwhy it fails\n['--explain'] explains: {said}\n"


def test_run_starts_what_does_not_run_and_returns_the_commands_code(host):
    host.containers(host.container(running=False), host.container(config="cpu/"))
    code, printed = host.run("run", "nox", "-s", "tests", "--", "--cpu", "5")
    assert (code, printed) == (5, "what it says\n")  # by the command alone: the start is quiet
    assert host.run("run", "--cpu", "exit", "7")[0] == 7
    assert host.calls() == [
        "1 up --workspace-folder .",
        "1 exec --workspace-folder . nox -s tests -- --cpu 5",
        "1 exec --workspace-folder . --config .devcontainer/cpu/devcontainer.json exit 7",
    ]


def test_what_is_missing_is_named(host):
    (host.bin / "devcontainer").unlink()
    assert "install Node.js" in host.run("up")[1]
    host.program("npx", CLI)
    assert host.run("up")[0] == 0
    assert host.calls() == ["1 --yes @devcontainers/cli@0.89.0 up --workspace-folder ."]
    assert host.run("serve", "8000", "true") == (
        1,
        "container: no dev container of this folder runs: `nox -s container` starts it.\n",
    )
    (host.bin / "docker").unlink()
    code, printed = host.run("up")
    assert code == 1 and "install Docker" in printed


def free_port() -> int:
    """A port that is free on both addresses, with some free ones after it."""
    with socket.create_server(("", 0)) as any_address:
        return any_address.getsockname()[1]


@contextlib.contextmanager
def serving(host: Host, *command: str, first: int | None = None):
    """A server in the container, as a process and its port, once it is ready."""
    host.containers(host.container())
    process = host.start("serve", str(first or free_port()), *command)
    try:
        yield process, int(process.stdout.readline().removeprefix("ready "))
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(port: int, data: bytes) -> bytes:
    """Send, say that this was all, and read to the end."""
    got = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while piece := connection.recv(1 << 16):
            got += piece
    return bytes(got)


def test_the_relay_carries_everything_both_ways_to_its_end(host):
    with serving(host, "python3", "-c", ECHO, "{port}") as (_, port):
        options = "--interactive --user dev --workdir /workspaces/all/my project here-gpu/"
        large = os.urandom(10_000_000)
        assert ask(port, large) == large
        assert (host.folder / "exec").read_text() == options
        assert ask(port, b"") == b""
        answers = {}

        def one(number: int) -> None:
            answers[number] = ask(port, b"%d" % number * 1000)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == {number: b"%d" % number * 1000 for number in range(40)}


def test_the_relay_keeps_a_conversation_open(host):
    with (
        serving(host, "python3", "-c", PING, "{port}") as (_, port),
        socket.create_connection(("127.0.0.1", port), timeout=60) as connection,
    ):
        for number in range(50):
            piece = os.urandom(1 + number * 20)
            connection.sendall(piece)
            assert connection.recv(len(piece), socket.MSG_WAITALL) == piece


def test_only_this_machine_is_listened_to(host):
    with serving(host, "python3", "-c", ECHO, "{port}") as (process, port):
        table = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
        local = [line.split()[1] for line in table.splitlines() if line.split()[3] == "0A"]
        mine = {address for address in local if address.endswith(f":{port:04X}")}
        assert mine == {f"0100007F:{port:04X}", f"0200007F:{port:04X}"}  # the relay, the server


def test_the_port_is_one_that_is_free_on_both_sides(host):
    first = free_port()
    with socket.create_server(("127.0.0.1", first)):
        listening = f"   0: 0100007F:{first + 1:04X} 00000000:0000 0A 00000000:00000000"
        host.write(sockets=listening)
        with serving(host, "python3", "-c", ECHO, "{port}", first=first) as (_, port):
            assert port > first + 1
            assert ask(port, b"x") == b"x"


def alive(pid: str) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return Path("/proc", pid, "stat").read_text().split()[2] != "Z"
    return False


# Stubborn: it starts a process of its own, and both take a while to go.
SERVER = "import os, subprocess, time; p = subprocess.Popen(['python3', '-c', 'while 1: pass'])"
SERVER += "; print('ready', 1, flush=True); print(os.getpid(), p.pid, flush=True); time.sleep(99)"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGHUP])
def test_the_server_ends_with_the_process_on_the_host(host, number):
    with serving(host, "python3", "-c", SERVER) as (process, _):
        pids = process.stdout.readline().split()
        assert all(map(alive, pids))
        process.send_signal(number)
        assert process.wait(timeout=20) == (0 if number == signal.SIGINT else -number)
        deadline = time.monotonic() + 20
        while any(map(alive, pids)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(map(alive, pids))
        assert "Traceback" not in process.stdout.read()


def test_serve_ends_with_the_command_and_says_when_the_container_did(host):
    host.containers(host.container())
    first = str(free_port())
    assert host.run("serve", first, "python3", "-c", "import sys; sys.exit(5)") == (5, "")
    code, printed = host.run("serve", first, "no-such-program")
    assert code == 1 and "no-such-program" in printed
    killed = "import time; print('ready 1', flush=True); time.sleep(1); exit(137)"
    with serving(host, "python3", "-c", killed) as (process, _):
        host.containers(host.container(running=False))
        assert process.wait(timeout=20) == 1
        assert process.stdout.read() == "container: the dev container has stopped.\n"
