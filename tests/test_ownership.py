"""Ownership: managed files say so, seeded ones are the user's, and an update respects both."""

import os
import re
import subprocess
import sys
from pathlib import Path

import guards
import pytest
import yaml
from conftest import ROOT, commit, git

HEADER = "Managed by gpu-ml-template: copier update merges fixes into this file."
SEEDED = yaml.safe_load((ROOT / "copier.yml").read_text().split("---")[0])["_skip_if_exists"]
MOVED = ROOT / "template/src/{{package_name}}/engine/moved.py"
NO_COMMENTS = {".copier-answers.yml"}  # Copier's own


@pytest.fixture
def project(copy, tmp_path) -> Path:
    folder = tmp_path / "project"
    assert copy(folder).returncode == 0
    return folder


def seeded(path: Path) -> bool:
    return any(path.match(pattern) for pattern in SEEDED)


def test_each_managed_file_says_so_and_no_seeded_file_does(project):
    for path in project.rglob("*"):
        name = path.relative_to(project)
        if path.is_file() and str(name) not in NO_COMMENTS:
            top = "\n".join(path.read_text().splitlines()[:3])
            assert (HEADER in top) != seeded(name), name


def test_the_readme_lists_every_seeded_file(project):
    readme = (project / "README.md").read_text()
    for pattern in SEEDED:
        assert f"`{pattern}`" in readme


def test_an_update_keeps_what_is_seeded_and_merges_what_is_managed(
    own_template, copy, copier, tmp_path
):
    project = tmp_path / "project"
    assert copy(project, package_name="cats").returncode == 0
    model, train = project / "src/cats/model.py", project / "src/cats/engine/train.py"
    model.write_text("MINE = True\n")
    train.write_text(train.read_text() + "\nMINE = True\n")
    (project / "data/README.md").unlink()
    commit(project)

    source = own_template / "template/src/{{package_name}}"
    for name in ("model.py", "engine/train.py"):
        text = (source / name).read_text()
        (source / name).write_text(text.replace('"""', '"""New: ', 1))
    commit(own_template, tag="v1.1.0")

    done = copier("update", "--defaults", cwd=project)
    assert done.returncode == 0, done.stderr
    assert model.read_text() == "MINE = True\n"
    assert '"""New: ' in train.read_text() and train.read_text().endswith("\nMINE = True\n")
    assert git(project, "diff", "--diff-filter=U", "--name-only") == ""


def test_the_old_names_of_modules_are_those_that_the_template_has_renamed(project):
    """The user's files are never updated, and import by these names."""
    [package] = [path for path in (project / "src").iterdir() if path.is_dir()]
    folder = "src/{{ package_name }}/"
    renamed = {
        old.removeprefix(folder).removesuffix(".py"): new
        for old, new in guards.declared(ROOT)
        if old.startswith(folder) and "__" not in old
    }
    moved = dict(re.findall(r'^    "(\w+)": "([\w.]+)",', MOVED.read_text(), re.M))
    assert moved.pop("config") == "..recipes"  # which has the project's own fields since v0.9.0
    paths = {old: f"{folder}engine/{new.replace('.', '/')}.py" for old, new in moved.items()}
    del renamed["config"]
    assert paths == renamed
    code = f"from {package.name}.config import Config\nfrom {package.name} import config, runs\n"
    code += f"from {package.name}.engine import runs as new_runs\n"
    code += f"from {package.name} import recipes\n"
    code += "assert (Config, config) == (recipes.Config, recipes), config\n"
    code += "assert runs is new_runs, runs\n"
    code += f"assert runs.__spec__.name == '{package.name}.engine.runs', runs.__spec__\n"
    env = {**os.environ, "PYTHONPATH": str(project / "src")}
    subprocess.run([sys.executable, "-c", code], env=env, cwd=project, check=True)
