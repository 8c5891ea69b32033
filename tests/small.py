"""A template of a few files at SOURCE and a project of it: a fast world for tests of the update."""

import subprocess
from pathlib import Path

from conftest import SOURCE, commit, git
from safe_update import contents, update

SETTINGS = """\
_subdirectory: template
_skip_if_exists: ["seed*", requirements/*.txt, "*.png"]
name: {type: str, default: ada}
"""
ANSWERS = "template/{{_copier_conf.answers_file}}.jinja"
LINES = "".join(f"line {n}\n" for n in range(1, 21))


def write(folder: Path, files: dict[str, str | bytes | None]) -> None:
    """Give files these contents; None deletes one."""
    for name, text in files.items():
        path = folder / name
        if text is None:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())


class Small:
    """The template in `folder`, released as v1, v2 and so on, and a project of it."""

    def __init__(self, folder: Path):
        self.template, self.project = folder / "template", folder / "project"
        self.versions = 0

    def release(self, **files: str | bytes | None) -> None:
        """Release the template with these files of a project changed; None deletes one."""
        self.release_files({f"template/{name}": text for name, text in files.items()})

    def release_files(self, files: dict[str, str | bytes | None]) -> None:
        if not self.versions:
            files = {"copier.yml": SETTINGS, ANSWERS: "{{ _copier_answers|to_nice_yaml }}", **files}
        write(self.template, files)
        self.versions += 1
        commit(self.template, tag=f"v{self.versions}")

    def copy(self, copier, **answers: str) -> Path:
        data = [f"--data={name}={answer}" for name, answer in answers.items()]
        done = copier("copy", "--defaults", *data, SOURCE, self.project)
        assert done.returncode == 0, done.stderr
        commit(self.project)
        return self.project

    def edit(self, **files: str | None) -> None:
        """Change files of the project and commit them; None deletes one."""
        write(self.project, files)
        commit(self.project)

    def move(self, old: str, new: str) -> None:
        """Rename a file of the project in a commit of its own."""
        (self.project / new).parent.mkdir(parents=True, exist_ok=True)
        git(self.project, "mv", old, new)
        commit(self.project)

    def add_submodule(self, name: str) -> None:
        """Give the project a submodule, and go on in a clone in which it is not initialised."""
        top = self.project.parent
        (top / "lib").mkdir()
        (top / "lib/f").write_text("x\n")
        commit(top / "lib")
        allow = ("-c", "protocol.file.allow=always")
        address = (top / "lib").as_uri()
        git(self.project, *allow, "submodule", "--quiet", "add", address, name)
        commit(self.project)
        git(top, "clone", "--quiet", str(self.project), "clone")
        self.project = top / "clone"

    def update(self, *options: str, code: int = 0, **env: str) -> subprocess.CompletedProcess:
        done = update(self.project, *options, **env)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        if code == 0:  # all of it is in git
            assert git(self.project, "diff", "--name-only") == ""
            assert git(self.project, "ls-files", "--others", "--exclude-standard") == ""
        return done

    def texts(self) -> dict[str, str]:
        """The text of each file but the answers."""
        files = contents(self.project)
        return {
            name: file[-1].decode() if file[0] == "file" else file[-1]
            for name, file in files.items()
            if not name.startswith(".copier")
        }
