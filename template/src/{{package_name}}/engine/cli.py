# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The command line; it imports the framework only when there is work for it."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from . import compare, project, runs
from .config import Config, UserError
from .distributed import process_group
from .gpu_check import report as gpu_report
from .runtime import files

PROGRAM = f"python -m {__name__.partition('.')[0]}"
USAGE = """usage: {program} COMMAND ...

  train [RECIPE]    train, or resume a run; RECIPE is {recipes}
  launch [RECIPE]   the same with Ray, in several processes on one machine or many
  evaluate RUN_DIR  measure a run's best model again and write its report
  predict RUN_DIR FILE...
                    predict new files with a run's best model
  export RUN_DIR    write a run's best model for serving
  runs [RUN_DIR]    list runs with their metrics and the options that differ
  gpu-check         check that the GPU does the work, and write reports/gpu_check.html
  benchmark         measure how fast training is here, setting by setting

{program} COMMAND --help lists the options."""
Format = Literal["auto", "saved_model", "onnx"]
INTERRUPTED = 75  # EX_TEMPFAIL: a scheduler may start the same command again


@dataclass(frozen=True)
class RunOptions:
    """Options of `train` besides the fields of the config."""

    run_dir: Path | None = None
    """Directory of the run: created, or resumed if a run is in it (runs/<time>-<recipe>)."""
    resume: bool = False
    """Resume the newest unfinished run of the recipe."""


def parse_train(usage: str, about: str, default: Config, arguments: list[str]):
    """Return the config and the options that the arguments of `train` ask for."""
    # The project's own class is known at run time only.
    config_type = tyro.conf.OmitArgPrefixes[type(default)]  # pyrefly: ignore[invalid-annotation]

    def options(
        config: config_type = default, run: tyro.conf.OmitArgPrefixes[RunOptions] = RunOptions()
    ) -> tuple[Config, RunOptions]:
        return config, run

    return tyro.cli(options, args=arguments, prog=usage, description=about)


def read_train(arguments: list[str]) -> tuple[Config, Path]:
    """Return the config and the run directory that the arguments of `train` ask for."""
    recipes = project.recipes()
    named = bool(arguments) and not arguments[0].startswith("-")
    recipe = arguments[0] if named else next(iter(recipes))
    if recipe not in recipes:
        raise UserError(f"unknown recipe {recipe!r}: choose one of {', '.join(recipes)}")
    usage = f"{PROGRAM} train [{'|'.join(recipes)}]"
    about = f"Train: {recipes[recipe].__doc__ or recipe}"
    rest = arguments[named:]
    config, options = parse_train(usage, about, recipes[recipe](), rest)
    if options.resume and options.run_dir:
        raise UserError("--resume looks for the run itself: give it or --run-dir, not both")
    run_dir = runs.newest_unfinished(recipe) if options.resume else options.run_dir
    if run_dir is None:
        return config, runs.new_dir(recipe)
    runs.check_run_dir(run_dir)
    if (run_dir / "config.json").exists():
        stored = runs.load_config(run_dir)  # the defaults, so that only what is typed can differ
        if named and stored.recipe != recipe:
            raise UserError(f"{run_dir} is a run of {stored.recipe}, not of {recipe}")
        config, _ = parse_train(usage, about, stored, rest)
    return config, run_dir


def train(arguments: list[str]) -> None:
    config, run_dir = read_train(arguments)
    try:
        from .runtime.signals import Interrupted
        from .train import train as run

        try:
            metrics = run(config, run_dir)
        except Interrupted as interrupted:
            if process_group.setup().is_main:
                how = f"{PROGRAM} train --run-dir {run_dir}"
                print(f"{interrupted}; resume with: {how}", file=sys.stderr)
            sys.exit(INTERRUPTED)
    finally:
        runs.discard_if_empty(run_dir)
    print_results(run_dir, metrics)


def before_recipe(arguments: list[str]) -> list[str]:
    """Return the arguments before the name of a recipe; all if there is none."""
    names = [i for i, argument in enumerate(arguments) if argument in project.recipes()]
    return arguments[: names[0]] if names else arguments


def launch(arguments: list[str]) -> None:
    from .distributed.launch import LaunchOptions
    from .distributed.launch import launch as run

    if {"-h", "--help"} & set(arguments):
        print(f"After the options of launch come those of train: {PROGRAM} train --help\n")
        arguments = ["--help"]
    if any(argument.startswith("--workers") for argument in before_recipe(arguments)):
        raise UserError(
            "launch takes the number of processes as --processes: --workers is the number of "
            "data-loading threads; put it after the recipe"
        )
    options, others = tyro.cli(
        LaunchOptions,
        args=arguments,
        return_unknown_args=True,
        prog=f"{PROGRAM} launch",
        description="Train in several processes, with Ray.",
    )
    if options.storage:
        runs.RUNS = options.storage
    config, run_dir = read_train(others)
    try:
        metrics = run(options, config, run_dir)
    finally:
        runs.discard_if_empty(run_dir)
    print_results(run_dir, metrics)


def evaluate(run_dir: tyro.conf.Positional[Path]) -> None:
    """Measure a finished run's best model again on the test split, and write its report.

    Args:
        run_dir: Directory of the run.
    """
    runs.check_finished(run_dir)
    from .evaluate import evaluate as run

    print_results(run_dir, run(run_dir))


def predict(
    run_dir: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN_DIR")],
    files: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FILE")],
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
    output: Path | None = None,
) -> None:
    """Predict files with a finished run's best model, and print a line per file or row of a table.

    Args:
        run_dir: Directory of the run.
        files: Files, or folders with files: tables, or what the task reads (`load_input`).
        json: Print a JSON object per line, with all values of the task's `describe`.
        output: CSV to write instead: the table with columns for the predictions.
    """
    runs.check_finished(run_dir)
    if not files:
        raise UserError("predict needs files or folders after the run directory")
    from .predict import print_predictions, write_table

    if output:
        if json or len(files) != 1:
            raise UserError("--output takes one table, and no --json")
        rows = write_table(run_dir, files[0], output)
        return print(f"wrote {output}: {rows:,} rows with predictions")
    if print_predictions(run_dir, files, as_json=json):
        process_group.exit_process(1)


def export(run_dir: tyro.conf.Positional[Path], format: Format = "auto") -> None:
    """Write a finished run's best model for serving, and prove it on a batch of the test split.

    Args:
        run_dir: Directory of the run.
        format: auto is saved_model for TensorFlow and onnx for the others.
    """
    runs.check_finished(run_dir)
    from .export import export as run

    path, difference = run(run_dir, format)
    print(f"wrote {path}: its outputs differ from Keras' by at most {difference:.1e} on test data")


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
        batch_size: Examples per step (32 on a GPU, 8 on a CPU; --quick changes both).
        image_size: Height and width in pixels (224 on a GPU, 64 with --quick; 32 on a CPU).
    """
    from .benchmark.ladder import Setting, run

    quick = quick or gpu_report.switched_on("SMOKE")
    setting = Setting(quick, deterministic, batch_size, image_size)
    run(replace(setting, seconds=0.3, repeats=3) if quick else setting)


def print_results(run_dir: Path, metrics: dict[str, float]) -> None:
    print(
        f"best epoch {metrics['best_epoch']}: "
        f"validation {runs.listed(runs.with_prefix(metrics, 'val_'))}; "
        f"test {runs.listed(runs.with_prefix(metrics, 'test_'))}\n"
        f"report: {run_dir / 'report.html'}"
    )


COMMANDS = {
    "evaluate": evaluate,
    "predict": predict,
    "export": export,
    "runs": compare.compare,
    "gpu-check": gpu_check,
    "benchmark": benchmark,
}


def main() -> None:
    command, *arguments = sys.argv[1:] or ["--help"]
    try:
        if command in ("-h", "--help"):
            print(USAGE.format(program=PROGRAM, recipes=", ".join(project.recipes())))
        elif command in ("train", "launch"):
            {"train": train, "launch": launch}[command](arguments)
        elif function := COMMANDS.get(command):
            tyro.cli(function, args=arguments, prog=f"{PROGRAM} {command}")
        else:
            known = f"train, launch, {', '.join(COMMANDS)}"
            raise UserError(f"unknown command {command!r}: choose {known}")
    except UserError as error:
        process_group.exit_process(f"error: {error}")
    except OSError as error:
        process_group.exit_process(f"error: {files.explain_os_error(error)}")
    except KeyboardInterrupt:
        process_group.exit_process(130)
