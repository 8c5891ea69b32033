# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The report of a run: one HTML page that holds its plots and needs no other file."""

import base64
import html
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

from ..pipeline import Dataset
from ..runs import read, read_history
from ..runtime.files import replacing, write_text
from .model_card import model_card
from .plots import confusion, curves, mistakes

if TYPE_CHECKING:
    from ..evaluate import Predictions

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { margin-bottom: 0 } h2 { margin-top: 2.5rem } .note { color: #6b7280; margin-top: 0 }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.5rem 0 }
.figures div, pre { background: #f3f4f6; border-radius: .5rem; padding: .75rem 1rem }
.figures div { flex: 1; white-space: nowrap } .figures b { display: block; font-size: 1.7rem }
img { max-width: 100%; height: auto } img[alt=confusion] { max-width: min(100%, 36rem) }
pre, table { display: block; overflow-x: auto }
td, th { padding: .2rem 1.5rem .2rem 0; text-align: left; font-variant-numeric: tabular-nums }
@media (max-width: 40rem) { td, th { padding-right: .75rem } }
"""


def write(run_dir: Path, metrics: dict[str, float], dataset: Dataset, test: "Predictions") -> None:
    """Write curves.png, confusion.png, mistakes.png, report.html and MODEL_CARD.md."""
    history, run = read_history(run_dir), read(run_dir)
    figures = {
        "curves": curves(history, metrics["best_epoch"]),
        "confusion": confusion(test, dataset.class_names),
        "mistakes": mistakes(test, dataset),
    }
    images = {}
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=120)
        images[name] = base64.b64encode(buffer.getvalue()).decode()
        with replacing(run_dir / f"{name}.png") as part:
            part.write_bytes(buffer.getvalue())
    classes = per_class(test, dataset.class_names)
    write_text(run_dir / "report.html", page(run_dir.name, run, metrics, classes, images))
    write_text(run_dir / "MODEL_CARD.md", model_card(run_dir.name, run, metrics))


def per_class(
    test: "Predictions", class_names: tuple[str, ...]
) -> list[tuple[str, float, float, int]]:
    """Return name, precision, recall and number of test examples of each class."""
    from sklearn.metrics import precision_recall_fscore_support

    labels = range(len(class_names))
    precision, recall, _, support = precision_recall_fscore_support(
        test.labels, test.classes, labels=labels, zero_division=0
    )
    return list(zip(class_names, precision, recall, support, strict=True))


def page(
    name: str, run: dict, metrics: dict[str, float], classes: list, images: dict[str, str]
) -> str:
    """Return the report as one HTML page that needs no other file."""
    figures = {
        "test accuracy": f"{metrics['test_accuracy']:.1%}",
        "validation accuracy": f"{metrics['val_accuracy']:.1%}",
        "test loss": f"{metrics['test_loss']:.4f}",
        "best epoch": f"{metrics['best_epoch']}",
    }
    tiles = "".join(f"<div>{label}<b>{value}</b></div>" for label, value in figures.items())
    rows = "".join(
        f"<tr><td>{html.escape(c)}<td>{p:.1%}<td>{r:.1%}<td>{n}" for c, p, r, n in classes
    )
    commit = (run["git_commit"] or "no commit")[:12] + (" + changes" if run["git_dirty"] else "")
    made = html.escape(f"{run['device']}, {run['config']['precision']}, {commit}")
    picture = {
        key: f'<img alt="{key}" src="data:image/png;base64,{data}">' for key, data in images.items()
    }
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(name)}</title><style>{STYLE}</style>
<h1>{html.escape(name)}</h1><p class="note">{made}</p>
<div class="figures">{tiles}</div>
<h2>Training</h2>{picture["curves"]}
<h2>Confusion on the test split</h2>{picture["confusion"]}
<h2>Worst mistakes</h2>{picture["mistakes"]}
<h2>Classes</h2><table><tr><th>class<th>precision<th>recall<th>examples{rows}</table>
<h2>Made from</h2><pre>{html.escape(json.dumps(run, indent=2))}</pre>
</html>
"""
