"""The first day, typed as the pages say: README.md, docs/first-day.md and docs/your-data.md.

In a clean clone and an empty home. What is downloaded is shared with the other tests.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.insert(0, str(ROOT / "tools"))
from pages import blocks, commands  # noqa: E402

COMMANDS = commands((ROOT / "README.md").read_text(), "shell")
YOUR_DATA = (ROOT / "docs/your-data.md").read_text()


def test_there_is_a_demo_and_ci_runs_the_others():
    demo, *tests = COMMANDS
    assert demo.endswith(" -s demo")
    lines = (ROOT / ".ci/run").read_text().splitlines()
    run = [re.split(r" (?:>|\|\|) ?", line)[0] for line in lines]
    assert [line for line in run if line in tests] == tests
    assert len(tests) == 3


def type_into(shell: list[str], folder: Path, env: dict[str, str]) -> str:
    """Return what a shell prints; fail if it ends with an error."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(shell, cwd=folder, env=env, **pipes)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def day(template, tmp_path_factory) -> str:
    """What the README's first command prints: it does what docs/first-day.md says."""
    folder = tmp_path_factory.mktemp("first-day")
    subprocess.run(["git", "clone", "--quiet", template, folder / "clone"], check=True)
    (folder / "home").mkdir()
    ours = ("COPIER_", "GIT_", "NOX_", "PYTEST_", "PYTHON", "UV_", "VIRTUAL_", "XDG_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    env |= {"HOME": str(folder / "home"), "UV_CACHE_DIR": os.environ["UV_CACHE_DIR"]}
    return type_into(["sh", "-c", COMMANDS[0]], folder / "clone", env)


@pytest.fixture(scope="module")
def project(day) -> Path:
    return Path(re.search(r"The project: +(\S+)", day)[1])


def test_it_ends_with_a_model_a_report_and_a_notebook(day, project, record_property):
    """docs/first-day.md"""
    typed = re.findall(r"^\$ (.*)", day, re.M)
    assert typed == commands((ROOT / "docs/first-day.md").read_text())
    places = dict(re.findall(r"The (report|notebook): +(\S+)", day))
    assert set(places) == {"report", "notebook"}
    run_dir = Path(places["report"]).parent
    assert json.loads((run_dir / "metrics.json").read_text())["val_accuracy"] >= 0.97
    assert (run_dir / "model.keras").exists()
    made = [places["report"], places["notebook"], project / "reports/gpu_check.html"]
    assert all(Path(path).stat().st_size > 100_000 for path in made)
    report = json.loads((project / "reports/gpu_check.json").read_text())
    assert (report["verdict"], report["expected"]) == ("cpu", "any")
    assert "digits: tensorflow on the CPU" in day
    assert [path.name for path in project.parent.glob("home/.local/bin/*")] != []
    first = re.search(r"^First model: (\d+) commands, (\d+) s", day, re.M)
    assert int(first[1]) <= 3
    record_property("first model, seconds from copier copy on", first[2])


def edits(page: str) -> list[tuple[str, str, str]]:
    """Kind and text of each block of code, and the file that the words before it name last."""
    found, end = [], 0
    for block in blocks(page):
        begin = page.index(f"```{block.kind}\n{block.text}", end)
        if block.kind in ("python", "diff"):
            [*_, name] = re.findall(r"`([\w/]+\.py)`", page[:begin])
            found.append((block.kind, block.text, name))
        end = begin + len(block.text)
    return found


def edit(project: Path, kind: str, text: str, name: str) -> None:
    """Do what a block of the page asks for: a new file, an addition, or other lines."""
    file = project / name
    if kind == "python":
        file.write_text(file.read_text() + "\n\n" + text if file.exists() else text)
        return
    old, new = (
        "".join(line[1:] for line in text.splitlines(True) if line[0] in f" {sign}")
        for sign in "-+"
    )
    assert file.read_text().count(old) == 1, f"docs/your-data.md: {name} has not\n{old}"
    file.write_text(file.read_text().replace(old, new))


@pytest.fixture(scope="module")
def type_in(project):
    """Type commands into a shell in the project, which has what the first day has installed."""
    left_out = ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    env |= {"PATH": f"{project.parent / 'home/.local/bin'}{os.pathsep}{env['PATH']}"}
    return lambda typed: type_into(["sh", "-exc", "\n".join(typed)], project, env)


def test_your_own_data_and_model(project, type_in):
    """docs/your-data.md"""
    work = edits(YOUR_DATA)
    assert {name for *_, name in work} >= {"make_shapes.py", "tests/test_shapes.py"}
    for kind, text, name in work:
        edit(project, kind, text, name)
    lint = [".venv/bin/ruff check .", ".venv/bin/ruff format --check ."]
    printed = type_in([*commands(YOUR_DATA), *lint])
    assert "shapes: tensorflow on the CPU" in printed
    assert re.search(r"validation loss [\d.]+, accuracy 0\.9\d+", printed), printed
    assert "3 passed" in printed


PICTURES = """.venv/bin/python -c "
import numpy as np
from PIL import Image
for i in range(80):
    image = np.random.default_rng(i).integers(0, 80, (40, 30, 3), 'uint8')
    image[..., i % 2] += 150
    Image.fromarray(image).save('data/raw/%s/%d.png' % (('cat', 'dog')[i % 2], i))
"
"""
# What a reader does by hand before a command, or has done by accident.
BEFORE = {
    "nox -s train -- image_folder": PICTURES,
    "nox -s train -- digits --resume": "rm runs/first/metrics.json",
    "python -m PACKAGE evaluate": ". .venv/bin/activate",
    "python -m PACKAGE predict": "cp -R data/raw/cat folder && cp folder/0.png photo.jpg",
}


def test_every_days_commands(type_in):
    """docs/training.md, docs/gpu-check.md"""
    typed = []
    for page in ("training", "gpu-check"):
        for command in commands((ROOT / f"docs/{page}.md").read_text()):
            typed += [words for begin, words in BEFORE.items() if command.startswith(begin)]
            typed.append(command.replace("PACKAGE", "myproj").replace("runs/RUN", "runs/first"))
    printed = type_in(
        [*typed, "nox -s lock -- --upgrade tyro", ".venv/bin/python tools/lock.py --check"]
    )
    assert set(BEFORE.values()) <= set(typed)
    assert "image_folder: tensorflow on the CPU" in printed
    assert "--learning-rate FLOAT" in printed
    assert printed.count("report: runs/first/report.html") == 3
    assert re.search(r"^photo.jpg: class \d, probability", printed, re.M), printed
    assert "wrote runs/first/saved_model: its outputs differ" in printed
