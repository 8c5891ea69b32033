# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Training on several devices and in several processes: `setup` is the one call it takes.

One process with one device is left as it is. What does not work is refused here, with the way out.
"""

import contextlib
import os
import sys
from typing import NoReturn

from ..config import UserError
from .cluster import Cluster, tf_devices
from .launchers import RAY, REMEDY, LaunchInfo, detect_launcher, in_ray_worker

_cluster: Cluster | None = None


def setup(start: LaunchInfo | None = None) -> Cluster:
    """Find out how this process was started, and join the others; later calls give the same.

    Call it before anything computes. Raises UserError for what would hang, or train several models.
    """
    global _cluster
    if _cluster is None:
        import keras

        start = start or detect_launcher(os.environ)
        how = {"jax": _jax, "tensorflow": _tensorflow, "torch": _torch}
        _cluster = how[keras.config.backend()](start)
        if in_ray_worker() and _cluster.world_size == 1:
            _cluster = None
            raise UserError(
                "Ray started this as one of several workers that know nothing of each other "
                f"(JaxTrainer does so on CPUs), and each would train a model: {REMEDY}"
            )
        if _cluster.world_size > 1:
            sys.excepthook = _exit_after_error
        if (
            not _cluster.is_main and _cluster.launcher != RAY
        ):  # whose workers have logs of their own
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    return _cluster


def exit_process(code: int | str) -> NoReturn:
    """End this process like sys.exit, but at once if it is one of several, which wait for it."""
    with contextlib.suppress(OSError):  # a pipe that nobody reads any more
        sys.stdout.flush()  # so that the reason is the last line where both go to one place
    if _cluster is None or _cluster.world_size == 1:
        sys.exit(code)
    print(code, file=sys.stderr, flush=True)
    os._exit(1)


def _exit_after_error(*error) -> None:
    sys.__excepthook__(*error)
    exit_process("error: this process ended; see above, or what another one printed")


def _jax(start: LaunchInfo | None) -> Cluster:
    import jax

    if start:
        who = f"process {start.rank} of {start.world_size} ({start.launcher})"
        print(f"{who} looks for process 0 at {start.address}", file=sys.stderr, flush=True)
        jax.distributed.initialize(
            start.address,
            start.world_size,
            start.rank,
            local_device_ids=start.device,
            cluster_detection_method="deactivate",  # it gives a Slurm task one GPU of all it has
        )
    launcher = start.launcher if start else ""  # with none, Ray may have joined them already
    cluster = Cluster(jax.process_index(), jax.process_count(), jax.device_count(), launcher)
    counts = cluster.all_gather(str(jax.local_device_count()))
    if len(set(counts)) > 1:
        raise UserError(f"the processes have {', '.join(counts)} devices: give each as many")
    return cluster


def _tensorflow(start: LaunchInfo | None) -> Cluster:
    if start:
        raise UserError(
            f"{start.launcher} started {start.world_size} processes, but TensorFlow's multi-worker "
            f"fit does not work under Keras 3: {REMEDY}"
        )
    return Cluster(devices=len(tf_devices()))


def _torch(start: LaunchInfo | None) -> Cluster:
    if start:
        raise UserError(
            f"{start.launcher} started {start.world_size} processes, but Keras 3.15 trains on one "
            f"device with torch, so that each would train a model: {REMEDY}"
        )
    import torch

    if (found := torch.cuda.device_count()) > 1:
        print(f"torch trains on the first of {found} GPUs; for all of them {REMEDY}", flush=True)
    return Cluster()
