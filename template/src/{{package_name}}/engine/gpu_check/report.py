# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The report of a GPU check: JSON as evidence, a page for people, and a test of their freshness.

This module imports no framework. Paths are relative to the project's folder, as runs/ is.
"""

import datetime
import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from ..config import UserError
from ..runtime.files import atomic_write_text, make_writable
from .verdict import verdict

JSON, HTML = Path("reports/gpu_check.json"), Path("reports/gpu_check.html")
NOTEBOOK = Path("notebooks/gpu_check.ipynb")
PATH = re.compile(r"(?<![\w.:/<>*~-])(?:/[\w.@+*-]+){2,}/?|\b[A-Za-z]:\\[^\s\"']+")


def sha256(parts: list[bytes]) -> str:
    """Return one SHA-256 of several parts; it ignores how lines end."""
    digest = hashlib.sha256()
    for part in parts:
        text = part.replace(b"\r\n", b"\n")
        digest.update(len(text).to_bytes(8, "big") + text)
    return digest.hexdigest()


def hashes() -> dict[str, str | None]:
    """Return the hashes of the notebook's sources, without outputs, and of the package's modules.

    The notebook's is None if there is no notebook; UserError if it cannot be read.
    """
    notebook = None
    if NOTEBOOK.exists():
        try:
            cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
            sources = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
            notebook = sha256([text.encode() for cell in sources for text in cell])
        except (ValueError, KeyError, TypeError):
            raise UserError(f"{NOTEBOOK} cannot be read as a notebook: restore it") from None
    top = Path(__file__).parents[2]
    names = sorted(path.relative_to(top).as_posix() for path in top.rglob("*.py"))
    modules = [(name.encode(), (top / name).read_bytes()) for name in names]
    package = sha256([part for module in modules for part in module])
    return {"notebook_sha256": notebook, "package_sha256": package}


def plain(value: Any) -> Any:
    """Return a value for JSON without absolute paths, which reveal names of people and machines.

    Floats keep six digits.
    """
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return PATH.sub("<path>", value) if isinstance(value, str) else value


def write(found: dict[str, dict], made_by: str, quick: bool, expect_gpu: bool) -> dict[str, Any]:
    """Write reports/gpu_check.json and .html, and return what the JSON holds.

    `found` has the result of each step by its name; `made_by` is notebook or command line.
    """
    from . import page as gpu_page  # brings Matplotlib

    name, sentence = verdict(found)
    if expect_gpu and name == "cpu":
        sentence = f"A GPU was expected. {sentence}"
    machine = found.get("machine", {})
    report = {
        "verdict": name,
        "sentence": sentence,
        "expected": "gpu" if expect_gpu else "any",
        "device": " + ".join(machine.get("gpus") or ["CPU"]),
        "driver": machine.get("driver"),
        "framework": machine.get("framework"),
        "versions": machine.get("versions"),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "made_by": made_by,
        "quick": quick,
        **hashes(),
        "steps": found,
    }
    report = plain(report)
    make_writable(JSON.parent)
    atomic_write_text(HTML, gpu_page.page(report))
    atomic_write_text(JSON, json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    return report


def raise_for_verdict(report: dict[str, Any]) -> None:
    """Raise UserError with the verdict's sentence if it is a failure, or not what was expected."""
    failed = report["verdict"] in ("fallback", "wrong")
    if failed or (report["expected"] == "gpu" and report["verdict"] != "gpu"):
        raise UserError(report["sentence"])


insist = raise_for_verdict  # notebooks of projects made before version 0.8.0 call this name


def verify() -> str:
    """Return one line on a report that matches the sources; UserError if there is none."""
    remedy = "`nox -s gpu` writes a new one"
    if not JSON.exists():
        raise UserError(f"there is no {JSON}: {remedy}")
    try:
        report = json.loads(JSON.read_text("utf-8"))
        made = f"verdict {report['verdict']} on {report['device']}, {report['date']}"
        names = {"notebook_sha256": str(NOTEBOOK), "package_sha256": "the package"}
        stale = [names[name] for name, value in hashes().items() if report[name] != value]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{JSON} cannot be read: {remedy}") from None
    if stale:
        raise UserError(f"{JSON} is stale ({made}): {' and '.join(stale)} changed since; {remedy}")
    return f"{JSON} is fresh: {made}"


def switched_on(name: str) -> bool:
    """Whether an environment variable, SMOKE or EXPECT_GPU, is set to 1, true, yes or on."""
    return os.environ.get(name, "").lower() in ("1", "true", "yes", "on")
