# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The command line; it imports the framework only when there is work for it."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from . import compare, runs
from .config import RECIPES, Config, UserError
from .distributed import process_group
from .gpu_check import report as gpu_report
from .runtime import files

PROGRAM = f"python -m {__package__.partition('.')[0]}"
USAGE = f"""usage: {PROGRAM} COMMAND ...

  train [RECIPE]    train, or resume a run; RECIPE is {", ".join(RECIPES)}
  launch [RECIPE]   the same with Ray, in several processes on one machine or many
  evaluate RUN_DIR  measure a run's best model again and write its report
  export RUN_DIR    write a run's best model for serving
  runs [RUN_DIR]    list runs with their metrics, and where their configs differ
  gpu-check         check that the GPU does the work, and write reports/gpu_check.html
  benchmark         measure how fast training is here, setting by setting

{PROGRAM} COMMAND --help tells the options."""
Format = Literal["auto", "saved_model", "onnx"]
INTERRUPTED = 75  # EX_TEMPFAIL: a scheduler may start the same command again


@dataclass(frozen=True)
class TrainOptions:
    """Options of `train`."""

    config: tyro.conf.OmitArgPrefixes[Config]
    run_dir: Path | None = None
    """Directory of the run: created, or resumed if a run is in it (runs/<time>-<recipe>)."""
    resume: bool = False
    """Resume the newest unfinished run of the recipe."""


def read_train(arguments: list[str]) -> tuple[Config, Path]:
    """Return the config and the run directory that the arguments of `train` ask for."""
    named = bool(arguments) and not arguments[0].startswith("-")
    recipe = arguments[0] if named else "digits"
    if recipe not in RECIPES:
        raise UserError(f"unknown recipe {recipe!r}: choose one of {', '.join(RECIPES)}")

    def parse(default: Config) -> TrainOptions:
        usage = f"{PROGRAM} train [{'|'.join(RECIPES)}]"
        texts = {"prog": usage, "description": f"Train: {RECIPES[recipe].__doc__}"}
        options = TrainOptions(default)
        return tyro.cli(TrainOptions, args=arguments[named:], default=options, **texts)

    options = parse(RECIPES[recipe]())
    if options.resume and options.run_dir:
        raise UserError("--resume looks for the run itself: give it or --run-dir, not both")
    run_dir = runs.newest_unfinished(recipe) if options.resume else options.run_dir
    run_dir = run_dir or runs.new_dir(recipe)
    runs.check_place(run_dir)
    if (run_dir / "config.json").exists():
        stored = runs.load_config(run_dir)  # the defaults, so that only what is typed can differ
        if named and stored.recipe != recipe:
            raise UserError(f"{run_dir} is a run of {stored.recipe}, not of {recipe}")
        options = parse(stored)
    return options.config, run_dir


def train(arguments: list[str]) -> None:
    config, run_dir = read_train(arguments)
    from .runtime.signals import Interrupted
    from .train import train as run

    try:
        metrics = run(config, run_dir)
    except Interrupted as interrupted:
        if process_group.setup().first:
            how = f"{PROGRAM} train --run-dir {run_dir}"
            print(f"{interrupted}; go on with: {how}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    print_results(run_dir, metrics)


def launch(arguments: list[str]) -> None:
    from .distributed.launch import LaunchOptions
    from .distributed.launch import launch as run

    if {"-h", "--help"} & set(arguments):
        print(f"After the options of launch come those of train: {PROGRAM} train --help\n")
        arguments = ["--help"]
    texts = {"prog": f"{PROGRAM} launch", "description": "Train in several processes, with Ray."}
    options, others = tyro.cli(LaunchOptions, args=arguments, return_unknown_args=True, **texts)
    if options.storage:
        runs.RUNS = options.storage
    config, run_dir = read_train(others)
    print_results(run_dir, run(options, config, run_dir))


def evaluate(run_dir: tyro.conf.Positional[Path]) -> None:
    """Measure a finished run's best model again on the test split, and write its report.

    Args:
        run_dir: Directory of the run.
    """
    runs.load_config(run_dir)
    from .evaluate import evaluate as run

    print_results(run_dir, run(run_dir))


def export(run_dir: tyro.conf.Positional[Path], format: Format = "auto") -> None:
    """Write a finished run's best model for serving, and prove it on a batch of the test split.

    Args:
        run_dir: Directory of the run.
        format: auto is saved_model for TensorFlow and onnx for the others.
    """
    runs.load_config(run_dir)
    from .export import export as run

    path, difference = run(run_dir, format)
    print(f"wrote {path}: its logits differ from Keras' by at most {difference:.1e} on test images")


def gpu_check(expect_gpu: bool = False, quick: bool = False, verify_report: bool = False) -> None:
    """Check that the GPU does the work, and write reports/gpu_check.json and .html.

    Args:
        expect_gpu: Fail unless the GPU did the work (also: EXPECT_GPU=1).
        quick: Measure small sizes only (also: SMOKE=1).
        verify_report: Only say whether the report that is there fits the sources.
    """
    if verify_report:
        return print(gpu_report.verify())
    from .gpu_check.steps import run

    on = gpu_report.switched_on
    run(quick or on("SMOKE"), expect_gpu or on("EXPECT_GPU"))


def benchmark(
    quick: bool = False,
    deterministic: bool = False,
    batch_size: int | None = None,
    image_size: int | None = None,
) -> None:
    """Measure how fast training is here, setting by setting, and write reports/benchmark.json.

    Args:
        quick: Measure a small network for a short time (also: SMOKE=1).
        deterministic: Ask for deterministic kernels, as `train --deterministic` does.
        batch_size: Examples per step (the recipe's; less on a CPU).
        image_size: Pixels of a side (the recipe's; less on a CPU).
    """
    from .benchmark.ladder import Setting, run

    quick = quick or gpu_report.switched_on("SMOKE")
    short = {"seconds": 0.3, "repeats": 3} if quick else {}
    run(Setting(quick, deterministic, batch_size, image_size, **short))


def print_results(run_dir: Path, metrics: dict[str, float]) -> None:
    print(
        f"best epoch {metrics['best_epoch']}: validation accuracy {metrics['val_accuracy']:.4f}, "
        f"test accuracy {metrics['test_accuracy']:.4f}\nreport: {run_dir / 'report.html'}"
    )


COMMANDS = {
    "evaluate": evaluate,
    "export": export,
    "runs": compare.compare,
    "gpu-check": gpu_check,
    "benchmark": benchmark,
}


def main() -> None:
    command, *arguments = sys.argv[1:] or ["--help"]
    try:
        if command in ("-h", "--help"):
            print(USAGE)
        elif command in ("train", "launch"):
            {"train": train, "launch": launch}[command](arguments)
        elif function := COMMANDS.get(command):
            tyro.cli(function, args=arguments, prog=f"{PROGRAM} {command}")
        else:
            known = f"train, launch, {', '.join(COMMANDS)}"
            raise UserError(f"unknown command {command!r}: choose {known}")
    except UserError as error:
        process_group.leave(f"error: {error}")
    except OSError as error:
        process_group.leave(f"error: {files.explain(error)}")
    except KeyboardInterrupt:
        process_group.leave(130)
