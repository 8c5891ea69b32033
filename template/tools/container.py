# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The dev container without an editor: start it, run a command in it, reach a server in it.

`nox -s container` and, on the host, `nox -s lab` call this. No port of the container is published.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]
ENGINE = os.environ.get("DOCKER") or shutil.which("docker") or shutil.which("podman")
CLI = "@devcontainers/cli@0.89.0"
GPU, CPU = (f"/.devcontainer/{folder}devcontainer.json" for folder in ("", "cpu/"))

# In the container: runs a command, and ends it when the host lets go of stdin, however it did.
KEEPER = """
import os, signal, subprocess, sys, threading, time
def end(number):
    try:
        os.killpg(child.pid, number)
    except ProcessLookupError:
        pass
def watch():
    while os.read(0, 4096):
        pass
    end(signal.SIGTERM)
    time.sleep(8)
    end(signal.SIGKILL)
try:
    child = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
except OSError as error:
    sys.exit(f"container: {error}")
threading.Thread(target=watch, daemon=True).start()
code = child.wait()
end(signal.SIGKILL)
os._exit(code if code >= 0 else 128 - code)
"""

# In the container: one connection, from stdin to a server's port and back to stdout.
RELAY = """
import os, socket, sys, threading
server = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
def send():
    while data := os.read(0, 1 << 16):
        server.sendall(data)
    server.shutdown(socket.SHUT_WR)
threading.Thread(target=send, daemon=True).start()
while data := server.recv(1 << 16):
    while data:
        data = data[os.write(1, data):]
os._exit(0)
"""


def output(*command: str) -> str:
    """What a command prints; nothing if it does not exist."""
    try:
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8").stdout
    except OSError:
        return ""


def find(*options: str, cpu: bool | None = None) -> dict | None:
    """The newest dev container of this folder that runs, as the engine describes it."""
    which = ["ps", "--quiet", "--filter", "label=devcontainer.local_folder", *options]
    ids = output(ENGINE, *which).split() if ENGINE else []
    for container in json.loads(output(ENGINE, "inspect", *ids) or "[]") if ids else []:
        labels = container["Config"]["Labels"]
        # VS Code on Windows calls a folder of WSL \\wsl.localhost\Ubuntu\home\...
        folder, in_wsl = re.subn(r"^\\\\wsl[^\\]*\\[^\\]+", "", labels["devcontainer.local_folder"])
        folder = Path(folder.replace("\\", "/") if in_wsl else folder)
        config = labels.get("devcontainer.config_file", "").replace("\\", "/")
        if folder.resolve() == ROOT and (cpu is None or config.endswith(CPU if cpu else GPU)):
            return container
    return None


def execute(container: dict, *command: str) -> list[str]:
    """The command line that runs a command in a container, as its user in the workspace."""
    metadata = json.loads(container["Config"]["Labels"].get("devcontainer.metadata") or "[]")
    metadata = metadata if isinstance(metadata, list) else [metadata]
    users = [part["remoteUser"] for part in metadata if part.get("remoteUser")]
    user = users[-1] if users else container["Config"]["User"] or "root"
    workspace = PurePosixPath("/workspaces", ROOT.name)
    # The closest mount: of this folder, or of the git repository around it.
    for mount in sorted(container["Mounts"], key=lambda mount: len(mount.get("Source") or "")):
        source = Path(mount.get("Source") or "/").resolve()
        if mount["Type"] == "bind" and (source == ROOT or source in ROOT.parents):
            workspace = PurePosixPath(mount["Destination"], ROOT.relative_to(source).as_posix())
    at = ["--interactive", "--user", user, "--workdir", str(workspace), container["Id"]]
    return [ENGINE, "exec", *at, *command]


def devcontainer(args: argparse.Namespace, action: str) -> list[str]:
    """The command line of the dev container CLI."""
    if not ENGINE:
        sys.exit("container: there is no container engine here: install Docker Engine or Desktop.")
    found, npx = shutil.which("devcontainer"), shutil.which("npx")
    if not found and not npx:
        sys.exit(
            "container: the dev container CLI is missing: install Node.js 20 or newer (it has npx)."
        )
    line = [found] if found else [npx, "--yes", CLI]
    line += [action, "--workspace-folder", ".", *(["--config", CPU[1:]] if args.cpu else [])]
    return line if shutil.which("docker") == ENGINE else [*line, "--docker-path", ENGINE]


def up(args: argparse.Namespace, quiet: bool) -> None:
    """Start the dev container; if that fails, explain it and end."""
    line = devcontainer(args, "up")
    if args.rebuild:
        line += ["--remove-existing-container"]
    if not args.gpu and "podman" in output(ENGINE, "-v"):
        show(b"container: the CLI cannot look for GPUs with podman: `--gpu all` asks for them.\n")
        args.gpu = "none"
    if args.gpu:
        line += ["--gpu-availability", args.gpu]
    printed = bytearray()
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while data := process.stdout.read1(1 << 16):
            printed += data
            if not quiet:
                show(data)
    if process.returncode:
        if quiet:
            show(printed)
        doctor = ROOT / ".devcontainer" / "doctor.py"
        if doctor.is_file():
            subprocess.run([sys.executable, str(doctor), "--explain"], input=printed)
        sys.exit(process.returncode)


def show(data: bytes) -> None:
    """Pass on what a command prints; stdout is kept for a command in the container."""
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()


def run(args: argparse.Namespace) -> None:
    """Start the dev container, or run a command in it and end with its exit code."""
    if not args.command or args.rebuild or not find(cpu=args.cpu):
        # Starting a container again takes seconds, making it takes minutes.
        stopped = args.command and not args.rebuild and find("--all", cpu=args.cpu)
        up(args, quiet=bool(stopped))
    if not args.command:
        print("container: it runs. `nox -s container -- COMMAND` runs a command in it.")
        return
    line = [*devcontainer(args, "exec"), *args.command]
    if os.name == "posix":
        os.execvp(line[0], line)
    sys.exit(subprocess.run(line).returncode)


def listen(first: int, taken: set[int]) -> socket.socket:
    """Listen on this machine's own address, at the first port that is free here and in there."""
    for port in range(first, min(first + 100, 1 << 16)):
        with contextlib.suppress(OSError):
            listener = socket.create_server(("127.0.0.1", port), backlog=128)
            if listener.getsockname()[1] not in taken:
                return listener
            listener.close()
    sys.exit(f"container: no port from {first} on is free: give another one.")


def relay(listener: socket.socket, container: dict) -> None:
    """Give each connection to a process of its own, which takes it to the port in the container."""
    port = str(listener.getsockname()[1])
    line = execute(container, "python3", "-IS", "-c", RELAY, port)
    while True:
        try:
            connection, _ = listener.accept()
            with connection:
                subprocess.Popen(
                    line,
                    stdin=connection,
                    stdout=connection,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
        except OSError as error:  # too many open files or processes
            print(f"container: a connection was refused: {error}", file=sys.stderr)
            time.sleep(1)


def serve(args: argparse.Namespace) -> None:
    """Run a server in the container and relay its port, until one of the two ends."""
    if os.name != "posix":
        sys.exit("container: this needs Linux, macOS or WSL2.")
    container = find()
    if not container:
        sys.exit("container: no dev container of this folder runs: `nox -s container` starts it.")
    sockets = output(*execute(container, "cat", "/proc/net/tcp", "/proc/net/tcp6"))
    taken = {int(port, 16) for port in re.findall(r"^ *\d+: \w+:(\w+) \w+:\w+ 0A", sockets, re.M)}
    listener = listen(args.port, taken)
    threading.Thread(target=relay, args=(listener, container), daemon=True).start()
    command = [word.replace("{port}", str(listener.getsockname()[1])) for word in args.command]
    process = subprocess.Popen(
        execute(container, "python3", "-IS", "-c", KEEPER, *command),
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for this process, which then ends that one
    )
    try:
        code = process.wait()
    except KeyboardInterrupt:
        process.stdin.close()
        process.wait()
        return
    if output(ENGINE, "inspect", "--format", "{{.State.Running}}", container["Id"]) != "true\n":
        sys.exit("container: the dev container has stopped.")
    sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("find", help="print the id of this folder's running dev container")
    server = actions.add_parser("serve", help="run a server in it, to be reached from this machine")
    server.add_argument("port", type=int, help="the first to try; {port} in COMMAND is the one")
    server.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    for name, text in (("up", "start it"), ("run", "run a command in it")):
        start = actions.add_parser(name, help=text)
        start.add_argument("--cpu", action="store_true", help="the one with the small image")
        start.add_argument("--rebuild", action="store_true", help="make it anew")
        start.add_argument("--gpu", choices=["all", "detect", "none"], help="instead of detecting")
        start.set_defaults(command=[])
    start.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    args = parser.parse_args()
    os.chdir(ROOT)
    os.environ.setdefault("DOCKER_BUILDKIT", "1")  # engines without buildx need to be told
    if args.action == "serve":
        serve(args)
    elif args.action != "find":
        run(args)
    elif found := find():
        print(found["Id"])
    else:
        sys.exit(1)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
