"""The programs of docs/serving.md give the numbers of `predict`; the model card's lines run."""

import csv
import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from projects import own_home

sys.path.insert(0, str(ROOT / "tools"))
from pages import blocks  # noqa: E402

pytestmark = pytest.mark.projects

PAGE = (ROOT / "docs/serving.md").read_text()
FRAMEWORKS = ["tensorflow", "jax", "torch"]
# Both compute in float32, with sums in another order: the logits differ by about 1e-6 of the
# largest, and probabilities, at most 1, by as much.
TOLERANCE = {"rel": 1e-4, "abs": 1e-5}

TABLE = """

def flats(config):
    from .engine.tables import read_table

    columns = {"numeric": ["area", "rooms"], "categorical": ["city"], "text": ["remarks"]}
    classes = config.resize == "crop"
    target = "dear" if classes else "rent"
    return read_table("flats.csv", target=target, classes=classes, **columns)


load = flats
"""
MODEL = """

def create_task(config, dataset):
    from .engine.tables import table_inputs, table_outputs
    from .engine.tasks import Regression

    class Flats(Classification if dataset.class_names else Regression):
        output_names = ("output",)

        def build(self):
            inputs, x = table_inputs(self.dataset)
            x = keras.layers.Dense(8, "gelu", name="hidden")(x)
            return keras.Model(inputs, table_outputs(self.dataset, x), name="flats")

    return Flats(config, dataset)
"""
# Images of several sizes and kinds in two folders; the tests' own environment has no Pillow.
DRAW = """
import sys
from pathlib import Path

import numpy as np
from PIL import Image

random = np.random.default_rng(0)
for i in range(12):
    folder = Path(sys.argv[1], "ab"[i % 2])
    folder.mkdir(parents=True, exist_ok=True)
    pixels = random.integers(0, 256, (5 + i, 11, 3), "uint8").repeat(8, axis=0).repeat(8, axis=1)
    image = Image.fromarray(pixels)
    exif = image.getexif()
    exif[0x112] = 6  # turned by 90 degrees
    image.save(folder / f"{i}.{'jpg' if i % 2 else 'png'}", exif=exif)
"""
TRAIN = ("--epochs", "1", "--batch-size", "64", "--run-dir", "runs/RUN")
DRIVER = """
import json, sys
from myproj.engine import cli

for line in json.loads(sys.argv.pop()):
    sys.argv[1:] = line
    cli.main()
"""
LAYER = """

class Scale(layers.Layer):
    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1],), name="factor", initializer="ones")

    def call(self, inputs):
        return inputs * self.factor


def cnn(x):
    return Scale(name="scale")(layers.Conv2D(4, 3, 2, name="conv")(x))
"""


class Project:
    """A copy of a project's package in a folder of its own, with another's environment."""

    def __init__(self, folder: Path, environment: Path, framework: str) -> None:
        self.framework, self.folder, self.python = (
            framework,
            folder,
            environment / ".venv/bin/python",
        )
        self.package = folder / "src/myproj"
        shutil.copytree(environment / "src/myproj", self.package)
        for block in blocks(PAGE):
            if block.kind == "python" and not block.why:
                name = re.search(r"python (serve_\w+\.py)", block.text)
                (folder / (name[1] if name else "server.py")).write_text(block.text)
        self.env = own_home(environment) | {"PYTHONPATH": str(folder / "src")}

    def run(self, *arguments: str | Path) -> str:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        line = [self.python, *map(str, arguments)]
        done = subprocess.run(line, cwd=self.folder, env=self.env, **pipes)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def draw(self, folder: Path) -> list[Path]:
        """Write images into a folder, and return their paths."""
        self.run("-c", DRAW, folder)
        return sorted(folder.rglob("*.*g"))

    def train(self, recipe: str, *options: str | Path) -> None:
        self.type(["train", recipe, *TRAIN, *options])

    def deliver(
        self, recipe: str, *options: str, files: list[Path]
    ) -> tuple[list[Path], list[dict]]:
        """Train, type the page's exports, and return their paths and what predict prints."""
        typed = (c.split()[3:] for b in blocks(PAGE) for c in b.commands if " export " in c)
        lines = {line[-1]: line for line in typed}  # by format
        if self.framework != "tensorflow":
            del lines["saved_model"]
        predict = ["predict", "runs/RUN", *files, "--json"]
        printed = self.type(["train", recipe, *TRAIN, *options], *lines.values(), predict)
        found = [json.loads(line) for line in printed.splitlines() if line.startswith("{")]
        names = {"onnx": "model.onnx", "saved_model": "saved_model"}
        paths = [self.folder / "runs/RUN" / names[format] for format in lines]
        assert all(path.exists() for path in paths)
        return paths, found

    def type(self, *lines: list[str | Path]) -> str:
        """Run commands of the package in one process, which imports its framework once."""
        return self.run("-c", DRIVER, json.dumps([[*map(str, line)] for line in lines]))

    def answers(self, program: str, path: Path, bodies: list[bytes]) -> list[dict]:
        """Serve an export from a folder without the package, and return its answers to requests."""
        alone = self.folder / "alone"
        alone.mkdir(exist_ok=True)
        for name in ("server.py", program):
            shutil.copy(self.folder / name, alone)
        move = shutil.copytree if path.is_dir() else shutil.copy
        shutil.rmtree(alone / path.name, ignore_errors=True)
        move(path, alone / path.name)
        env = {name: value for name, value in self.env.items() if name != "PYTHONPATH"}
        line = [self.python, program, path.name, "0"]
        server = subprocess.Popen(line, cwd=alone, env=env, stdout=subprocess.PIPE, text=True)
        try:
            address = server.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), "the server did not start"
            assert status(address, b"{") == 400
            return [json.load(urllib.request.urlopen(address, body)) for body in bodies]
        finally:
            server.kill()
            server.communicate()


def status(address: str, body: bytes) -> int:
    """Return the HTTP status of a request that fails."""
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(address, body)
    return raised.value.code


def same(found: dict, expected: dict) -> None:
    """Compare an answer with a line of `predict`, which also names file and row."""
    for name, value in found.items():
        if isinstance(value, (float, dict)):
            assert value == pytest.approx(expected[name], **TOLERANCE)
        elif isinstance(value, list):
            assert value == pytest.approx([expected[name]], **TOLERANCE)
        else:
            assert value == expected[name]


@pytest.fixture
def project(environment, tmp_path):
    def make(framework: str) -> Project:
        return Project(tmp_path, environment(framework), framework)

    return make


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_images_of_digits(project, tmp_path, framework):
    here = project(framework)
    files = here.draw(tmp_path / "drawings")[4:8]
    paths, predicted = here.deliver("digits", files=files)
    for path in paths:
        found = here.answers("serve_images.py", path, [one.read_bytes() for one in files])
        for answer, expected in zip(found, predicted, strict=True):
            assert len(answer["probabilities"]) == 10
            same(answer, expected)


@pytest.mark.parametrize("resize", ["fit", "crop", "stretch"])
def test_images_of_folders(project, tmp_path, resize):
    here = project("tensorflow")
    files = here.draw(tmp_path / "data/raw")
    options = ("--image-size", "24", "--resize", resize)
    paths, predicted = here.deliver("image_folder", *options, files=files)
    for path in paths:
        found = here.answers("serve_images.py", path, [one.read_bytes() for one in files])
        for answer, expected in zip(found, predicted, strict=True):
            same(answer, expected)


@pytest.mark.parametrize(
    ("framework", "resize"),
    [("tensorflow", "fit"), ("tensorflow", "crop"), ("jax", "fit"), ("torch", "crop")],
)
def test_rows_of_a_table(project, tmp_path, framework, resize):
    here = project(framework)
    for name, text in (("data.py", TABLE), ("task.py", MODEL)):
        with (here.package / name).open("a") as file:
            file.write(text)
    random, rows = np.random.default_rng(0), []
    for i in range(200):
        area, city = float(random.uniform(20, 150)), ["Bern", "Zürich", "Chur"][i % 3]
        remarks = " ".join(random.choice(["garden", "lift", "quiet"], 2))
        rent = 400 + 12 * area + 300 * (i % 3)
        rows.append([f"{area:.1f}", i % 5, city, remarks, f"{rent:.2f}", rent > 1400])
    head = ["area", "rooms", "city", "remarks", "rent", "dear"]
    new = [
        ["50.5", "3", "Zürich", "Quiet, lift"],
        ["", "n/a", "Basel", "new words"],
        ["70"] + [""] * 3,
    ]
    for name, lines in (("flats.csv", [head, *rows]), ("new.csv", [head[:4], *new])):
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(lines)
    paths, predicted = here.deliver("digits", "--resize", resize, files=[tmp_path / "new.csv"])
    bodies = [json.dumps(dict(zip(head, row, strict=False))).encode() for row in new]
    bodies.append(json.dumps({"area": 70}).encode())
    for path in paths:
        found = here.answers("serve_table.py", path, bodies)
        assert found[2] == found[3]
        for answer, expected in zip(found, predicted, strict=False):
            same(answer, expected)


@pytest.mark.parametrize("framework", FRAMEWORKS)
@pytest.mark.parametrize("registered", [True, False])
def test_the_lines_of_the_model_card_load_a_layer_of_the_project(project, framework, registered):
    here = project(framework)
    mark = '@keras.saving.register_keras_serializable("own")\nclass'
    with (here.package / "model.py").open("a") as file:
        file.write(LAYER.replace("class", mark, 1) if registered else LAYER)
    here.train("digits")
    card = (here.folder / "runs/RUN/MODEL_CARD.md").read_text()
    plain, built = [b.text for b in blocks(card) if b.kind == "python" and "model =" in b.text]
    here.env.pop("KERAS_BACKEND", None)  # as in a new shell
    use = "import numpy\nprint(tuple(model(numpy.zeros((1, 8, 8, 1), 'uint8')).shape))"
    for code in (plain, built) if registered else (built,):
        assert here.run("-c", f"{code}\n{use}").splitlines()[-1] == "(1, 10)"
