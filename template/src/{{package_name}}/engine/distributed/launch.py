# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Training on several machines: Ray starts a process on each and restarts them when one is lost.

Each worker runs `train(config, run_dir)` on the JAX backend, whatever the project's own one is.
"""

import contextlib
import io
import json
import os
import socket
import sys
import threading
import traceback
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from .. import project, runs
from ..config import Config, UserError
from .cluster import RaisedTogether
from .launchers import RAY, LaunchInfo

RESTARTS = 100  # losing a worker is normal; a mistake of the user's is not tried again
REFUSED = "refused.txt"


@dataclass(frozen=True)
class LaunchOptions:
    """Options of `launch`; all others are those of `train`."""

    processes: int
    """Processes that train together."""
    gpus_per_worker: int | None = None
    """GPUs of each. Not given: 1 if the cluster has GPUs, else 0."""
    address: str | None = None
    """Address of a Ray cluster, or auto for the one of this machine; else Ray runs here only."""
    storage: Path | None = None
    """Folder for new runs, which all machines have to share (runs/)."""


def launch(options: LaunchOptions, config: Config, run_dir: Path) -> dict[str, float]:
    """Train in Ray workers, restarted from the last checkpoint if one is lost; return the metrics.

    UserError if Ray is missing or has no room, or for what one of the workers refuses.
    """
    if options.processes < 1:
        raise UserError(f"processes is {options.processes}, but must be at least 1")
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer
        from ray.train.v2.api.exceptions import TrainingFailedError
    except ImportError:
        raise UserError("Ray is not installed: `nox -s setup -- scale` adds it") from None
    logs = run_dir.absolute() / runs.LOGS
    here = {} if options.address else {"num_cpus": options.processes, "include_dashboard": False}
    env = {"KERAS_BACKEND": "jax", "RAY_TRAIN_ENABLE_PRINT_PATCH": "0"}
    ray.init(options.address, log_to_driver=False, runtime_env={"env_vars": env}, **here)
    try:
        gpus = room(ray.cluster_resources(), options)
        logs.mkdir(parents=True, exist_ok=True)
        (logs / REFUSED).unlink(missing_ok=True)
        resources = {"CPU": 1, "GPU": gpus} if gpus else {"CPU": 1}
        trainer = DataParallelTrainer(
            work,
            train_loop_config={"config": config.to_json(), "run_dir": str(run_dir.absolute())},
            scaling_config=ScalingConfig(
                num_workers=options.processes, use_gpu=gpus > 0, resources_per_worker=resources
            ),
            run_config=RunConfig(
                name="ray",
                storage_path=str(logs),
                failure_config=FailureConfig(max_failures=RESTARTS),
            ),
        )
        with shown(logs / "worker-0.log"):
            trainer.fit()
    except TrainingFailedError as error:
        raise UserError(f"the workers failed too often ({error}): see {logs}") from error
    finally:
        ray.shutdown()
    if (logs / REFUSED).exists():
        raise UserError((logs / REFUSED).read_text("utf-8"))
    return json.loads((run_dir / "metrics.json").read_text("utf-8"))


def room(resources: dict[str, float], options: LaunchOptions) -> int:
    """Return the GPUs of each worker; UserError if a cluster of this machine has too few."""
    found = int(resources.get("GPU", 0))
    wanted = options.gpus_per_worker
    wanted = int(found > 0) if wanted is None else wanted
    if not options.address and wanted * options.processes > found:
        raise UserError(
            f"{options.processes} processes need {wanted * options.processes} GPUs, here are "
            f"{found}: start fewer processes, or give the --address of a larger cluster"
        )
    return wanted


def work(values: dict) -> None:
    """Train in one worker of Ray, together with the others."""
    import ray
    import ray.train
    from ray.train.collective import broadcast_from_rank_zero

    context, run_dir = ray.train.get_context(), Path(values["run_dir"])
    rank, refused = context.get_world_rank(), run_dir / runs.LOGS / REFUSED
    address = broadcast_from_rank_zero(free_address(ray.util.get_node_ip_address()))
    if refused.exists():  # in the attempt before this one
        return
    from ..train import train
    from . import process_group

    world = context.get_world_size()
    write_to(run_dir / runs.LOGS / f"worker-{rank}.log")
    try:
        process_group.setup(LaunchInfo(RAY, address, world, rank))
        train(project.config_class().from_json(values["config"]), run_dir)
    except UserError as error:
        refused.write_text(str(error), "utf-8")
        if isinstance(error, RaisedTogether):
            return
        raise  # the others wait for this one: Ray ends them
    except BaseException:
        traceback.print_exc()
        raise


def free_address(host: str) -> str:
    """Return this host with a port that was free just now, for the worker of rank 0."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        return f"{host}:{taken.getsockname()[1]}"


def write_to(log: Path) -> None:
    """Let all that this process prints, whatever prints it, go to the end of a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(line_buffering=True)
        os.dup2(file, stream.fileno())


@contextlib.contextmanager
def shown(log: Path) -> Generator[None]:
    """Print what is added to a file, until the end of the context."""
    ended, place = threading.Event(), log.stat().st_size if log.exists() else 0

    def follow(place: int) -> None:
        last = False
        while not last:
            last = ended.wait(0.5)
            if log.exists():
                with log.open("rb") as file:
                    file.seek(place)
                    text = file.read()
                place += len(text)
                print(text.decode(errors="replace"), end="", flush=True)

    thread = threading.Thread(target=follow, args=(place,))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
