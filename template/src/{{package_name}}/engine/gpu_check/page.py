# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The images and tables of a GPU check, for the notebook and for the page of its report."""

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ..report import render
from ..report.plots import BLUE, GREY, ORANGE, curves

GREEN, RED = "#15803d", "#b91c1c"
WORDS = {"gpu": ("GPU", GREEN), "cpu": ("CPU", GREY), "fallback": ("CPU fallback", RED)}
WORDS["wrong"] = ("failed", RED)


def table(head: str, rows: Sequence[Sequence[Any]]) -> Markup:
    """Return a table; | separates the columns of its head, if it has one."""
    headings = [name.strip() for name in head.split("|")] if head else []
    return render.table(headings, [[str(cell) for cell in row] for row in rows])


def picture(name: str, figure: Figure) -> Markup:
    """Return a Matplotlib figure as an image that is part of the page."""
    return render.picture(render.draw(name, figure))


def bars(rows: list[tuple[str, float]]) -> Markup:
    """Return horizontal bars for seconds: the shorter, the better."""
    most = max(seconds for _, seconds in rows)
    return render.bars(
        [
            (name, seconds / most, color, f"{1000 * seconds:.2f} ms")
            for (name, seconds), color in zip(rows, (BLUE, ORANGE), strict=False)
        ]
    )


def times(rows: list[dict]) -> str:
    """Return how the second of two rows compares with the first, in words."""
    ratio = rows[0]["seconds"] / rows[1]["seconds"]
    if 0.95 < ratio < 1.05:
        return "as fast"
    return f"{ratio:.1f} times as fast" if ratio >= 1 else f"{1 / ratio:.1f} times as slow"


def machine(found: dict) -> Markup:
    """Tell what the machine is."""
    seen, driver = ", ".join(found["gpus"]) or "none", found["driver"] or "none found"
    rows = [["machine", found["system"]], ["GPUs the framework sees", seen]]
    rows += [["NVIDIA driver", driver], ["environment made for", found["made_for"]]]
    rows += [["kept off the GPU by", found["hidden_by"]]] * bool(found["hidden_by"])
    rows += [["the doctor", finding["what"]] for finding in found["doctor"]]
    return table("", rows + [list(row) for row in found["versions"].items()])


def placement(found: dict) -> Markup:
    """Tell where operations ran."""
    return table("operation | computed on", [list(row) for row in found["places"].items()])


def numbers(found: dict) -> Markup:
    """Tell how exact the results are."""
    rows = [
        [row["operation"], row["dtype"], row["computed_in"], f"{row['error']:.1e}"]
        + [f"{row['tolerance']:.0e}", "yes" if row["right"] else "NO"]
        for row in found["rows"]
    ]
    return table("operation | type | computed in | largest error | allowed | right", rows)


def speed(found: dict) -> Markup:
    """Draw how fast operations are, and tell their best."""
    rows = []
    for name, dtype in dict.fromkeys((row["operation"], row["dtype"]) for row in found["rows"]):
        same = [r for r in found["rows"] if (r["operation"], r["dtype"]) == (name, dtype)]
        for device in dict.fromkeys(row["device"] for row in same):
            best = max((r for r in same if r["device"] == device), key=lambda r: r["tflops"])
            share = "" if device.startswith("cpu") else "unknown"
            if best["share"]:
                share = f"{best['share']:.0%} of {best['peak']:g}"
            kind = "TF32" if found["tf32"][name] and dtype == "float32" and share else dtype
            rows.append([name, kind, device, best["size"], f"{best['tflops']:.3g}", share])
    head = "operation | type | computed on | best size | TFLOP/s | share of the peak"
    return picture("Speed over size", speeds(found["rows"])) + table(head, rows)


def speeds(rows: list[dict]) -> Figure:
    """Plot TFLOP/s over size for each operation, device and type (rows of the step `speed`)."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    names = list(dict.fromkeys(row["operation"] for row in rows))
    on_gpu = any(not row["device"].startswith("cpu") for row in rows)
    titles = {"matmul": "Products of n x n matrices", "convolution": "Convolution, n to n channels"}
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        lines: dict[tuple[str, str], list[dict]] = {}
        for row in rows:
            if row["operation"] == name:
                lines.setdefault((row["device"], row["dtype"]), []).append(row)
        for (device, dtype), points in lines.items():
            sizes, speed = ([row[key] for row in points] for key in ("size", "tflops"))
            color = GREY if device.startswith("cpu") else BLUE if dtype == "float32" else ORANGE
            style = "-" if dtype == "float32" else "--"
            axes.plot(
                sizes, speed, color=color, linestyle=style, marker=".", label=f"{device}, {dtype}"
            )
        ticks = sorted({row["size"] for row in rows if row["operation"] == name})
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks, ticks)
        axes.set_yscale("log" if on_gpu else "linear")
        if not on_gpu:
            axes.set_ylim(bottom=0)
        axes.set(title=titles.get(name, name), xlabel="n", ylabel="speed (TFLOP/s)")
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return figure


def precision(found: dict) -> Markup:
    """Compare a training step in float32 with one in mixed precision."""
    rows, mixed = found["rows"], found["rows"][1]
    types = f"{mixed['computes_in']}, and keeps its weights in {mixed['keeps_weights_in']}"
    text = f"{mixed['policy']} is {times(rows)} here; it computes in {types}."
    return bars([(row["policy"], row["seconds"]) for row in rows]) + paragraph(text)


def compilation(found: dict) -> Markup:
    """Compare op by op with compiled."""
    chart = bars([(row["how"], row["seconds"]) for row in found["rows"]])
    if "left_out" in found:
        return chart + paragraph(found["left_out"])
    first = f"the first call took {found['first_call']:.1f} s, to compile"
    return chart + paragraph(f"Compiled is {times(found['rows'])}; {first}.")


def memory(found: dict) -> Markup:
    """Tell who has how much of the GPU's memory."""
    if not found["applies"]:
        return paragraph("Not applicable: the framework uses no NVIDIA GPU.")
    grows = "is taken as it is needed" if found["grows"] else "was taken whole at the start"
    rows = [["in use by this process", mib(found["in_use"], 2**20)]]
    rows.append(["most of it so far", mib(found["peak"], 2**20)])
    for gpu in found["nvidia_smi"]:
        taken = f"{mib(gpu['used_mib'])} of {mib(gpu['total_mib'])}"
        rows.append([f"{gpu['name']}: taken by all programs", taken])
    return paragraph(f"Memory {grows}.") + table("", rows)


def mib(number: int | None, unit: int = 1) -> str:
    """Return a number of bytes, in units, as MiB."""
    return "unknown" if number is None else f"{number / unit:,.0f} MiB"


def training(found: dict) -> Markup:
    """Draw the curves of the training."""
    metrics, run = found["metrics"], found["run"]
    took = f"{len(found['history'])} epochs in {found['seconds']:.1f} s"
    text = f"{took}: validation accuracy {metrics['val_accuracy']:.1%} ({run})."
    drawn = curves(found["history"], metrics["best_epoch"])
    return picture("Training curves", drawn) + paragraph(text)


def paragraph(text: str) -> Markup:
    """Return a text as a paragraph."""
    return Markup("<p>{}</p>").format(text)


SECTIONS = {
    "machine": ("What machine is this?", machine),
    "placement": ("Where do operations run?", placement),
    "numbers": ("Are the numbers right?", numbers),
    "speed": ("How fast is it?", speed),
    "precision": ("Mixed precision", precision),
    "compilation": ("Compiled against op by op", compilation),
    "memory": ("Memory", memory),
    "training": ("A short training", training),
}


def section(name: str, found: dict) -> Markup:
    """Return what a step found as a piece of HTML."""
    if "error" in found:
        return paragraph(f"This step failed: {found['error']}")
    return SECTIONS[name][1](found)


def headline(report: dict) -> Markup:
    """Return the verdict with its sentence."""
    word, color = WORDS[report["verdict"]]
    box = f"border-left: .5rem solid {color}; padding: .25rem 1rem; font-size: 1.2rem"
    sentence = re.sub("`(.+?)`", r"<code>\1</code>", str(escape(report["sentence"])))
    return Markup('<p style="{}"><b>{}.</b> {}</p>').format(box, word, Markup(sentence))


def page(report: dict) -> str:
    """Return the report as one HTML page that needs no other file."""
    return render.render(
        "gpu_check.html",
        title="GPU check",
        heading="Does the GPU do the work?",
        note=f"{report['framework']}, made by the {report['made_by']}, {report['date']}",
        headline=headline(report),
        sections=[(SECTIONS[name][0], section(name, x)) for name, x in report["steps"].items()],
        hashes=[[name, report[name] or "none"] for name in ("notebook_sha256", "package_sha256")],
    )
