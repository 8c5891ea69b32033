"""The examples of docs/examples.md: each trains in a project whose managed files stay as they are.

They share one environment. Each has a copy of the project, with its files in place of the fresh
ones, and one Python process for all of its commands.
"""

import json
import math
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, commit, git
from projects import nox
from safe_update import unmerged, update

sys.path.insert(0, str(ROOT / "tools"))
from pages import blocks  # noqa: E402

EXAMPLES = ROOT / "docs/examples"
PAGE = ROOT / "docs/examples.md"
YOURS = {"recipes.py", "data.py", "model.py", "task.py"}
PACKAGE = "myproj"

# Runs commands of the command line, one after the other.
DRIVER = f"""
import json, sys
from {PACKAGE}.engine import cli

for line in json.loads(sys.argv.pop()):
    print("$", *line, flush=True)
    sys.argv[1:] = line
    cli.main()
"""


@dataclass(frozen=True)
class Expected:
    """What an example has to reach, and what its report shows besides the training curves."""

    metric: str
    """Of metrics.json."""
    better: Callable[[float, float], bool]
    baseline: float
    """What needs no training, see the comments."""
    figures: tuple[str, ...]
    epochs: int = 2
    recipe: tuple[str, ...] = ()
    before: tuple[tuple[str, ...], ...] = field(default=())
    """Commands of runs that it starts from."""


EXPECTED = {
    # The mean of the training split.
    "tabular-regression": Expected(
        "test_r2", operator.gt, 0.0, ("Predicted over true", "Residuals"), epochs=8
    ),
    # A guess: the share of failures.
    "imbalanced": Expected(
        "test_pr_auc",
        operator.gt,
        0.05,
        ("Confusion matrix", "Calibration", "Precision and recall"),
    ),
    # A guess: the mean share of images that show a digit.
    "multi-label": Expected(
        "test_mean_average_precision", operator.gt, 0.23, ("Average precision of the labels",)
    ),
    # The library with the most docstrings.
    "text": Expected(
        "test_accuracy", operator.gt, 0.42, ("Confusion matrix", "Calibration"), epochs=3
    ),
    # No pixel is a digit: the mean of 0 and of the photographs' share, which is below 0.9.
    "segmentation": Expected(
        "test_iou", operator.gt, 0.45, ("Images, masks, predictions",), epochs=2
    ),
    # Repeating the last value.
    "forecasting": Expected("test_mase", operator.lt, 1.0, ("Forecasts", "Error by step")),
    # The quantiles of all training rides, at any hour.
    "custom-loss": Expected("test_loss", operator.lt, 1.47, ("Quantiles over the day",), epochs=4),
    # A guess among four digits.
    "fine-tuning": Expected(
        "test_accuracy",
        operator.gt,
        0.25,
        ("Confusion matrix", "Worst mistakes", "Calibration"),
        epochs=3,
        recipe=("fine_tune", "--init-from", "runs/head"),
        before=(
            ("train", "pretrain", "--epochs", "3", "--run-dir", "runs/pretrain"),
            ("train", "fine_tune", "--init-from", "runs/pretrain", "--freeze")
            + ("--epochs", "20", "--run-dir", "runs/head"),
        ),
    ),
    # Noise in place of images: what the generator draws before the first step.
    "gan": Expected(
        "test_energy_distance",
        operator.lt,
        3.3,
        ("Digits drawn from noise", "Digits of the test split"),
    ),
}


def give(example: str, project: Path) -> set[str]:
    """Put the files of an example into a project, and return their paths in it."""
    folder = next(path for path in (project / "src").iterdir() if path.is_dir())
    names = [path.name for path in (EXAMPLES / example).glob("*.py")]
    for name in names:
        shutil.copy(EXAMPLES / example / name, folder / name)
    return {(folder / name).relative_to(project).as_posix() for name in names}


# Without a framework


def test_each_example_has_a_section_and_files_that_are_the_users():
    folders = {path.name for path in EXAMPLES.iterdir()}
    sections = re.findall(r"^## .*\(examples/([\w-]+)\)", PAGE.read_text(), re.M)
    assert folders == set(EXPECTED) and sections == list(EXPECTED)
    for path in EXAMPLES.rglob("*"):
        if path.is_file():
            assert path.name in YOURS and len(path.read_text().splitlines()) <= 100, path


def without_indents(text: str) -> str:
    """Return the lines of a text as they are compared: ruff dedents those of a page."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def test_the_page_shows_lines_of_the_examples():
    """Each block of Python is in a file of the section's example, but for its `...` lines."""
    for section in PAGE.read_text().split("\n## ")[1:]:
        example = re.search(r"\(examples/([\w-]+)\)", section)
        for block in blocks(section):
            if example and block.kind == "python":
                paths = (EXAMPLES / example[1]).glob("*.py")
                files = [without_indents(path.read_text()) for path in paths]
                parts = re.split(r"^ *\.\.\.\n", block.text, flags=re.M)
                assert all(
                    any(without_indents(part) in text for text in files) for part in parts
                ), block.text


def test_an_update_of_an_example_has_no_conflict(project, release):
    names = give("gan", project)
    commit(project)
    before = {name: (project / name).read_text() for name in names}
    source = ROOT / "template/src/{{package_name}}"
    edits = {}
    for name in ("recipes.py", "data.py", "model.py", "task.py", "engine/train.py"):
        text = (source / name).read_text().replace('"""', '"""New: ', 1)
        edits[f"template/src/{{{{package_name}}}}/{name}"] = text
    release(edits)
    done = update(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unmerged(project) == []
    assert before == {name: (project / name).read_text() for name in names}
    assert '"""New: ' in (project / "src/cats/engine/train.py").read_text()


# With TensorFlow


@pytest.fixture(scope="module")
def fresh(copy, tmp_path_factory) -> Path:
    """A fresh project with an environment for the CPU."""
    project = tmp_path_factory.mktemp("examples") / "project"
    done = copy(project, package_name=PACKAGE, framework="tensorflow")
    assert done.returncode == 0, done.stderr
    commit(project)
    (project.parent / "home").mkdir()
    nox(project, "-s", "setup", "--", "cpu")
    return project


@pytest.fixture
def example(fresh, tmp_path):
    """Return a function that makes a copy of the fresh project with an example's files."""

    def make(name: str) -> Path:
        git(fresh, "clone", "--quiet", str(fresh), str(tmp_path / name))
        give(name, tmp_path / name)
        return tmp_path / name

    return make


def start(fresh: Path, project: Path, *arguments: str) -> subprocess.Popen:
    """Start Python with the environment of the fresh project and the package of another."""
    env = os.environ | {"PYTHONPATH": str(project / "src")}
    line = [str(fresh / ".venv/bin/python"), *arguments]
    out = subprocess.PIPE
    return subprocess.Popen(line, cwd=project, env=env, stdout=out, stderr=out, text=True)


def run(fresh: Path, project: Path, *arguments: str) -> str:
    """Run Python as `start` does, and return what it prints; fail if it does."""
    process = start(fresh, project, *arguments)
    printed, errors = process.communicate()
    assert process.returncode == 0, printed + errors
    return printed


def commands(expected: Expected) -> list[list[str]]:
    """The commands of an example: train, resume, evaluate, export, and list its run."""
    run_dir, epochs = "runs/it", str(expected.epochs)
    lines = [
        *expected.before,
        ("train", *expected.recipe, "--epochs", "1", "--run-dir", run_dir),
        ("train", "--epochs", epochs, "--run-dir", run_dir),
        ("evaluate", run_dir),
        ("export", run_dir),
        ("runs", run_dir, "--json"),
    ]
    return [list(line) for line in lines]


@pytest.mark.projects
@pytest.mark.parametrize("name", EXPECTED)
def test_an_example_trains_and_changes_no_managed_file(fresh, example, name):
    project, expected = example(name), EXPECTED[name]
    printed = run(fresh, project, "-c", DRIVER, json.dumps(commands(expected)))

    assert "resuming after epoch 1, step 0" in printed
    run_dir = project / "runs/it"
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert all(map(math.isfinite, metrics.values()))
    assert expected.better(metrics[expected.metric], expected.baseline), metrics
    [listed] = json.loads(printed.partition("$ runs")[2].partition("\n")[2])
    assert listed["state"] == "finished" and listed["epochs"] == expected.epochs
    assert listed["metrics"].items() >= metrics.items()
    assert "its outputs differ from Keras' by at most" in printed

    report = (run_dir / "report.html").read_text()
    for metric in metrics:
        words = metric.replace("val_", "validation_", 1) if metric.startswith("val_") else metric
        assert words.replace("_", " ") in report
    for figure in expected.figures:
        assert figure in report
        stem = "-".join(re.findall(r"\w+", figure.lower()))
        assert (run_dir / f"{stem}.png").exists()
    assert report.count("data:image/png;base64,") == 1 + len(expected.figures)

    status = git(project, "status", "--porcelain", "--untracked-files=all").splitlines()
    yours = {f" M src/{PACKAGE}/{path.name}" for path in (EXAMPLES / name).iterdir()}
    assert set(status) == yours  # all others have the bytes of the fresh project
    run(fresh, project, "-m", "ruff", "check", ".")
    run(fresh, project, "-m", "ruff", "format", "--check", ".")


def state(run_dir: Path) -> tuple[dict[str, bytes], list[dict]]:
    """The bits of a run's checkpoints, and its metrics without timings."""
    arrays = {}
    for name in ("last", "best"):
        with np.load(run_dir / f"checkpoints/{name}.npz") as file:
            arrays |= {f"{name}/{key}": file[key].tobytes() for key in file if key != "__meta__"}
    rows = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    timings = ("examples_per_s", "data_wait")
    return arrays, [{k: v for k, v in row.items() if k not in timings} for row in rows]


@pytest.mark.projects
def test_a_gan_that_was_killed_ends_with_the_same_bits(fresh, example):
    project, train = example("gan"), ("-m", PACKAGE, "train", "--epochs", "12", "--run-dir")
    run(fresh, project, *train, "runs/straight")
    process, log = (
        start(fresh, project, *train, "runs/killed"),
        project / "runs/killed/metrics.jsonl",
    )
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 3):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert 3 <= log.read_text().count("\n") < 12

    assert "resuming after epoch" in run(fresh, project, *train, "runs/killed")
    arrays, rows = state(project / "runs/killed")
    assert (arrays, rows) == state(project / "runs/straight")
    for name in ("generator_optimizer", "discriminator_optimizer"):
        assert any(key.startswith(f"last/{name}/") for key in arrays)
