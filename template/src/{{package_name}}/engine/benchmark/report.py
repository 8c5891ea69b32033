# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The report of a benchmark: lines of text, JSON as evidence, a page with a plot."""

import datetime
import html
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from .. import runs
from ..gpu_check import report as gpu_report
from ..gpu_check import verdict as gpu_verdict
from ..gpu_check.page import mib, picture, table
from ..report.page import STYLE
from ..report.plots import BLUE, GREY
from ..runtime.files import make_folder, write_text

if TYPE_CHECKING:
    from .ladder import Setting

JSON, HTML = Path("reports/benchmark.json"), Path("reports/benchmark.html")
METHOD = (
    "Each rung trains in a process of its own, by fit on the batches of pipeline.py, as train.py "
    "does: two times to warm up, then several times for a while. Medians count, from the first "
    "step's beginning until the last one's result is there. A rung keeps its setting for those "
    "after it if it is the fastest so far. MFU: three times the additions and multiplications of "
    "the model's forward pass (products and convolutions alone), over the GPU's peak by its data "
    "sheet for the precision of the rung; 0 where that is not known."
)
BUSY = " But other programs kept this machine busy: do not trust it."
COLUMNS = ("rung", "examples/s", "times float32", "step", "waiting", "MFU", "peak memory", "kept")
WIDTHS = (20, 11, 14, 10, 8, 7, 12, 4)


def cells(row: dict, first: dict) -> list[str]:
    """Return what the table says of a rung, or of why it was left out."""
    if "left_out" in row:
        return [row["rung"], row["left_out"]]
    return [
        row["rung"],
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


def ladder(rows: list[dict]) -> Figure:
    """Draw the examples per second of each rung."""
    figure = Figure(figsize=(10, 0.6 + 0.45 * len(rows)), layout="constrained")
    axes = figure.subplots()
    speeds = [row.get("examples_per_s", 0) for row in rows]
    colors = [BLUE if row["kept"] else GREY for row in rows]
    bars = axes.barh([row["rung"] for row in rows], speeds, color=colors)
    labels = [f"{speed:,.0f}" if speed else "left out" for speed in speeds]
    axes.bar_label(bars, labels, padding=4)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    axes.set(xlabel="examples/s (blue: what made it faster)")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def page(report: dict) -> str:
    """Return the report as one HTML page that needs no other file."""
    rows, model = report["rungs"], report["model"]
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
    left = f"<h2>Left out</h2>{table('', missing)}" if missing else ""
    made = html.escape(f"{report['framework']}, {report['date']}{', quick' * report['quick']}")
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Benchmark</title><style>{STYLE}</style>
<h1>How fast is training here?</h1><p class="note">{made}</p>
<p>{html.escape(report["sentence"])}</p>
{picture("ladder", ladder(rows))}
{table("|".join(COLUMNS), done)}
<p class="note">{html.escape(report["mfu_says"])}</p>
{left}
<h2>Measured on</h2>{table("", facts)}
<h2>How</h2><p>{html.escape(report["method"])}</p>
</html>
"""


def write(rows: list[dict], start: "Setting", load: list[list[float]]) -> dict:
    """Write the report of a ladder, as JSON and as a page, and return it."""
    first, busy = rows[0], bool(load) and load[0][0] > 0.5 * (os.cpu_count() or 1)
    report = {
        "sentence": sentence(rows) + (BUSY if busy else ""),
        "mfu_says": mfu_says(rows),
        "device": " + ".join(first["machine"]["gpus"]) or "CPU",
        "driver": next((gpu["driver"] for gpu in gpu_verdict.ask_driver()), None),
        **first["machine"],
        "versions": runs.versions(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "quick": start.quick,
        "deterministic": start.deterministic,
        "model": first["model"],
        "method": METHOD,
        "load_average": load,  # of 1, 5 and 15 minutes, before and after
        "package_sha256": gpu_report.hashes()["package_sha256"],
        "rungs": [{k: row[k] for k in row if k not in ("machine", "model")} for row in rows],
    }
    report = gpu_report.plain(report)
    make_folder(JSON.parent)
    write_text(HTML, page(report))
    write_text(JSON, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def sentence(rows: list[dict]) -> str:
    """Say which settings together are the fastest."""
    kept = [row for row in rows if row["kept"]]
    names = " + ".join(row["rung"] for row in kept)
    if len(kept) == 1:
        return "The fastest is plain float32: nothing else helps here."
    times = kept[-1]["examples_per_s"] / rows[0]["examples_per_s"]
    return f"The fastest is {names}: {times:.2f} times as fast as float32 alone."


def mfu_says(rows: list[dict]) -> str:
    """Say what MFU is measured against, or why it is 0."""
    device = (rows[0]["machine"]["gpus"] or ["a CPU"])[0]
    if uncounted := rows[0]["model"]["uncounted_layers"]:
        return f"MFU shows 0: nobody counts the operations of {', '.join(uncounted)}."
    if not any(row.get("peak_tflops") for row in rows):
        return f"MFU shows 0: no peak is known for {device}."
    return f"MFU is the share of the peak of {device} in each precision, 0 where none is known."
