# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Aliases for the module names before version 0.8.0.

Updates never change a project's data.py, model.py, notebooks and scripts, so their imports have to
keep working. Import from the engine in new code.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
from types import ModuleType

PACKAGE = __name__.partition(".")[0]
MOVED = {
    "benchmark": "benchmark.ladder",
    "benchmark_report": "benchmark.report",
    "checkpoint": "checkpoint",
    "cluster": "distributed.cluster",
    "compare": "compare",
    "config": "..recipes",  # with the project's own fields and recipes since 0.9.0
    "devices": "runtime.devices",
    "distributed": "distributed.process_group",
    "env_file": "runtime.env_file",
    "evaluate": "evaluate",
    "export": "export",
    "files": "runtime.files",
    "flops": "benchmark.flops",
    "gpu_check": "gpu_check.steps",
    "gpu_page": "gpu_check.page",
    "gpu_report": "gpu_check.report",
    "gpu_speed": "gpu_check.speed",
    "gpu_verdict": "gpu_check.verdict",
    "images": "images",
    "interrupt": "runtime.signals",
    "launch": "distributed.launch",
    "launchers": "distributed.launchers",
    "measure": "runtime.timing",
    "model_card": "report.model_card",
    "pipeline": "pipeline",
    "plots": "report.plots",
    "report": "report.page",
    "rung": "benchmark.measure_setting",
    "runs": "runs",
    "train": "train",
}
"""Old name in the package: new name in the engine, or beside it."""


class Finder:
    """Finds the modules of MOVED by their old names.

    Python asks it last, so a file of the project with such a name takes precedence.
    """

    @staticmethod
    def find_spec(name: str, path=None, target=None) -> importlib.machinery.ModuleSpec | None:
        package, _, old = name.rpartition(".")
        if package != PACKAGE or old not in MOVED:
            return None
        return importlib.machinery.ModuleSpec(name, Loader())


class Loader(importlib.abc.Loader):
    """Returns the renamed module itself, so both names share one state."""

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new = MOVED[spec.name.rpartition(".")[2]]
        name = new if new.startswith(".") else f".{new}"
        module = importlib.import_module(name, __package__)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # the import system has replaced it


def install() -> None:
    """Add the finder to Python's import system, once."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
