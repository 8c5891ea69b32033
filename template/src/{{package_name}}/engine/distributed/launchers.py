# Managed by gpu-ml-template: copier update merges fixes into this file.
"""How this process was started: the environment variables of the launchers that are known."""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from ..config import UserError

PORT = 8476  # of the first process, where the launcher names none
RAY = "Ray"
PACKAGE = __name__.partition(".")[0]
REMEDY = f"set KERAS_BACKEND=jax, or start it with `python -m {PACKAGE} launch`"


@dataclass(frozen=True)
class LaunchInfo:
    """What a launcher tells one of several processes."""

    launcher: str
    address: str
    """Host and port at which process 0 listens."""
    world_size: int
    rank: int
    device: int | None = None
    """The only device that this process is to use, of those that it sees. None: all of them."""


def detect_launcher(env: Mapping[str, str]) -> LaunchInfo | None:
    """Return what a launcher says in environment variables; None for one process by itself."""
    try:
        start = next(filter(None, (read(env) for read in (_keras, _torchrun, _slurm, _sky))), None)
    except KeyError as missing:
        raise UserError(
            f"{missing.args[0]} is not set, but other variables of its launcher are: set all of "
            "them, or none"
        ) from None
    except ValueError as error:
        raise UserError(f"a launcher's variable is not a number: {error}") from None
    if not start and _tf_workers(env) > 1:
        raise UserError(
            "TF_CONFIG asks for several workers (Ray's TensorflowTrainer and others set it), which "
            f"TensorFlow cannot train under Keras 3: unset it, and {REMEDY}"
        )
    if start and not 0 <= start.rank < start.world_size:
        raise UserError(
            f"{start.launcher} says process {start.rank} of {start.world_size}: they are counted "
            "from 0"
        )
    return start if start and start.world_size > 1 else None


def _keras(env: Mapping[str, str]) -> LaunchInfo | None:
    if not any(name.startswith("KERAS_DISTRIBUTION_") for name in env):
        return None
    address = env["KERAS_DISTRIBUTION_JOB_ADDRESSES"].split(",")[0]
    number = int(env["KERAS_DISTRIBUTION_PROCESS_ID"])
    return LaunchInfo("Keras", address, int(env["KERAS_DISTRIBUTION_NUM_PROCESSES"]), number)


def _torchrun(env: Mapping[str, str]) -> LaunchInfo | None:
    if int(env.get("WORLD_SIZE", 1)) < 2:
        return None
    port = int(env["MASTER_PORT"]) + 1  # torchrun itself listens at the other one
    several = int(env.get("LOCAL_WORLD_SIZE", 1)) > 1
    device = _own_device(env, int(env["LOCAL_RANK"])) if several else None
    address = f"{env['MASTER_ADDR']}:{port}"
    return LaunchInfo("torchrun", address, int(env["WORLD_SIZE"]), int(env["RANK"]), device)


def _slurm(env: Mapping[str, str]) -> LaunchInfo | None:
    if int(env.get("SLURM_STEP_NUM_TASKS", 1)) < 2:  # a script without srun is one process
        return None
    # The first host of "node[01-04,7]" or "a,b", and a port as JAX chooses it.
    hosts = re.match(r"([^\[,]+)(?:\[(\d+))?", env["SLURM_STEP_NODELIST"])
    if not hosts:
        raise UserError("SLURM_STEP_NODELIST names no host: start the command with srun")
    port = 61440 + int(env["SLURM_JOB_ID"]) % 4096
    tasks = int(env["SLURM_STEP_NUM_TASKS"])
    several = tasks > int(env["SLURM_STEP_NUM_NODES"])
    device = _own_device(env, int(env["SLURM_LOCALID"])) if several else None
    address = f"{hosts[1]}{hosts[2] or ''}:{port}"
    return LaunchInfo("Slurm", address, tasks, int(env["SLURM_PROCID"]), device)


def _sky(env: Mapping[str, str]) -> LaunchInfo | None:
    if int(env.get("SKYPILOT_NUM_NODES", 1)) < 2:
        return None
    address = f"{env['SKYPILOT_NODE_IPS'].split()[0]}:{PORT}"
    nodes, rank = int(env["SKYPILOT_NUM_NODES"]), int(env["SKYPILOT_NODE_RANK"])
    return LaunchInfo("SkyPilot", address, nodes, rank)


def _own_device(env: Mapping[str, str], local: int) -> int | None:
    """Return which GPU is this process's own; None if it sees one only."""
    return local if "," in env.get("CUDA_VISIBLE_DEVICES", ",") else None


def _tf_workers(env: Mapping[str, str]) -> int:
    try:
        tasks = json.loads(env.get("TF_CONFIG") or "{}").get("cluster", {})
        return sum(len(addresses) for addresses in tasks.values())
    except (ValueError, AttributeError, TypeError):
        return 0  # it is nothing that TensorFlow would understand


def in_ray_worker() -> bool:
    """Whether Ray Train runs this process as one of several."""
    if "ray.train" not in sys.modules:
        return False
    import ray.train

    try:
        return ray.train.get_context().get_world_size() > 1
    except RuntimeError:  # this process only uses Ray
        return False
