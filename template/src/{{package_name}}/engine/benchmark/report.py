# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The report of a benchmark: lines of text, JSON as evidence, a page with a plot."""

import dataclasses
import datetime
import json
import os
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import runs
from ..gpu_check import report as gpu_report
from ..gpu_check import verdict as gpu_verdict
from ..gpu_check.page import mib
from ..report import render
from ..report.plots import BLUE, GREY
from ..runtime.files import atomic_write_text, make_writable
from .records import Measurement, Result, Setting

JSON, HTML = Path("reports/benchmark.json"), Path("reports/benchmark.html")
METHOD = (
    "Each setting trains in a process of its own, by fit on the batches of pipeline.py, as "
    "train.py does: twice to warm up, then several times for a while. Medians count, from the "
    "beginning of the first step until the result of the last one is there. Later settings include "
    "a setting that was the fastest so far. MFU: three times the additions and multiplications of "
    "the network's forward pass (products and convolutions alone), over the GPU's peak by its data "
    "sheet for the precision of the setting; 0 where that is not known."
)
BUSY = " But other programs kept this machine busy: do not trust it."
COLUMNS = (
    "setting",
    "examples/s",
    "times float32",
    "step",
    "waiting",
    "MFU",
    "peak memory",
    "kept",
)
WIDTHS = (20, 11, 14, 10, 8, 7, 12, 4)


def cells(row: dict[str, Any], first: dict[str, Any]) -> list[str]:
    """Return the table's cells for a setting, compared with the first one: rows of the JSON."""
    if "left_out" in row:
        return [row["setting"], row["left_out"]]
    return [
        row["setting"],
        f"{row['examples_per_s']:,.1f}",
        f"{row['examples_per_s'] / first['examples_per_s']:.2f}",
        f"{1000 * row['step_seconds']:,.2f} ms",
        f"{row['waiting']:.1%}",
        f"{row['mfu']:.1%}" if row["peak_tflops"] else "0",
        mib(row["peak_memory"], 2**20),
        "yes" if row["kept"] else "no",
    ]


def line(found: list[str]) -> str:
    """Return the cells of a row as a line of text; the last one may be long."""
    padded = [cell.ljust(width) for cell, width in zip(found[:-1], WIDTHS, strict=False)]
    return " ".join([*padded, found[-1]])


def print_result(result: Result, first: Result) -> None:
    """Print a line of the table."""
    print(line(cells(result.to_json(), first.to_json())), flush=True)


def ladder(rows: list[dict]) -> Figure:
    """Draw the examples per second of each setting."""
    figure = Figure(figsize=(10, 0.6 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    speeds = [row.get("examples_per_s", 0) for row in rows]
    colors = [BLUE if row["kept"] else GREY for row in rows]
    bars = axes.barh([row["setting"] for row in rows], speeds, color=colors)
    labels = [f"{speed:,.0f}" if speed else "left out" for speed in speeds]
    axes.bar_label(bars, labels, padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel="examples/s (blue: what made it faster)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def page(report: dict) -> str:
    """Return the report as one HTML page that needs no other file."""
    rows, model = report["settings"], report["model"]
    done = [cells(row, rows[0]) for row in rows if "left_out" not in row]
    missing = [cells(row, rows[0]) for row in rows if "left_out" in row]
    trained = "{model}, {image_size} x {image_size} pixels, batches of {batch_size}"
    facts = [["device", report["device"]], ["driver", report["driver"] or "none found"]]
    facts += [["machine", report["system"]], ["model", trained.format(**model)]]
    facts += [["forward pass of an example", f"{model['forward_gflop']:.3g} GFLOP"]]
    facts += [["deterministic", "yes" if report["deterministic"] else "no"]]
    facts += [[name, version] for name, version in report["versions"].items()]
    loads = [" ".join(f"{x:.1f}" for x in load) for load in report["load_average"]]
    facts += [["load average, before and after", "; ".join(loads) or "unknown"]]
    facts += [["package_sha256", report["package_sha256"]]]
    return render.render(
        "benchmark.html",
        title="Benchmark",
        heading="How fast is training here?",
        note=f"{report['framework']}, {report['date']}{', quick' * report['quick']}",
        report=report,
        ladder=render.draw("Examples per second of each setting", ladder(rows)),
        columns=COLUMNS,
        measured=done,
        left_out=missing,
        facts=facts,
    )


def write(results: list[Result], start: Setting, load: list[list[float]]) -> dict[str, Any]:
    """Write reports/benchmark.json and .html, and return what the JSON holds.

    `load` has the machine's load averages of 1, 5 and 15 minutes, before and after.
    """
    first, busy = measurements(results)[0], bool(load) and load[0][0] > 0.5 * (os.cpu_count() or 1)
    report = {
        "sentence": sentence(results) + (BUSY if busy else ""),
        "mfu_says": mfu_says(results),
        "device": " + ".join(first.machine.gpus) or "CPU",
        "driver": next((gpu["driver"] for gpu in gpu_verdict.ask_driver()), None),
        **dataclasses.asdict(first.machine),
        "versions": runs.versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": start.quick,
        "deterministic": start.deterministic,
        "model": dataclasses.asdict(first.network),
        "method": METHOD,
        "load_average": load,
        "package_sha256": gpu_report.hashes()["package_sha256"],
        "settings": [result.to_json() for result in results],
    }
    report = gpu_report.plain(report)
    make_writable(JSON.parent)
    atomic_write_text(HTML, page(report))
    atomic_write_text(JSON, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def measurements(results: list[Result]) -> list[Measurement]:
    """Return the measurements of the settings that were not left out."""
    return [x.outcome for x in results if isinstance(x.outcome, Measurement)]


def sentence(results: list[Result]) -> str:
    """Say which settings together are the fastest."""
    kept = [result for result in results if result.kept]
    if len(kept) == 1:
        return "The fastest is plain float32: nothing else helps here."
    names = " + ".join(result.setting for result in kept)
    speeds = [measured.speed.examples_per_s for measured in measurements(kept)]
    return f"The fastest is {names}: {speeds[-1] / speeds[0]:.2f} times as fast as float32 alone."


def mfu_says(results: list[Result]) -> str:
    """Say what MFU is measured against, or why it is 0."""
    found = measurements(results)
    device = (found[0].machine.gpus or ["a CPU"])[0]
    if uncounted := found[0].network.uncounted_layers:
        return f"MFU shows 0: the operations of {', '.join(uncounted)} are not counted."
    if not any(measured.peak_tflops for measured in found):
        return f"MFU shows 0: no peak is known for {device}."
    return f"MFU is the share of the peak of {device} in each precision, 0 where none is known."
