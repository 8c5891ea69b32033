"""Train the benchmark's network through train() and, after each of its epochs, by hand.

Run it with a generated project's Python: throughput.py PACKAGE EPOCHS. Its last line is JSON. Both
use the same model, data, optimizer, precision and jit setting; the first epochs, which compile, do
not count. The recipe's sizes are for a GPU; on a CPU they are smaller, see ON_CPU.
"""

import dataclasses
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

PACKAGE, EPOCHS = sys.argv[1], int(sys.argv[2])
devices, networks, pipeline, runs, train, workload = (
    importlib.import_module(f"{PACKAGE}.{name}")
    for name in (
        "engine.runtime.devices",
        "engine.benchmark.networks",
        "engine.pipeline",
        "engine.runs",
        "engine.train",
        "engine.benchmark.workload",
    )
)
import keras  # noqa: E402  (the package has chosen the backend)
import loops  # noqa: E402

ON_CPU = {"image_size": 32, "batch_size": 8}  # XLA's convolutions are slow there


def main() -> None:
    sizes = {} if devices.gpus() else ON_CPU
    recipe = dataclasses.replace(workload.benchmark_config(), epochs=EPOCHS + 1, **sizes)
    trainer = train.Trainer.of(networks.synthetic_task(recipe))
    steps = trainer.steps
    make_loop = getattr(loops, keras.config.backend())
    loop = make_loop(trainer.model)
    batch = next(iter(pipeline.Batches(trainer.task.dataset.train, recipe.batch_size)))
    fed = {
        "loop fed from NumPy": batch,
        "loop on one batch on the device": tuple(map(keras.ops.convert_to_tensor, batch)),
    }
    for arrays in fed.values():
        loop(2, *arrays)
    rates: dict[str, list[float]] = {name: [] for name in ("train()", *fed)}
    waits = []
    add = runs.Log.add

    def add_and_race(log: runs.Log, row: dict[str, float], epochs: int) -> None:
        """Log an epoch of train(), as it would itself, and do the same work by hand."""
        add(log, row, epochs)
        if row["epoch"] == 1:
            return
        rates["train()"].append(row["examples_per_s"])
        waits.append(row["data_wait"])
        for name, arrays in fed.items():
            began = time.perf_counter()
            loop(steps, *arrays)
            rates[name].append(steps * recipe.batch_size / (time.perf_counter() - began))

    runs.Log.add = add_and_race
    with tempfile.TemporaryDirectory() as folder:
        train.train(recipe, Path(folder, "run"), networks.synthetic_task)
    size = recipe.image_size
    setting = f"{size} x {size} pixels, batches of {recipe.batch_size}, {recipe.precision}"
    print(json.dumps({"setting": setting, "examples_per_s": rates, "data_wait": waits}))


main()
