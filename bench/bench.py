"""Measure the figures that this template aims at: `nox -s bench`, or `-- copy digits` for some.

One table, all of it measured now: ours and the rival take turns, and medians count. Nothing is
asserted, because a busy machine is slow: the load average is printed before and after.
"""

import argparse
import dataclasses
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from lines import code_lines, text_lines
from table import Row, show
from workplace import ROOT, Bench

HERE = Path(__file__).parent
TRAINED = ("tensorflow", "jax")
UV = (sys.executable, "-m", "uv")
RACED = {"tensorflow": 0.97, "jax": 0.97, "torch": 0.95}
"""Least throughput of train(), as a share of a loop's that is written by hand."""
MEASURED_MODULES = (
    "engine/config.py",
    "data.py",
    "model.py",
    "engine/train.py",
    "engine/checkpoint.py",
    "engine/evaluate.py",
    "engine/cli.py",
)


def copy(bench: Bench) -> Iterator[Row]:
    """Copying, against a template of one question and one file."""
    ours, empty = bench.folder / "copy-ours", bench.folder / "copy-empty"
    bench.copy(bench.ours, ours)  # a first run compiles Copier's bytecode
    turns = [
        (bench.copy(bench.ours, ours), bench.copy(bench.empty, empty))
        for _ in range(2 * bench.runs + 1)
    ]
    mine, theirs = (list(runs) for runs in zip(*turns, strict=True))
    yield Row("copier copy --defaults", mine, "s", 1.6, "empty template", theirs)
    files = sum(path.is_file() for path in ours.rglob("*"))
    yield Row("  files of the default copy", [files], "files", 46, at_least=True)


def update(bench: Bench) -> Iterator[Row]:
    """The safe update of an edited project, against plain `copier update` of the same."""
    project, repository = bench.folder / "update", bench.folder / "update-template"
    shutil.copytree(bench.ours, repository)
    url = "https://github.com/org/gpu-ml-template.git"  # what people have: a cached remote
    config = bench.folder / "update.gitconfig"
    config.write_text(
        (bench.folder / "gitconfig").read_text()
        + f'[url "{repository.as_uri()}"]\n\tinsteadOf = {url}\n'
    )
    env = {"GIT_CONFIG_GLOBAL": str(config), "XDG_CACHE_HOME": str(bench.folder / "cache")}

    def commit(folder: Path, *options: str) -> None:
        bench.run("git", "add", "--all", cwd=folder, **env)
        bench.run("git", "commit", "--quiet", "--message=Work", *options, cwd=folder, **env)

    copier = (sys.executable, "-m", "copier")
    bench.run(*copier, "copy", "--defaults", "gh:org/gpu-ml-template", project, **env)
    for folder, edited in ((project, project), (repository, repository / "template")):
        bench.run("git", "init", "--quiet", cwd=folder, **env)
        for name in ("tools/lock.py", "tools/hooks.py", "tools/container.py"):
            text = (edited / name).read_text()
            head, tail = ("", "# mine\n") if folder == project else ("# theirs\n", "")
            (edited / name).write_text(head + text + tail)
        commit(folder)
    bench.run("git", "tag", "v1.1.0", cwd=repository, **env)
    safe = (sys.executable, project / "tools/update.py")
    plain = (*copier, "update", "--defaults", "--skip-answered", "--quiet")
    seconds: dict[tuple, list[float]] = {safe: [], plain: []}
    for turn in range(2 * bench.runs + 2):
        for command, runs in seconds.items():
            took = bench.run(*command, cwd=project, **env)
            runs += [took] if turn else []  # the first one makes environment and caches
            bench.run("git", "reset", "--quiet", "--hard", cwd=project, **env)
            bench.run("git", "clean", "--quiet", "--force", "-d", cwd=project, **env)
    yield Row("tools/update.py", seconds[safe], "s", 1.5, "plain copier update", seconds[plain])


def doctor(bench: Bench) -> Iterator[Row]:
    """The doctor at the start of a container, and the check of the GPU, here on the CPU."""
    folder, python, package = bench.project("tensorflow")
    brief = (python, ".devcontainer/doctor.py", "--brief")
    runs = [bench.run(*brief, cwd=folder) for _ in range(2 * bench.runs + 1)]
    yield Row("doctor --brief", runs, "s", 1.5)
    for options, target in (((), 60), (("--quick",), 30)):
        check = (python, "-m", package, "gpu-check", *options)
        runs = [bench.run(*check, cwd=folder) for _ in range(bench.runs)]
        yield Row(" ".join(("gpu-check", *options)), runs, "s", target)


def help(bench: Bench) -> Iterator[Row]:
    """The command line's help, which must not import the framework."""
    folder, python, package = bench.project("tensorflow")
    command = (python, "-m", package, "train", "--help")
    bench.run(*command, cwd=folder)
    runs = [bench.run(*command, cwd=folder) for _ in range(2 * bench.runs + 1)]
    yield Row("train --help", runs, "s", 0.5)


def digits(bench: Bench) -> Iterator[Row]:
    """The default training, from the command line to its report."""
    seconds = {framework: [] for framework in TRAINED}
    accuracy = {framework: [] for framework in TRAINED}
    for turn in range(bench.runs):
        for framework in TRAINED:
            folder, python, package = bench.project(framework)
            run_dir = folder / f"runs/bench-{turn}"
            train = (python, "-m", package, "train", "--run-dir", run_dir)
            seconds[framework].append(bench.run(*train, cwd=folder))
            metrics = json.loads((run_dir / "metrics.json").read_text())
            accuracy[framework].append(metrics["val_accuracy"])
    for framework in TRAINED:
        yield Row(f"train digits, {framework}", seconds[framework], "s", 60)
        yield Row("  validation accuracy", accuracy[framework], "", 0.97, at_least=True)


def first_day(bench: Bench) -> Iterator[Row]:
    """What docs/first-day.md says, word for word, with caches that are empty and then full."""
    script, cache = ROOT / "tools/first_day.py", {"UV_CACHE_DIR": str(bench.folder / "uv")}
    for caches, target in (("cold", 240), ("warm", 150)):
        day = bench.folder / f"day-{caches}"
        seconds = bench.run(sys.executable, script, day, SMOKE="1", **cache)
        ended = re.findall(r"^ *([\d.]+)  (.+)$", bench.output, re.M)
        before, notebook = (
            float(ended[i + n][0])
            for i, (_, line) in enumerate(ended)
            if line == "nox -s notebook"
            for n in (-1, 0)
        )
        model = re.search(r"^First model: (\d+) commands, (\d+) s", bench.output, re.M)
        assert model, bench.output
        yield Row(f"copier copy to the first model, {caches} caches", [float(model[2])], "s", 240)
        yield Row("  commands until then", [float(model[1])], "commands", 3)
        yield Row("  its notebook", [notebook - before], "s", 30)
        yield Row(f"the whole first day, {caches} caches", [seconds], "s", target)


def throughput(bench: Bench) -> Iterator[Row]:
    """The benchmark recipe through train(), against loops written by hand (throughput.py)."""
    for framework, least in RACED.items():
        folder, python, package = bench.project(framework)
        bench.run(python, HERE / "throughput.py", package, str(2 * bench.runs), cwd=folder)
        found = json.loads(bench.output.splitlines()[-1])
        ours = found["examples_per_s"].pop("train()")
        for rival, theirs in found["examples_per_s"].items():
            figure = f"throughput, {framework}, {found['setting']}"
            target = least if rival == "loop fed from NumPy" else None  # as train() is
            yield Row(figure, ours, "examples/s", target, rival, theirs, at_least=True)
        yield Row("  waiting for data", found["data_wait"], "of the time", 0.03)


def waiting(bench: Bench) -> Iterator[Row]:
    """The share of time that image_folder waits for its pictures, JPEGs of 224 x 224 pixels."""
    for framework in RACED:
        folder, python, package = bench.project(framework)
        bench.run(python, HERE / "waiting.py", package, str(bench.runs), cwd=folder)
        found = json.loads(bench.output.splitlines()[-1])
        yield Row(f"image_folder, {framework}", found["examples_per_s"], "examples/s")
        yield Row("  waiting for data", found["data_wait"], "of the time", 0.10)


def reading(bench: Bench) -> Iterator[Row]:
    """Reading JPEGs, against Keras's and torchvision's ways on the same files (reading.py)."""
    rivals = {"tensorflow": ("keras, stretch", "keras, fit"), "torch": ("torchvision, stretch",)}
    for framework, names in rivals.items():
        folder, python, package = bench.project(framework)
        if framework == "torch":
            bench.run(*UV, "pip", "install", "--python", python, "torchvision", cwd=folder)
        rival = names[0].partition(",")[0]
        bench.run(python, HERE / "reading.py", package, rival, str(bench.runs), cwd=folder)
        found = json.loads(bench.output.splitlines()[-1])
        least = 1.0 if rival == "keras" else 2.0
        unit, more = "images/s", {"at_least": True}
        for name in names:
            way = name.partition(", ")[2]
            title = f"reading, {framework}, {way}"
            yield Row(title, found[way], unit, least, name, found[name], **more)
        first = found["first epoch with cache"]
        for name in ("with cache", "with cache, as NumPy"):
            yield Row(f"  {name}", found[name], unit, 10, "first epoch", first, **more)
        check, epoch = found["check, s"], found["whole epoch, s"]
        yield Row("  check of 10,000 files", check, "s", 1, "an epoch of reading", epoch)
        for name, rates in found.items():
            if name.startswith("fit, cores"):
                yield Row(f"  {name}", rates, unit)


def ladder(bench: Bench) -> Iterator[Row]:
    """The ladder of a project's `nox -s bench`; the page is left in its reports/."""
    for framework in RACED:
        folder, python, package = bench.project(framework)
        bench.run(python, "-m", package, "benchmark", cwd=folder)
        report = json.loads((folder / "reports/benchmark.json").read_text())
        print(report["sentence"], file=sys.stderr)
        for row in report["settings"]:
            if "left_out" not in row:
                rates = [report["model"]["batch_size"] / seconds for seconds in row["runs"]]
                yield Row(f"ladder, {framework}, {row['setting']}", rates, "examples/s")


def ray(bench: Bench) -> Iterator[Row]:
    """The benchmark recipe by `launch` with one worker, against `train`, after the first epoch."""
    folder, python, package = bench.project("jax")
    bench.run(sys.executable, "-m", "nox", "-s", "setup", "--", "cpu", "scale", cwd=folder)
    sizes = ("benchmark", "--image-size", "32", "--batch-size", "8", "--epochs", "4")
    rates: dict[str, list[float]] = {"launch --workers 1": [], "train": []}
    for turn in range(bench.runs):
        for command, found in rates.items():
            run_dir = folder / f"runs/ray-{turn}-{len(command)}"
            line = (*command.split(), *sizes, "--run-dir", run_dir)
            bench.run(python, "-m", package, *line, cwd=folder)
            rows = (run_dir / "metrics.jsonl").read_text().splitlines()
            found += [json.loads(row)["examples_per_s"] for row in rows[1:]]
    mine, theirs = rates.values()
    yield Row("launch --workers 1, jax", mine, "examples/s", 0.95, "train", theirs, at_least=True)


def checkpoint(bench: Bench) -> Iterator[Row]:
    """A checkpoint of the model of digits, against an epoch of 10 s."""
    for framework in TRAINED:
        folder, python, package = bench.project(framework)
        bench.run(python, HERE / "saving.py", package, str(10 * bench.runs + 1), cwd=folder)
        runs = json.loads(bench.output.splitlines()[-1])
        yield Row(f"checkpoint, {framework} (3 % of 10 s)", runs, "s", 0.3)


def listing(bench: Bench) -> Iterator[Row]:
    """An image_folder of 100,000 files: listed once, held in little memory (listing.py)."""
    folder, python, package = bench.project("jax")
    found = []
    for _ in range(bench.runs):
        bench.run(python, HERE / "listing.py", package, "100000", cwd=folder)
        found.append(json.loads(bench.output.splitlines()[-1]))
    column = {name: [run[name] for run in found] for name in found[0]}
    yield Row("image_folder of 100,000 files: loading", column["loading"], "s")
    yield Row("  peak memory of the process", column["peak_gib"], "GiB", 1.5)
    yield Row("  folders listed in two epochs", column["listings"], "listings", 0)


def lines(bench: Bench) -> Iterator[Row]:
    """Lines of code: no blanks, comments or docstrings."""
    package = ROOT / "template/src/{{package_name}}"
    modules = {path.relative_to(package).as_posix(): path for path in package.rglob("*.py")}
    code = {name: code_lines(path.read_text()) for name, path in modules.items()}
    yield Row(", ".join(MEASURED_MODULES), [sum(code[m] for m in MEASURED_MODULES)], "lines", 500)
    yield Row("engine/train.py", [code["engine/train.py"]], "lines", 120)
    yield Row("engine/report/page.py", [code["engine/report/page.py"]], "lines", 120)
    yield Row("the package", [sum(code.values())], "lines")
    settings = [ROOT / "copier.yml", *(p for p in (ROOT / "copier").iterdir() if p.is_file())]
    total = sum(text_lines(path.read_text()) for path in settings)
    yield Row("copier.yml and copier/*", [total], "lines", 160)


def images(bench: Bench) -> Iterator[Row]:
    """The dev container's images, against a plain Dockerfile with the same locks (image.py)."""
    import image  # needs an engine, which the other parts do not

    yield from image.measure(bench)


PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    part.__name__: part
    for part in (
        *(lines, copy, update, help, doctor, checkpoint, digits, throughput, waiting, reading),
        *(ladder, ray, first_day, listing),
        images,
    )
}


def machine() -> str:
    """Return one line on what the figures were measured on, and how busy it is."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"{platform.platform()}, {os.cpu_count()} cores, load average {load}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--runs", type=int, default=3, help="quick parts take more (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all runs to FILE")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no part {', '.join(unknown)}: choose from {', '.join(PARTS)}")
    before, rows, failed = machine(), [], []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        bench = Bench(Path(folder), options.runs)
        for name in options.parts or PARTS:
            print(name, file=sys.stderr, flush=True)
            try:
                rows += PARTS[name](bench)
            except subprocess.CalledProcessError:
                failed.append(name)
    print(f"before: {before}\nafter:  {machine()}\n")
    show(rows)
    if options.json:
        found = [dataclasses.asdict(row) | {"ratio": row.ratio()} for row in rows]
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    if failed:
        sys.exit(f"These parts could not be measured: {', '.join(failed)}")


if __name__ == "__main__":
    main()
