"""Several processes, with Ray and without: lost workers, signals, mistakes, and the hand-over.

A project for tensorflow, whose workers train on JAX. What is compared is one process with two
devices on JAX: the bits have to be the same.
"""

import json
import os
import random
import re
import select
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from conftest import commit
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.scale
KILLS = int(os.environ.get("SCALE_KILLS", "10"))
SEED = int(os.environ.get("SCALE_SEED", random.randrange(2**32)))
DIGITS = ("digits", "--epochs=4", "--batch-size=64")
TWO = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}

# What `python -m cats train` does, with one step at which something happens in one process.
TRAIN = """
import os, signal, sys, threading
from cats.engine import pipeline
from cats.engine.cli import main
from cats.engine.distributed import cluster

read, how, stop = pipeline.Batches.read, os.environ.get("HOW"), os.environ.get("STOP_AT")
last = os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID") == "1"


def disturbed(self, batch):
    if last and self.order is not None and batch == 12:
        if how == "SIGTERM":
            os.kill(os.getpid(), signal.SIGTERM)
        elif how == "mistake":
            from cats.engine.config import UserError
            raise UserError("a picture is broken")
    return read(self, batch)


pipeline.Batches.read = disturbed
if stop:
    steps = iter(range(10**6))
    cluster.Cluster.preempted = lambda self: next(steps) == int(stop)
main()
"""


@pytest.fixture(scope="module")
def project(copy, tmp_path_factory) -> Path:
    """A project with Ray, as its README says."""
    folder = tmp_path_factory.mktemp("scale") / "project"
    assert copy(folder, package_name="cats").returncode == 0
    commit(folder)
    env = {
        k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    }
    line = ["nox", "-s", "setup", "--", "cpu", "scale"]
    done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def start(project):
    """Start `train` or `launch` in a process of its own."""

    def run(*arguments: str, **env: str) -> subprocess.Popen:
        cache = {"JAX_COMPILATION_CACHE_DIR": str(project / ".pytest_cache/jax")}
        cache["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
        line = [project / ".venv/bin/python", "-c", TRAIN, *arguments]
        own = os.environ | {"PYTHONPATH": str(project / "src"), "KERAS_BACKEND": "jax"} | cache
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(line, cwd=project, env=own | env, **pipes)

    return run


@pytest.fixture(scope="module")
def run(start):
    """Run one, and return its exit code and what it printed."""

    def run(*arguments: str, **env: str) -> tuple[int, str]:
        process = start(*arguments, **env)
        printed = process.communicate(timeout=400)[0]
        return process.returncode, printed

    return run


def pair(start, run_dir: Path, *arguments: str, **env: str) -> list[tuple[int, str]]:
    """Train in two processes, and return the exit code and output of each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    both = []
    for number in "01":
        told = {
            "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{port}",
            "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
            "KERAS_DISTRIBUTION_PROCESS_ID": number,
        }
        more = ("--seed=1",) if number == "1" and env.get("HOW") == "another config" else ()
        line = ("train", *arguments, *more, f"--run-dir={run_dir}")
        both.append(start(*line, **told, **env))
    printed = [process.communicate(timeout=400)[0] for process in both]
    return [(p.returncode, text) for p, text in zip(both, printed, strict=True)]


def bits(project: Path, run_dir: Path) -> str:
    """Return a text that is the same for two runs with the same bits and metrics."""
    code = """
import hashlib, json, sys, numpy as np
for name in ("last.npz", "best.npz"):
    with np.load(f"{sys.argv[1]}/checkpoints/{name}") as file:
        for key in sorted(set(file) - {"__meta__"}):
            print(name, key, hashlib.sha256(file[key].tobytes()).hexdigest())
for line in open(f"{sys.argv[1]}/metrics.jsonl"):
    print({k: v for k, v in json.loads(line).items() if k not in ("examples_per_s", "data_wait")})
print(open(f"{sys.argv[1]}/metrics.json").read())
"""
    line = [project / ".venv/bin/python", "-c", code, run_dir]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def straight(project, run, tmp_path_factory) -> str:
    """The bits of one process with two devices, which nothing disturbs."""
    run_dir = tmp_path_factory.mktemp("straight") / "run"
    code, printed = run("train", *DIGITS, f"--run-dir={run_dir}", **TWO)
    assert code == 0 and "2 devices in 1 process" in printed, printed
    return bits(project, run_dir)


def launch(run, run_dir: Path, *arguments: str, workers: int = 2) -> tuple[int, str]:
    return run("launch", f"--processes={workers}", *arguments, f"--run-dir={run_dir}")


def test_rays_workers_give_the_bits_of_two_devices(project, run, straight, tmp_path):
    code, printed = launch(run, tmp_path / "run", *DIGITS)
    assert code == 0, printed
    assert "2 devices in 2 processes by Ray" in printed and "epoch 4/4" in printed
    assert bits(project, tmp_path / "run") == straight
    logs = {path.name for path in (tmp_path / "run/logs").glob("*.log")}
    assert logs == {"worker-0.log", "worker-1.log"}


def worker(log: Path) -> int | None:
    """Return the process that writes to a worker's log now."""
    for output in Path("/proc").glob("[0-9]*/fd/1"):
        try:
            if output.readlink() == log:
                return int(output.parts[2])
        except OSError:  # not ours, or gone
            continue
    return None


@pytest.mark.parametrize("number", range(KILLS))
def test_a_lost_worker_changes_nothing(project, start, straight, tmp_path, number, record_property):
    draw = random.Random(SEED + number)
    rank, line = draw.randrange(2), draw.randrange(40)
    record_property("killed", f"seed {SEED + number}: worker {rank}, {line} looks after epoch 1")
    process = start("launch", "--processes=2", *DIGITS, f"--run-dir={tmp_path / 'run'}")
    killed, looks, printed = None, 0, []
    log, metrics = tmp_path / f"run/logs/worker-{rank}.log", tmp_path / "run/metrics.jsonl"
    os.set_blocking(process.stdout.fileno(), False)
    while process.poll() is None:
        select.select([process.stdout], [], [], 0.05)
        printed += process.stdout.readlines()
        if killed is None and metrics.exists() and metrics.read_text():
            looks += 1
            if looks > line and (killed := worker(log)):
                os.kill(killed, signal.SIGKILL)
    printed += process.stdout.readlines()
    text = "".join(printed)
    assert process.returncode == 0, text
    assert killed and re.search(r"resuming after epoch [1-4]", text), text
    assert bits(project, tmp_path / "run") == straight


def test_another_number_of_workers_is_exact_or_refused(project, run, straight, tmp_path):
    """A run of two processes goes on in one with as many devices, and in no other number."""
    code, printed = launch(run, tmp_path / "run", *DIGITS)
    assert code == 0, printed
    (tmp_path / "run/checkpoints/previous.npz").replace(tmp_path / "run/checkpoints/last.npz")
    (tmp_path / "run/checkpoints/best.npz").unlink()
    code, printed = launch(run, tmp_path / "run", workers=1)
    sentence = "on 2 device(s) in 2 process(es), here are 1 in 1, which would not give"
    assert code == 1 and sentence in printed, printed
    code, printed = run("train", f"--run-dir={tmp_path / 'run'}", **TWO)
    assert code == 0 and "resuming after epoch 3" in printed, printed
    assert bits(project, tmp_path / "run") == straight


def test_a_run_goes_on_on_the_workers_backend_and_back(run, tmp_path):
    run_dir = tmp_path / "run"

    def as_after_the_first_epoch() -> None:
        (run_dir / "checkpoints/previous.npz").replace(run_dir / "checkpoints/last.npz")

    two = ("digits", "--epochs=2", "--batch-size=64", f"--run-dir={run_dir}")
    assert run("train", *two, KERAS_BACKEND="tensorflow")[0] == 0
    as_after_the_first_epoch()
    code, printed = launch(run, run_dir)
    assert code == 0, printed
    assert "was written by tensorflow: the continuation is not bit-exact" in printed
    assert "epoch 2/2" in printed
    as_after_the_first_epoch()
    code, printed = run("train", f"--run-dir={run_dir}", KERAS_BACKEND="tensorflow")
    assert code == 0 and "epoch 2/2" in printed, printed
    assert json.loads((run_dir / "metrics.json").read_text())["val_accuracy"] > 0.8


def test_a_mistake_in_a_worker_is_one_sentence_and_not_tried_again(run, tmp_path):
    code, printed = launch(run, tmp_path / "run", "digits", "--batch-size=33")
    assert code == 1 and printed.count("error: ") == 1, printed
    assert "error: batch_size 33 does not divide by 2 devices: take 34" in printed
    assert launch(run, tmp_path / "run", "digits", "--epochs=1", "--batch-size=64")[0] == 0


def test_more_gpus_than_there_are_is_one_sentence(run, tmp_path):
    code, printed = launch(run, tmp_path / "run", "--gpus-per-worker=1", "digits")
    assert code == 1 and "2 processes need 2 GPUs, here are" in printed, printed


@pytest.mark.parametrize("trainer", ["v2.jax.JaxTrainer", "tensorflow.TensorflowTrainer"])
def test_rays_own_trainers_are_refused(project, tmp_path, trainer):
    """They would train two models, and say nothing."""
    module, _, name = trainer.rpartition(".")
    backend = "jax" if "jax" in module else "tensorflow"
    code = f"""
import os, ray
from ray.train import ScalingConfig, RunConfig
from ray.train.{module} import {name}

def loop(config):
    from pathlib import Path
    from cats.engine.config import digits
    from cats.engine.train import train
    train(digits(), Path({str(tmp_path / "run")!r}))

ray.init(num_cpus=2, include_dashboard=False)
{name}(loop, train_loop_config={{}}, scaling_config=ScalingConfig(num_workers=2),
       run_config=RunConfig(storage_path={str(tmp_path / "ray")!r})).fit()
"""
    env = os.environ | {"PYTHONPATH": str(project / "src"), "KERAS_BACKEND": backend}
    line = [project / ".venv/bin/python", "-c", code]
    done = subprocess.run(line, cwd=project, env=env, capture_output=True, text=True, timeout=400)
    assert done.returncode != 0
    printed = done.stdout + done.stderr
    part = "several workers that know nothing" if backend == "jax" else "TF_CONFIG asks for several"
    assert part in printed, printed
    assert not (tmp_path / "run").exists()


def test_sigterm_to_one_process_stops_both_at_the_same_step(project, start, run, tmp_path):
    many = ("digits", "--epochs=400", "--patience=0", "--batch-size=64")
    ended = pair(start, tmp_path / "run", *many, HOW="SIGTERM")
    assert [code for code, _ in ended] == [75, 75], ended
    epochs, step = re.search(r"saved after epoch (\d+), step (\d+)", ended[0][1]).groups()
    last = int(epochs) * (1257 // 64) + int(step) - 1
    straight = f"--run-dir={tmp_path / 'straight'}"
    assert run("train", *many, straight, STOP_AT=str(last), **TWO)[0] == 75
    for run_dir in (tmp_path / "run", tmp_path / "straight"):
        (run_dir / "metrics.json").write_text("")
    assert bits(project, tmp_path / "run") == bits(project, tmp_path / "straight")


def test_a_mistake_in_one_process_ends_both(start, tmp_path):
    ended = pair(start, tmp_path / "run", *DIGITS, HOW="mistake")
    assert all(code != 0 for code, _ in ended), ended
    assert "error: a picture is broken" in ended[1][1]


def test_processes_that_were_started_differently_are_refused(start, tmp_path):
    ended = pair(start, tmp_path / "run", *DIGITS, HOW="another config")
    assert [code for code, _ in ended] == [1, 1]
    assert all("process 1 has another config than process 0" in text for _, text in ended), ended
    assert not (tmp_path / "run").exists()


@settings(max_examples=300, deadline=None)
@given(size=st.integers(1, 500), share=st.integers(1, 12), data=st.data())
def test_every_example_is_read_once(shards, size, share, data):
    """For any size, workers, devices and batch: in training order, and once in validation."""
    processes = data.draw(st.integers(1, 8))
    local = data.draw(st.integers(1, 3))
    devices = processes * local
    batch, epoch = devices * share, data.draw(st.integers(0, 5))
    order, trained, measured = shards(size, batch, processes, devices, epoch)
    assert sorted(order) == list(range(size))
    assert trained == order[: size // batch * batch]
    assert measured == list(range(size))


@pytest.fixture(scope="module")
def shards(project):
    """What processes read of an epoch and of a validation, in a Python that has NumPy."""
    code = """
import json, sys
import numpy as np
from cats import cluster, pipeline

for line in sys.stdin:
    size, batch, processes, devices, epoch = json.loads(line)
    split = pipeline.Split(size, lambda indices: (indices, indices))
    order = pipeline.epoch_order(size, 0, epoch)
    found = {None: [], "order": []}
    shares = [cluster.Cluster(i, processes, devices) for i in range(processes)]
    for kind, seen in found.items():
        own = order if kind else None
        feeds = [pipeline.Batches(split, batch, own, cluster=share) for share in shares]
        for number in range(len(feeds[0])):
            for feed in feeds:
                part = feed.read(number)
                real = part[2] > 0 if len(part) > 2 else slice(None)
                seen += part[1][real].tolist()
    print(json.dumps([order.tolist(), found["order"], found[None]]), flush=True)
"""
    env = os.environ | {"PYTHONPATH": str(project / "src")}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    line = [project / ".venv/bin/python", "-c", code]
    with subprocess.Popen(line, env=env, **pipes) as process:

        def ask(*values: int) -> list[list[int]]:
            print(json.dumps(values), file=process.stdin, flush=True)
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()
