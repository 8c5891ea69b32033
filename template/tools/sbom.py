# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Write what the training locks install, with hashes and licences, into reports/.

sbom-cpu.cdx.json and sbom-gpu.cdx.json are in the format of CycloneDX; licences.md is a table.
`nox -s sbom` runs this in an environment made from requirements/audit.txt, with the project's
Python as the argument: a lock says nothing of licences, what is installed there does.
"""

import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

REPORTS = Path("reports")
KINDS = ("cpu", "gpu")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def licence(metadata: importlib.metadata.PackageMetadata) -> str:
    """What a package declares: an SPDX expression, else its own words; else nothing."""
    if expression := metadata.get("License-Expression"):
        return expression
    words = (metadata.get("License") or "").strip()
    if words and "\n" not in words and len(words) <= 80 and words.upper() != "UNKNOWN":
        return words
    known = [line for line in metadata.get_all("Classifier", []) if line.startswith("License ::")]
    return ", ".join(line.rpartition(" :: ")[2] for line in known)


def installed(python: str) -> dict[tuple[str, str], str]:
    """The licence of each package, by name and version, in the environment of this Python."""
    if not Path(python).exists():
        return {}
    ask = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    folder = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    found = importlib.metadata.distributions(path=[folder])
    return {(normal(dist.name), dist.version): licence(dist.metadata) for dist in found}


def declare(words: str) -> dict:
    """These words as CycloneDX has them: an expression of SPDX, one of its names, or a text."""
    made = LicenseFactory().make_from_string(words)
    if expression := getattr(made, "value", None):
        return {"expression": expression, "acknowledgement": "declared"}
    which = {"id": made.id} if made.id else {"name": made.name}
    return {"license": {**which, "acknowledgement": "declared"}}


def bill(kind: str, licences: dict[tuple[str, str], str]) -> dict:
    """The bill of materials of a lock."""
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible"]
    command += ["--no-validate", "--pyproject=pyproject.toml", f"requirements/{kind}.txt"]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        sys.exit(f"sbom: cyclonedx-py failed on requirements/{kind}.txt: {said[-1]}")
    bom = json.loads(done.stdout)
    for component in bom["components"]:
        del component["description"]  # the lock's lines once more
        if words := licences.get((normal(component["name"]), component["version"])):
            component["licenses"] = [declare(words)]
    if errors := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom)):
        sys.exit(f"sbom: the bill of {kind}.txt is not valid CycloneDX: {errors}")
    return bom


def table(boms: dict[str, dict], licences: dict[tuple[str, str], str]) -> tuple[str, int]:
    """The licences as a table, and how many of them are not known here."""
    rows: dict[tuple[str, str], list[str]] = {}
    for kind, bom in boms.items():
        for component in bom["components"]:
            rows.setdefault((component["name"], component["version"]), []).append(kind)
    lines = ["# Licences", "", "As the packages declare them; nobody has checked it.", ""]
    lines += ["| package | version | licence | lock |", "|---|---|---|---|"]
    missing = 0
    for (name, version), kinds in sorted(rows.items()):
        declared = licences.get((normal(name), version))
        missing += declared is None
        text = {None: "(not installed here)", "": "(none declared)"}.get(declared, declared)
        lines.append(f"| {name} | {version} | {text.replace('|', '/')} | {', '.join(kinds)} |")
    return "\n".join([*lines, ""]), missing


def main(python: str) -> None:
    licences = installed(python)
    boms = {kind: bill(kind, licences) for kind in KINDS}
    text, missing = table(boms, licences)
    REPORTS.mkdir(exist_ok=True)
    for kind, bom in boms.items():
        file = REPORTS / f"sbom-{kind}.cdx.json"
        file.write_text(json.dumps(bom, indent=2) + "\n", "utf-8", newline="\n")
        print(f"{file}: {len(bom['components'])} packages")
    (REPORTS / "licences.md").write_text(text, "utf-8", newline="\n")
    print(f"{REPORTS / 'licences.md'}: {missing} of these are not installed here, so not known")


if __name__ == "__main__":
    try:
        main(sys.argv[1])
    except (OSError, subprocess.CalledProcessError) as error:
        sys.exit(f"sbom: {error}.")
