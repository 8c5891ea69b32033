# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The table of runs: sorted, with what differs, and not stopped by a run that cannot be read."""

import json
import math
from pathlib import Path

import pytest

CONFIG = {"recipe": "digits", "epochs": 30, "batch_size": 32, "learning_rate": 0.001}


@pytest.fixture
def make(tmp_path):
    """Write a run as train.py leaves it; `metrics` are those of a finished one."""

    def run(
        name: str, started: str, metrics: dict | None = None, task: dict | None = None, **options
    ) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        made_from = {
            "config": CONFIG | options,
            "dataset": {"examples": {"train": 1000}, "digest": "0123456789"},
            "git_commit": "89abcdef01234567",
            "git_dirty": False,
            "started": f"2026-01-{started}:00+00:00",
        }
        made_from |= {"task": task} if task else {}  # runs of older versions have none
        (folder / "config.json").write_text(json.dumps(made_from))
        losses = (0.5, 0.25, 0.375)
        rows = [{"val_loss": x, "val_accuracy": 1 - x, "examples_per_s": 496.0} for x in losses]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if metrics is not None:
            (folder / "metrics.json").write_text(json.dumps(metrics))
        return folder

    return run


def test_runs_are_listed_newest_first_with_what_differs(command, make):
    results = {"val_loss": 0.25, "val_accuracy": 0.75, "test_loss": 0.5, "test_accuracy": 0.625}
    make("old", "01T09:05", results)
    make("new", "02T10:15", learning_rate=0.01, seed=7)
    done = command("runs")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "started      state       epochs  seconds  val_loss  test_accuracy  test_loss  run",
        "01-02 10:15  unfinished    3/30        6    0.2500              -          -  new",
        "    learning_rate=0.01   seed=7",
        "01-01 09:05  finished      3/30        6    0.2500         0.6250     0.5000  old",
        "    learning_rate=0.001  seed=-",
    ]


def order(command, metric: str) -> str:
    """Return the last letters of the runs, sorted by a metric."""
    rows = command("runs", "--sort", metric).stdout.splitlines()[1:]
    return "".join(row[-1] for row in rows if not row.startswith(" "))


def test_runs_are_sorted_by_what_is_best(command, make):
    make("a", "01T00:00", {"val_accuracy": 0.9, "test_loss": 0.3, "test_mae": 2})
    make("b", "02T00:00", {"val_accuracy": 0.7, "test_loss": 0.1, "test_mae": 3})
    make("c", "03T00:00", {"val_accuracy": 0.8, "test_mae": math.nan})  # without a test loss
    wanted = {"started": "cba", "val_accuracy": "acb", "test_loss": "bac", "test_mae": "abc"}
    assert {name: order(command, name) for name in wanted} == wanted | {"test_mae": "abc"}
    done = command("runs", "--sort", "luck")
    assert (done.returncode, done.stdout) == (1, "")
    known = "seconds, test_loss, test_mae, val_accuracy"
    assert done.stderr == f"error: no run has the metric luck: choose from {known}\n"


def test_the_task_says_which_values_are_good(command, make):
    for name, value in (("a", 1), ("b", 3), ("c", 2)):
        task = {"name": "Rank", "monitor": "val_odd_loss", "mode": "max"}
        folder = make(name, "01T00:00", task=task)
        rows = [{"val_odd_loss": x} for x in (0, value, math.nan)]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / "metrics.jsonl").write_text(text)
    assert order(command, "val_odd_loss") == "bca"
    rows = [line.split() for line in command("runs", "--sort", "val_odd_loss").stdout.splitlines()]
    assert [row[-2] for row in rows] == ["val_odd_loss", "3", "2", "1"]


def test_runs_of_several_tasks_are_in_one_table(command, make):
    test = {"test_loss": 1, "test_mae": 2, "test_rmse": 3, "test_r2": 0.5}
    task = {"name": "Regression", "monitor": "val_mae", "mode": "min"}
    folder = make("new", "02T00:00", {"best_epoch": 2, "val_mae": 5.5} | test, task=task)
    (folder / "metrics.jsonl").write_text('{"val_mae": 5.5}\n')
    make("old", "01T00:00", {"val_loss": 0.25, "test_accuracy": 0.5})
    head, new, options, old, _ = command("runs").stdout.splitlines()
    columns = "started state epochs seconds val_mae val_loss test_mae test_rmse test_r2 run"
    assert head.split() == columns.split()
    assert new.split()[4:] == ["-", "5.500", "-", "2", "3", "0.5000", "new"]
    assert old.split()[5:] == ["-", "0.2500", "-", "-", "-", "old"]
    assert options.split() == ["task=Regression"]
    done = command("runs", "--metrics", "test_accuracy", "test_loss")
    head, *_ = done.stdout.splitlines()
    assert head.split()[4:] == ["test_accuracy", "test_loss", "run"]
    done = command("runs", "--metrics", "f1")
    assert (done.returncode, "no run has the metric f1: choose from best_epoch" in done.stderr) == (
        1,
        True,
    )


def test_json_has_all_of_it(command, make):
    make("first", "01T09:05", {"val_accuracy": 0.75, "best_epoch": 2}, note="é")
    [run] = json.loads(command("runs", "--json").stdout)
    assert run["config"] == CONFIG | {"note": "é"}
    assert run["metrics"] == {"val_accuracy": 0.75, "best_epoch": 2, "seconds": 6.0}
    assert (run["run_dir"], run["state"], run["epochs"]) == ("runs/first", "finished", 3)
    assert run["task"] == {"name": "", "monitor": "val_loss", "mode": "min"}


def test_json_has_no_nan(command, make):
    make("a", "01T09:05", {"val_loss": math.nan, "test_loss": math.inf}, rate=math.inf)
    text = command("runs", "--json").stdout
    [run] = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert (run["metrics"], run["config"]["rate"]) == ({"seconds": 6.0}, None)


def test_only_runs_that_are_named(command, make, tmp_path):
    make("first", "01T00:00")
    make("second", "02T00:00").rename(tmp_path / "elsewhere")
    done = command("runs", "elsewhere", "runs/first")
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == ["elsewhere", "first"]
    done = command("runs", "nowhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nowhere is not a run directory: it has no config.json" in done.stderr


@pytest.mark.parametrize("options", [["--json"], []])
def test_no_runs(command, tmp_path, options):
    done = command("runs", *options)
    sentence = "There is no run in runs/ yet: `nox -s train` makes one.\n"
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ("[]\n" if options else sentence)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", "{"),
        ("config.json", "[]"),
        ("config.json", '{"config": 3}'),
        ("config.json", '{"config": {"epochs": 3}, "dataset": {"examples": {}}}'),
        ("metrics.json", "null"),
        ("metrics.json", '{"val_loss": "low"}'),
        ("metrics.jsonl", '{"epoch": 1}'),
        ("metrics.jsonl", '{"val_loss": []}'),
        ("metrics.jsonl", '{"val_loss": 1, "examples_per_s": 0}'),
    ],
)
def test_a_run_that_cannot_be_read_is_named_and_left_out(command, make, name, text):
    make("good", "01T00:00")
    (make("bad", "02T00:00") / name).write_text(text)
    done = command("runs")
    assert done.returncode == 0
    [note] = done.stderr.splitlines()
    assert note.startswith(f"left out: runs/bad/{name if name != 'config.json' else ''}")
    assert [line.split()[-1] for line in done.stdout.splitlines()[1:]] == ["good"]


def test_a_run_of_older_code_is_listed(command, make):
    new, old = make("new", "02T00:00"), make("old", "01T00:00")
    (old / "config.json").write_text('{"config": {"recipe": "digits", "gone": true}}')
    (old / "metrics.jsonl").unlink()
    (new / "metrics.jsonl").write_text("")
    done = command("runs")
    assert (done.returncode, done.stderr) == (0, "")
    head, first, options, second, _ = done.stdout.splitlines()
    assert second.split() == ["-", "unfinished", "0/-", *"--", "old"]
    assert "gone=-" in options and "batch_size=32" in options


def test_long_and_odd_texts_stay_readable(command, make):
    options = {f"option_{n}": n for n in range(20)}
    make("20260101-120000-image_folder", "01T00:00", {"val_loss": 1, "test_accuracy": 1}, **options)
    make("red\x1b[31m", "02T00:00", data_dir="/long" * 30)
    lines = command("runs").stdout.splitlines()
    assert all(len(line) <= 100 for line in lines if "/long" not in line)
    assert any(line.endswith("image_folder") for line in lines)
    assert "\x1b" not in "".join(lines) and lines[1].endswith("red?[31m")


def test_a_real_run(command, finished):
    done = command("runs", finished)
    assert done.returncode == 0, done.stderr
    [_, run] = done.stdout.splitlines()
    assert run.split()[2:4] == ["finished", "2/2"] and run.endswith(f"  {finished}")
    [run] = json.loads(command("runs", finished, "--json").stdout)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert run["metrics"].items() - {("seconds", run["metrics"]["seconds"])} <= metrics.items()
