"""What people do to files. An edit of a file that is missing, or no longer a file, does nothing."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .files import clear, unix, windows, write
from .notebooks import edit_notebook


class Edit(NamedTuple):
    """What somebody does to a file; {name} in its name is the answer to that question."""

    kind: str
    name: str
    detail: tuple = ()


def edit(folder: Path, one: Edit, place: Callable[[str], str]) -> None:
    kind, path, detail = one.kind, folder / place(one.name), one.detail
    if kind == "write":
        return write(path, *detail)
    if kind == "mkdir":
        clear(path)
        return path.mkdir(parents=True)
    if kind == "link":
        clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.symlink_to(*detail)
    if kind in ("relocate", "folder"):
        return move_folder(path, folder / place(*detail), link=kind == "relocate")
    if not path.is_file() or path.is_symlink():
        return
    if kind == "delete":
        path.unlink()
    elif kind in ("rename", "move"):
        rename(path, folder / place(*detail), kind == "move")
    elif kind == "mode":
        path.chmod(path.stat().st_mode ^ 0o111)
    elif kind == "private":
        path.chmod(path.stat().st_mode & 0o700)
    else:
        path.write_bytes(CONTENT_EDITS[kind](path.read_bytes(), *detail))


def move_folder(path: Path, target: Path, link: bool) -> None:
    """Move a folder, to another disk for example, with a link in its place."""
    if not path.is_dir() or path.is_symlink():
        return
    inside = path in target.parents
    source = path.rename(path.with_name("on its way")) if inside else path
    clear(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    source.rename(target)
    if link:
        path.symlink_to(target.name)


def rename(path: Path, target: Path, careful: bool) -> None:
    if {path, target} & {*path.parents, *target.parents} or path == target:
        return
    if careful and (target.exists() or target.is_symlink()):  # as `git mv`
        return
    clear(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    path.rename(target)


def edit_lines(data: bytes, at: int, drop: int, add: tuple[bytes, ...]) -> bytes:
    plain = unix(data) if windows(data) else data
    lines = re.findall(rb"[^\n]*\n|[^\n]+", plain)
    at %= len(lines) + 1
    lines[at : at + drop] = add
    edited = b"".join(lines)
    return edited.replace(b"\n", b"\r\n") if windows(data) else edited


def to_windows(data: bytes) -> bytes:
    return data if b"\0" in data else unix(data).replace(b"\n", b"\r\n")


def requirement(package: str, version: str) -> bytes:
    return f"{package}=={version} \\\n    --hash=sha256:{package}{version}\n".encode()


def require(data: bytes, package: str, version: str) -> bytes:
    """Ask for a package in pyproject.toml, or pin it in a lock."""
    top = b"dependencies = [\n"
    if top in data:
        return data.replace(top, top + f'  "{package}",\n'.encode(), 1)
    old = re.compile(rf"^{package}==.*\n(?:[ \t].*\n)*".encode(), re.MULTILINE)
    new = requirement(package, version)
    return old.sub(lambda _: new, data) if old.search(data) else data + new


def pin(data: bytes, package: str, version: str) -> bytes:
    """Pin a package that the pre-commit settings have."""
    return re.sub(rf"(- {package}==).*".encode(), rb"\g<1>" + version.encode(), data)


CONTENT_EDITS = {
    "lines": edit_lines,
    "ignore": edit_lines,
    "notebook": edit_notebook,
    "require": require,
    "pin": pin,
    "crlf": to_windows,
    "chop": lambda data: data.rstrip(b"\r\n"),
}
