"""What `nox -s update_fuzz` leaves in the docs: `record.py COUNTS SEED` writes them."""

import datetime
import importlib.metadata
import json
import platform
import subprocess
import sys
from collections import Counter
from pathlib import Path

TEXT = """\
# The random updates

`nox -s update_fuzz` wrote this page when it had passed: the property in `tests/test_update_fuzz.py`
held for {number} random updates: **they lost no byte of a user's, and put none into a wrong file**.
An example is a template with two releases, a project made from the first, edits and renames of
both, and `python tools/update.py` in a process of its own. `nox -s update_fuzz -- {seed}` draws the
same examples again.

| | |
|---|---|
| date | {date} |
| seed | {seed} |
{versions}

| examples | number |
|---|---|
{examples}

| their files | number |
|---|---|
{files}
"""


def versions() -> dict[str, str]:
    """Of what the examples run on."""
    found = {"Python": platform.python_version()}
    found |= {name: importlib.metadata.version(name.lower()) for name in ("Copier", "Hypothesis")}
    said = subprocess.run(["git", "version"], check=True, capture_output=True, text=True).stdout
    return {**found, "git": said.split()[2]}


def table(rows: dict[str, object]) -> str:
    """Make the rows of a table; the greatest numbers come first."""
    if all(isinstance(value, int) for value in rows.values()):
        rows = dict(sorted(rows.items(), key=lambda row: -row[1]))
    return "\n".join(f"| {name} | {value} |" for name, value in rows.items())


if __name__ == "__main__":
    examples, files = Counter(), Counter()
    for path in Path(sys.argv[1]).iterdir():  # one from each worker
        tools, *counts = json.loads(path.read_text())
        examples.update(counts[0])
        files.update(counts[1])
    Path("docs/update-fuzz.md").write_text(
        TEXT.format(
            number=examples["all"],
            seed=sys.argv[2],
            date=datetime.date.today(),
            versions=table(tools),
            examples=table(examples),
            files=table(files),
        )
    )
