"""From `devcontainer up` to a commit, for people with uid 1000 and with another one."""

import json
import re
import subprocess

import pytest

pytestmark = pytest.mark.container

DOCTOR = ("python3", ".devcontainer/doctor.py")
ADA = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")


@pytest.fixture(scope="module", params=["1000", "1234"])
def workspace(request, started):
    return started(request.param)


def in_git(workspace) -> None:
    for line in (["init", "--quiet"], ["add", "--all"], [*ADA, "commit", "--quiet", "-m", "Start"]):
        done = workspace.try_run("git", *line)
        assert done.returncode == 0, done.stdout


def test_nothing_runs_as_root(workspace):
    uid = str(workspace.user.uid)
    status = workspace.exec("cat", "/proc/1/status", "/proc/self/status")
    assert re.findall(r"^Uid:\t(.+)", status, re.M) == ["\t".join([uid] * 4)] * 2
    assert re.findall(r"^NoNewPrivs:\t(.)", status, re.M) == ["1", "1"]
    assert re.findall(r"^CapEff:\t(\w+)", status, re.M) == ["0" * 16] * 2
    assert workspace.exec("id", "-un") == "dev\n"
    assert workspace.try_exec("sudo", "true").returncode != 0
    processes = workspace.engine.docker("top", workspace.containers[0], "-eo", "uid,pid")
    assert {line.split()[0] for line in processes.splitlines()[1:]} == {uid}


def test_files_belong_to_the_host_user(workspace):
    workspace.exec("mkdir", "-p", "runs/new")
    workspace.exec("touch", "runs/new/file")
    for name in ("runs", "runs/new", "runs/new/file"):
        there = (workspace.folder / name).stat()
        assert (there.st_uid, there.st_gid) == (workspace.user.uid, workspace.user.gid)
    assert workspace.exec("stat", "--format=%U:%G", "/home/dev", "/home/dev/.cache") == (
        "dev:dev\n" * 2
    )


@pytest.mark.parametrize("shell", [["bash", "-c"], ["bash", "-lc"], ["bash", "-ic"], ["sh", "-c"]])
def test_each_shell_finds_the_environment(started, shell):
    printed = started("1000").exec(*shell, "command -v python")  # and bash's "no job control"
    assert "/opt/venv/bin/python" in printed.splitlines()


def test_bash_is_the_users_shell(started):
    passwd = started("1000").exec("getent", "passwd", "dev").strip()
    assert passwd.endswith(":/home/dev:/bin/bash")
    assert "bash_completion" in started("1000").exec("cat", "/home/dev/.bashrc")


def test_notebooks_have_one_kernel_the_environments(started):
    printed = started("1000").exec("jupyter", "kernelspec", "list", "--json")
    listed = json.loads(printed[printed.index("{") :])
    [(name, kernel)] = listed["kernelspecs"].items()
    assert name == "python3" and kernel["resource_dir"].startswith("/opt/venv/")


def test_packages_can_be_added_changed_and_removed(workspace):
    before = workspace.exec("uv", "pip", "freeze", "--quiet")
    was = re.search(r"^six==.+", before, re.M)[0]  # from the image, so root's
    workspace.exec("uv", "pip", "install", "emoji==2.14.0", "six==1.15.0")
    workspace.exec("uv", "pip", "install", "--upgrade", "emoji", was)
    assert "emoji==2.14.0" not in (now := workspace.exec("uv", "pip", "freeze", "--quiet"))
    assert re.search(r"^emoji==", now, re.M)
    workspace.exec("uv", "pip", "uninstall", "emoji")
    assert workspace.exec("uv", "pip", "freeze", "--quiet") == before


def test_the_remap_adds_next_to_nothing(started):
    workspace = started("1234")
    image = workspace.container["Config"]["Image"]
    if not image.endswith("-uid"):
        pytest.fail(f"uid {workspace.user.uid} was not given to dev: the image is {image}")
    sizes = [workspace.engine.inspect(name)["Size"] for name in (image, image[: -len("-uid")])]
    assert 0 <= sizes[0] - sizes[1] <= 1_000_000


def test_caches_can_be_written(workspace):
    names = ("KERAS_HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "HF_HOME")
    script = "\n".join(f'[ -z "${n}" ] || {{ mkdir -p "${n}" && touch "${n}/x"; }}' for n in names)
    workspace.exec("sh", "-ec", script)
    [volume] = [mount for mount in workspace.container["Mounts"] if mount["Type"] == "volume"]
    assert volume["Destination"] == "/home/dev/.cache"
    assert volume["Name"].startswith("demo-cache-")


def test_what_the_host_trusts_is_trusted_inside(started):
    # Each of these has its own idea of where certificates are. Nothing to see without a proxy.
    workspace = started("1000")
    ask = "from pip._internal.models.index import PyPI; print(PyPI.simple_url + '/six/')"
    get = workspace.exec("python", "-c", ask).split()[-1]
    workspace.exec("pip", "download", "--quiet", "--no-deps", "--dest=/tmp", "six")
    workspace.exec("uv", "pip", "install", "--quiet", "--no-cache", "--target=/tmp/six", "six")
    workspace.exec("curl", "--fail", "--silent", "--output", "/dev/null", get)
    workspace.exec("python", "-c", f"import urllib.request as u; u.urlopen('{get}')")
    workspace.exec("python", "-c", f"import requests; requests.get('{get}').raise_for_status()")
    bundle = workspace.exec("printenv", "NODE_EXTRA_CA_CERTS").strip()  # VS Code's server is node
    assert workspace.exec("grep", "-c", "BEGIN CERTIFICATE", bundle).strip().isdigit()


def test_without_git_it_starts(started):
    assert not (started("1234").folder / ".git").exists()
    started("1234").exec("nox", "-s", "hooks")


@pytest.fixture(scope="module")
def repository(new_workspace, host_users):
    """A project in a git repository."""
    workspace = new_workspace("repository", host_users["1000"])
    in_git(workspace)
    workspace.up()
    return workspace


def test_a_commit_is_checked_inside(repository):
    (repository.folder / "bad.py").write_text("import os\n")
    repository.user.own(repository.folder / "bad.py")
    repository.exec("git", "add", "bad.py")
    done = repository.try_exec("git", *ADA, "commit", "-m", "Bad")
    assert done.returncode != 0
    assert re.search(r"^ruff check\.+Failed", done.stdout, re.M), done.stdout


def test_a_commit_on_the_host_is_not_blocked(repository):
    # The container's Python does not exist there.
    done = repository.try_run("git", *ADA, "commit", "--allow-empty", "-m", "From the host")
    assert done.returncode == 0, done.stdout


def test_in_a_worktree_it_starts(repository, new_workspace, host_users):
    workspace = new_workspace("worktree", host_users["1000"])
    subprocess.run(["rm", "-rf", workspace.folder], check=True)
    add = ["git", "worktree", "add", "--quiet", "-b", "other", workspace.folder]
    workspace.user.own(workspace.folder.parent)
    done = repository.try_run(*add)
    assert done.returncode == 0, done.stdout
    for file in (repository.folder / ".devcontainer/certs").glob("*.crt"):
        (workspace.folder / ".devcontainer/certs" / file.name).write_bytes(file.read_bytes())
    workspace.up()
    workspace.exec("python", "-c", "import demo")


def test_a_volume_of_another_user_is_found_and_can_be_removed(new_workspace, host_users):
    workspace = new_workspace("volume", host_users["1000"])
    workspace.up()
    workspace.exec("mkdir", "/home/dev/.cache/keras")
    workspace.engine.docker("rm", "--force", *workspace.containers)
    workspace.user = host_users["1234"]
    workspace.user.own(workspace.folder)
    workspace.up()
    commands = re.findall(r"`(docker [^`]+)`", workspace.try_exec(*DOCTOR).stdout)
    assert [command.rsplit(" ", 1)[0] for command in commands] == [
        "docker rm -f",
        "docker volume rm",
    ]
    for command in commands:
        done = workspace.try_run(*command.split())
        assert done.returncode == 0, done.stdout
    workspace.up()
    assert "volume" not in workspace.try_exec(*DOCTOR).stdout
    workspace.exec("mkdir", "/home/dev/.cache/keras")


def test_a_workspace_of_root_is_found(new_workspace, host_users, caller):
    if caller.uid:
        pytest.skip("only root can give files to root")
    workspace = new_workspace("root", host_users["1000"])
    subprocess.run(["chown", "-R", "0:0", workspace.folder], check=True)
    workspace.up()
    [command] = re.findall(r"`sudo (chown .+? \.)`", workspace.exec(*DOCTOR, "--brief"))
    done = subprocess.run(
        ["bash", "-c", command.replace("$(id -u)", "1000").replace("$(id -g)", "1000")],
        cwd=workspace.folder,
    )
    assert done.returncode == 0
    assert "chown" not in workspace.exec(*DOCTOR, "--brief")
    workspace.exec("touch", "file")
