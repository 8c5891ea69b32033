# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The pictures and tables of a GPU check, for the notebook and for the page of its report."""

import base64
import html
import io
import re

from ..report.page import STYLE
from ..report.plots import BLUE, GREY, ORANGE, curves, speeds

GREEN, RED = "#15803d", "#b91c1c"
WORDS = {"gpu": ("GPU", GREEN), "cpu": ("CPU", GREY), "fallback": ("CPU fallback", RED)}
WORDS["wrong"] = ("failed", RED)


def table(head: str, rows: list[list]) -> str:
    """Return a table; | separates the columns of its head, if it has one."""
    top = "<tr>" + "".join(f"<th>{name.strip()}" for name in head.split("|")) if head else ""
    cells = ("<tr>" + "".join(f"<td>{html.escape(str(x))}" for x in row) for row in rows)
    return f"<table>{top}{''.join(cells)}</table>"


def picture(name: str, figure) -> str:
    """Return a Matplotlib figure as an image that is part of the page."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{name}" style="max-width: 100%" src="data:image/png;base64,{data}">'


def bars(rows: list[tuple[str, float]]) -> str:
    """Return horizontal bars for seconds: the shorter, the better."""
    most = max(seconds for _, seconds in rows)
    lines = ""
    for (name, seconds), color in zip(rows, (BLUE, ORANGE), strict=False):
        box = f"background: {color}; width: {24 * seconds / most:.2f}rem; height: 1rem"
        lines += f'<tr><td>{name}<td><div style="{box}"></div><td>{1000 * seconds:.2f} ms'
    return f"<table>{lines}</table>"


def times(rows: list[dict]) -> str:
    """Return how the second of two rows compares with the first, in words."""
    ratio = rows[0]["seconds"] / rows[1]["seconds"]
    if 0.95 < ratio < 1.05:
        return "as fast"
    return f"{ratio:.1f} times as fast" if ratio >= 1 else f"{1 / ratio:.1f} times as slow"


def machine(found: dict) -> str:
    """Tell what the machine is."""
    seen, driver = ", ".join(found["gpus"]) or "none", found["driver"] or "none found"
    rows = [["machine", found["system"]], ["GPUs the framework sees", seen]]
    rows += [["NVIDIA driver", driver], ["environment made for", found["made_for"]]]
    rows += [["kept off the GPU by", found["hidden_by"]]] * bool(found["hidden_by"])
    rows += [["the doctor", finding["what"]] for finding in found["doctor"]]
    return table("", rows + [list(row) for row in found["versions"].items()])


def placement(found: dict) -> str:
    """Tell where operations ran."""
    return table("operation | computed on", [list(row) for row in found["places"].items()])


def numbers(found: dict) -> str:
    """Tell how exact the results are."""
    rows = [
        [row["operation"], row["dtype"], row["computed_in"], f"{row['error']:.1e}"]
        + [f"{row['tolerance']:.0e}", "yes" if row["right"] else "NO"]
        for row in found["rows"]
    ]
    return table("operation | type | computed in | largest error | allowed | right", rows)


def speed(found: dict) -> str:
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
    return picture("speed", speeds(found["rows"])) + table(head, rows)


def precision(found: dict) -> str:
    """Compare a training step in float32 with one in mixed precision."""
    rows, mixed = found["rows"], found["rows"][1]
    types = f"{mixed['computes_in']}, and keeps its weights in {mixed['keeps_weights_in']}"
    text = f"<p>{mixed['policy']} is {times(rows)} here; it computes in {types}.</p>"
    return bars([(row["policy"], row["seconds"]) for row in rows]) + text


def compilation(found: dict) -> str:
    """Compare op by op with compiled."""
    chart = bars([(row["how"], row["seconds"]) for row in found["rows"]])
    if "left_out" in found:
        return chart + f"<p>{html.escape(found['left_out'])}</p>"
    first = f"the first call took {found['first_call']:.1f} s, to compile"
    return chart + f"<p>Compiled is {times(found['rows'])}; {first}.</p>"


def memory(found: dict) -> str:
    """Tell who has how much of the GPU's memory."""
    if not found["applies"]:
        return "<p>Not applicable: the framework uses no NVIDIA GPU.</p>"
    grows = "is taken as it is needed" if found["grows"] else "was taken whole at the start"
    rows = [["in use by this process", mib(found["in_use"], 2**20)]]
    rows.append(["most of it so far", mib(found["peak"], 2**20)])
    for gpu in found["nvidia_smi"]:
        taken = f"{mib(gpu['used_mib'])} of {mib(gpu['total_mib'])}"
        rows.append([f"{gpu['name']}: taken by all programs", taken])
    return f"<p>Memory {grows}.</p>" + table("", rows)


def mib(number: int | None, unit: int = 1) -> str:
    """Return a number of bytes, in units, as MiB."""
    return "unknown" if number is None else f"{number / unit:,.0f} MiB"


def training(found: dict) -> str:
    """Draw the curves of the training."""
    metrics, run = found["metrics"], html.escape(found["run"])
    took = f"{len(found['history'])} epochs in {found['seconds']:.1f} s"
    text = f"<p>{took}: validation accuracy {metrics['val_accuracy']:.1%} ({run}).</p>"
    return picture("training", curves(found["history"], metrics["best_epoch"])) + text


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


def section(name: str, found: dict) -> str:
    """Return what a step found as a piece of HTML."""
    if "error" in found:
        return f"<p>This step failed: {html.escape(found['error'])}</p>"
    return SECTIONS[name][1](found)


def headline(report: dict) -> str:
    """Return the verdict with its sentence."""
    word, color = WORDS[report["verdict"]]
    box = f"border-left: .5rem solid {color}; padding: .25rem 1rem; font-size: 1.2rem"
    sentence = re.sub("`(.+?)`", r"<code>\1</code>", html.escape(report["sentence"]))
    return f'<p style="{box}"><b>{word}.</b> {sentence}</p>'


def page(report: dict) -> str:
    """Return the report as one HTML page that needs no other file."""
    parts = "".join(
        f"<h2>{SECTIONS[name][0]}</h2>{section(name, found)}"
        for name, found in report["steps"].items()
    )
    made = html.escape(f"{report['framework']}, made by the {report['made_by']}, {report['date']}")
    hashes = [[name, report[name] or "none"] for name in ("notebook_sha256", "package_sha256")]
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>GPU check</title><style>{STYLE}</style>
<h1>Does the GPU do the work?</h1><p class="note">{made}</p>
{headline(report)}
{parts}
<h2>Made from</h2>{table("", hashes)}
</html>
"""
