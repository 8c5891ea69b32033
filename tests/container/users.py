"""People on the host: the dev container CLI behaves differently for root and for everybody else."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .engine import Engine, as_user


@dataclass
class User:
    """Who runs the dev container CLI, and with which home."""

    uid: int
    gid: int
    home: Path
    groups: tuple[int, ...] = ()

    @property
    def options(self) -> dict:
        """For subprocess."""
        return as_user(self.uid, self.gid, self.groups) if os.geteuid() == 0 else {}

    def own(self, folder: Path) -> None:
        """Give a folder and everything in it to this user."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", f"{self.uid}:{self.gid}", folder], check=True)


def caller(home: Path) -> User:
    return User(os.geteuid(), os.getegid(), home, tuple(os.getgroups()))


@contextmanager
def extra_user(uid: int, folder: Path, engine: Engine) -> Iterator[User]:
    """A user of this uid, who may use Docker; needs root."""
    name, home = f"rig{uid}", folder / f"home-{uid}"
    remove = ["userdel", "--force", name]  # forced: other users may have the same uid
    subprocess.run(remove, capture_output=True)  # left over by a run that was killed
    make = ["useradd", "--non-unique", "--no-create-home", "--no-user-group", "--gid=100"]
    make += [f"--uid={uid}", f"--home-dir={home}", name]
    subprocess.run(make, check=True, capture_output=True)
    socket = engine.env.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    groups = (os.stat(socket).st_gid,) if os.path.exists(socket) else ()
    user = User(uid, uid, home, groups)
    home.mkdir()
    user.own(home)
    try:
        yield user
    finally:
        subprocess.run(remove, check=True, capture_output=True)
        shutil.rmtree(home, ignore_errors=True)
