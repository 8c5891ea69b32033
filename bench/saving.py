"""Time checkpoints of the model of digits: saving.py PACKAGE RUNS, with a project's Python.

Its last line is JSON: the seconds of each save.
"""

import importlib
import json
import sys
import tempfile
import time
from pathlib import Path

PACKAGE, RUNS = sys.argv[1], int(sys.argv[2])
checkpoint, project, recipes, train = (
    importlib.import_module(f"{PACKAGE}.{name}")
    for name in ("engine.checkpoint", "engine.project", "recipes", "engine.train")
)

recipe = recipes.digits()
state = train.Trainer.of(project.make_task(recipe)).state
row = {name: 0.123456789 for name in ("epoch", "loss", "accuracy", "val_loss", "val_accuracy")}
progress = checkpoint.Progress([row] * recipe.epochs)
seconds = []
with tempfile.TemporaryDirectory(dir=".") as folder:
    for _ in range(RUNS + 1):
        began = time.perf_counter()
        checkpoint.save_last(Path(folder), state, progress)
        seconds.append(time.perf_counter() - began)
print(json.dumps(seconds[1:]))  # the first one warms up
