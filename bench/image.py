"""Build the images of a tensorflow project as nobody had before, and again after small changes."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from table import Row
from workplace import Bench

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from container.engine import Engine, find  # noqa: E402  (how the tests find a usable client)
from container.images import certificates  # noqa: E402

NAIVE = Path(__file__).with_name("naive.Dockerfile")
ADDED = '    "pandas>=2",\n'
IMPORT = "import time; began = time.time(); import keras; print(time.time() - began)"


def layers(engine: Engine, image: str) -> list[str]:
    return engine.inspect(image)["RootFS"]["Layers"]


def measure(bench: Bench) -> Iterator[Row]:
    """The rows: sizes, cold builds, what a change rebuilds, and how long Keras takes to import."""
    (bench.folder / "client").mkdir()
    engine = find(bench.folder / "client")
    before = engine.build_cache()
    project = bench.folder / "image"
    bench.copy(bench.ours, project)
    for number, pem in enumerate(certificates()):
        (project / f".devcontainer/certs/host-{number}.crt").write_text(pem)
    dockerfile = project / ".devcontainer/Dockerfile"
    fresh = f"target=/mnt/cache,id=bench-{os.getpid()}"  # nobody's downloads
    dockerfile.write_text(dockerfile.read_text().replace("target=/mnt/cache", fresh))
    (project / ".dockerignore").write_text("")  # the rival has none

    def build(image: str, file: Path, *options: str) -> float:
        line = ("docker", "build", "--file", file, "--tag", image, *options, ".")
        return bench.run(
            *line, cwd=project, **{k: engine.env[k] for k in ("PATH", "DOCKER_BUILDKIT")}
        )

    def sweep(*images: str) -> None:
        engine.try_docker("image", "rm", "--force", *images)
        engine.prune(before)

    def add_dependency() -> None:
        pyproject = project / "pyproject.toml"
        text = pyproject.read_text()
        pyproject.write_text(text.replace("dependencies = [\n", f"dependencies = [\n{ADDED}", 1))
        bench.run(sys.executable, "tools/lock.py", cwd=project)

    try:
        locks = {path: path.read_bytes() for path in (project / "requirements").iterdir()}
        ranges = (project / "pyproject.toml").read_text()
        naive = {"cold": build("bench-naive", NAIVE, "--no-cache")}
        naive["size"] = engine.inspect("bench-naive")["Size"] / 1e9
        add_dependency()
        naive["added"] = build("bench-naive-2", NAIVE)
        sweep("bench-naive", "bench-naive-2")

        (project / "pyproject.toml").write_text(ranges)
        for path, content in locks.items():
            path.write_bytes(content)
        (project / ".dockerignore").write_bytes(
            (bench.ours / "template/.dockerignore").read_bytes()
        )
        gpu, cpu = ("--build-arg=ACCELERATOR=gpu",), ("--build-arg=ACCELERATOR=cpu",)
        cold = build("bench-gpu", dockerfile, "--no-cache", *gpu)
        yield Row("GPU image, cold build", [cold], "s", 300)
        yield Row("  a plain Dockerfile", [naive["cold"]], "s")
        size = engine.inspect("bench-gpu")["Size"] / 1e9
        yield Row("GPU image, size", [size], "GB", 7.2)
        yield Row("  a plain Dockerfile", [naive["size"]], "GB")

        source = next((project / "src").glob("*/engine/train.py"))
        source.write_text(source.read_text() + "\n# changed\n")
        again = build("bench-gpu-2", dockerfile, *gpu)
        new = set(layers(engine, "bench-gpu-2")) - set(layers(engine, "bench-gpu"))
        yield Row("a changed source file: layers built anew", [len(new)], "layers", 0)
        yield Row("  its build", [again], "s")
        add_dependency()
        yield Row("one added dependency", [build("bench-gpu-2", dockerfile, *gpu)], "s", 45)
        yield Row("  in a plain Dockerfile", [naive["added"]], "s")
        imports = []
        for _ in range(2 * bench.runs + 1):
            printed = engine.docker("run", "--rm", "bench-gpu", "python", "-c", IMPORT)
            imports.append(float(re.findall(r"^[\d.]+$", printed, re.MULTILINE)[-1]))
        yield Row("import keras in the GPU image", imports, "s", 6)
        sweep("bench-gpu", "bench-gpu-2")

        yield Row(
            "CPU image, cold build", [build("bench-cpu", dockerfile, "--no-cache", *cpu)], "s"
        )
        yield Row("CPU image, size", [engine.inspect("bench-cpu")["Size"] / 1e9], "GB", 2.4)
    finally:
        sweep("bench-naive", "bench-naive-2", "bench-gpu", "bench-gpu-2", "bench-cpu")
