# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The ladder of benchmark.py as lines of text, and as a page with a plot."""

import html

from matplotlib.figure import Figure

from .gpu_page import mib, picture, table
from .plots import BLUE, GREY
from .report import STYLE

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
    size = model["image_size"]
    trained = f"{model['model']}, {size} x {size} pixels, batches of {model['batch_size']}"
    facts = [["device", report["device"]], ["driver", report["driver"] or "none found"]]
    facts += [["machine", report["system"]], ["model", trained]]
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
