"""The code of docs/data-sources.md: each source trains, and resumes exactly."""

import re
import subprocess
import sys

import pytest
from conftest import ROOT
from projects import own_home

sys.path.insert(0, str(ROOT / "tools"))
from pages import blocks  # noqa: E402

pytestmark = pytest.mark.projects

PAGE = ROOT / "docs/data-sources.md"
PACKAGE = "myproj"
IMPORTS = f"""
import io, tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from {PACKAGE}.engine import Dataset, Split
from {PACKAGE}.recipes import Config
"""

# Each makes data in the folder `root`, and names the function to try and the shape of an input.
MEMORY_MAP = """
random = np.random.default_rng(0)
labels = np.arange(100) % 2
images = random.integers(0, 99, (100, 8, 8, 1)) + 99 * labels[:, None, None, None]
np.save(root / "images.npy", images.astype("uint8"))
np.save(root / "labels.npy", labels)
load, first = memory_map, (8, 8, 1)
"""
HUGGING_FACE = """
import datasets

numbers = np.random.default_rng(0).normal(size=(100, 4)).astype("float32")
labels = (numbers.sum(axis=1) > 0).astype("int32")
parts = {
    part: datasets.Dataset.from_dict({"numbers": numbers[rows], "label": labels[rows]})
    for part, rows in (
        ("train", slice(80)),
        ("validation", slice(80, 90)),
        ("test", slice(90, 100)),
    )
}
datasets.DatasetDict(parts).save_to_disk(str(root))
load, first = hugging_face, (4,)
"""
TORCH = """
load, first = torch_dataset, (4,)
"""
SHARDS = """
for part, size in (("train", 80), ("val", 10), ("test", 10)):
    for shard in range(2):
        with tarfile.open(root / f"{part}-{shard}.tar", "w") as tar:
            for i in range(size // 2):
                image = io.BytesIO()
                Image.fromarray(np.full((8, 8, 3), 200 * (i % 2) + i, "uint8")).save(image, "PNG")
                for suffix, data in (("png", image.getvalue()), ("cls", str(i % 2).encode())):
                    member = tarfile.TarInfo(f"a.b/{i}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
load, first = shards, (8, 8, 3)
"""
RECORDS = """
def example(row):
    values = {
        "inputs": tf.train.Feature(float_list=tf.train.FloatList(value=row)),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[int(row.sum() > 0)])),
    }
    return tf.train.Example(features=tf.train.Features(feature=values)).SerializeToString()

random = np.random.default_rng(0)
for part, size in (("train", 80), ("val", 10), ("test", 10)):
    for shard in range(2):
        with tf.io.TFRecordWriter(str(root / f"{part}-{shard}.tfrecord")) as writer:
            for row in random.normal(size=(size // 2, 4)):
                writer.write(example(row))
load, first = tf_records, (4,)
"""
TRAIN = f"""
import json, shutil

import keras

from {PACKAGE}.engine import tasks
from {PACKAGE}.engine.train import train

class Linear(tasks.Classification):
    def build(self):
        inputs = keras.Input(first, name="inputs")
        x = keras.layers.Flatten(name="flat")(inputs)
        return keras.Model(inputs, keras.layers.Dense(2, name="logits")(x), name="linear")

def fit(name, epochs):
    values = {{"recipe": "x", "data": "digits", "batch_size": 16, "patience": 0, "data_dir": root}}
    config = Config(**values, epochs=epochs)
    train(config, runs / name, lambda config: Linear(config, load(config)))
    rows = map(json.loads, (runs / name / "metrics.jsonl").read_text().splitlines())
    timings = ("examples_per_s", "data_wait")
    return [{{k: v for k, v in row.items() if k not in timings}} for row in rows]

dataset = load(Config(recipe="x", data="digits", data_dir=root))
assert [len(part) for part in (dataset.train, dataset.validation, dataset.test)] == [80, 10, 10]
inputs, labels = dataset.train.read(np.array([5, 3, 5]))
assert inputs.shape == (3, *first) and labels.shape == (3,), (inputs.shape, labels.shape)
assert (inputs[0] == inputs[2]).all() and not (inputs[0] == inputs[1]).all()
everything = dataset.train.read(np.arange(80))
assert set(np.unique(everything[1])) == {{0, 1}}
whole = fit("whole", 2)
again = Path(shutil.copytree(runs / "whole", runs / "again"))
for name in ("metrics.json", "model.keras"):
    (again / name).unlink()
(again / "checkpoints/previous.npz").replace(again / "checkpoints/last.npz")  # as after epoch 1
assert fit("again", 2) == whole
print("the resumed run is the same")
"""


def code(function: str) -> str:
    """Return the piece of the page that defines a function."""
    [found] = [block.text for block in blocks(PAGE.read_text()) if f"def {function}(" in block.text]
    return found


@pytest.mark.parametrize(
    ("function", "imports", "data", "framework", "packages"),
    [
        ("memory_map", "", MEMORY_MAP, "tensorflow", ()),
        ("hugging_face", "", HUGGING_FACE, "tensorflow", ("datasets",)),
        ("shards", "", SHARDS, "tensorflow", ()),
        ("tf_records", "import tensorflow as tf", RECORDS, "tensorflow", ()),
        ("torch_dataset", "import torch", TORCH, "torch", ()),
    ],
    ids=lambda value: value if isinstance(value, str) and value.isidentifier() else "",
)
def test_the_source_trains(environment, tmp_path, function, imports, data, framework, packages):
    folder = environment(framework)
    env = own_home(folder) | {"PYTHONPATH": str(folder / "src")}
    if packages:  # beside the project's environment, which stays as it is
        extra = tmp_path / "site-packages"  # dill pickles modules in other folders by value
        line = ["uv", "pip", "install", "--quiet", f"--target={extra}", *packages]
        subprocess.run([*line, f"--python={folder / '.venv/bin/python'}"], check=True)
        imports = f"import sys\nsys.path.append({str(extra)!r})\n{imports}"  # behind its packages
    (tmp_path / "data").mkdir()
    head = f"{imports}\nroot, runs = Path('data').absolute(), Path('runs').absolute()\n"
    program = f"{IMPORTS}{head}{code(function)}{data}{TRAIN}"
    (tmp_path / "program.py").write_text(program)
    python = folder / ".venv/bin/python"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([python, "program.py"], cwd=tmp_path, env=env, **pipes)
    assert done.returncode == 0, done.stdout
    assert "the resumed run is the same" in done.stdout


def test_all_code_of_the_page_is_run():
    found = {re.findall(r"def (\w+)\(config", block.text)[0] for block in blocks(PAGE.read_text())}
    [parameters] = [
        mark for mark in test_the_source_trains.pytestmark if mark.name == "parametrize"
    ]
    assert found == {values[0] for values in parameters.args[1]}
