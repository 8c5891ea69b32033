# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The table of runs: sorted, with what differs, and not stopped by a run that cannot be read."""

import json
from pathlib import Path

import pytest

CONFIG = {"recipe": "digits", "epochs": 30, "batch_size": 32, "learning_rate": 0.001}


@pytest.fixture
def make(tmp_path):
    """Write a run as train.py leaves it; `metrics` are those of a finished one."""

    def run(name: str, started: str, metrics: dict | None = None, **options) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        made_from = {
            "config": CONFIG | options,
            "dataset": {"examples": {"train": 1000}, "digest": "0123456789"},
            "git_commit": "89abcdef01234567",
            "git_dirty": False,
            "started": f"2026-01-{started}:00+00:00",
        }
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
        "started      state       epochs  seconds  val_loss  val_acc  test_acc  run",
        "01-02 10:15  unfinished    3/30        6    0.2500   0.7500         -  new",
        "    learning_rate=0.01   seed=7",
        "01-01 09:05  finished      3/30        6    0.2500   0.7500    0.6250  old",
        "    learning_rate=0.001  seed=-",
    ]


def test_runs_are_sorted_by_what_is_best(command, make):
    make("a", "01T00:00", {"val_accuracy": 0.9, "test_loss": 0.3})
    make("b", "02T00:00", {"val_accuracy": 0.7, "test_loss": 0.1})
    make("c", "03T00:00", {"val_accuracy": 0.8})  # without a loss on the test split

    def order(metric: str) -> str:
        rows = command("runs", "--sort", metric).stdout.splitlines()[1:]
        return "".join(row[-1] for row in rows)

    assert [order(x) for x in ("started", "val_accuracy", "test_loss")] == ["cba", "acb", "bac"]
    assert "invalid choice" in command("runs", "--sort", "luck").stderr


def test_json_has_all_of_it(command, make):
    make("first", "01T09:05", {"val_accuracy": 0.75, "best_epoch": 2}, note="é")
    [run] = json.loads(command("runs", "--json").stdout)
    assert run["config"] == CONFIG | {"note": "é"}
    assert run["metrics"] == {"val_accuracy": 0.75, "seconds": 6.0}
    assert (run["run_dir"], run["state"], run["epochs"]) == ("runs/first", "finished", 3)


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
    assert second.split() == ["-", "unfinished", "0/-", *"----", "old"]
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
