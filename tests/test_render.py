"""Rendering: which files an answer gives, and that each is well formed and well formatted."""

import ast
import itertools
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from copier import run_copy

FRAMEWORKS = ("tensorflow", "jax", "torch")
LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "none")
CIS = {
    "github": {f".github/workflows/{name}.yml" for name in ("audit", "ci", "template-update")}
    | {"tools/propose_update.py"},
    "gitlab": {".gitlab-ci.yml", "tools/propose_update.py"},
    "none": set(),
}
PACKAGES = ("p", "a_package_name_of_thirty_chars")
HOSTILE = {
    "project_name": "Über-Projekt v1.0_日本",
    "description": """Tell "cats" from 'dogs' \\ {{ 7*7 }} {% x %} <b>&amp; # é 🐱: - [1] ---""",
    "user_name": """Ada "the first" O'Neill \\ {{ 7*7 }} # & 🐱""",
    "user_email": "o'neill+x@example.org",
}


def files(project: Path) -> set[str]:
    return {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}


def expected(package: str, framework: str, license: str, ci: str) -> set[str]:
    """Every file of a project, by name."""
    at_top = """
        .copier-answers.yml .dockerignore .editorconfig .gitattributes .gitignore
        .pre-commit-config.yaml
        AGENTS.md CHANGELOG.md README.md noxfile.py pyproject.toml
        .devcontainer/Dockerfile .devcontainer/devcontainer.json .devcontainer/doctor.py
        .devcontainer/certs/README.md .devcontainer/cpu/devcontainer.json
        .devcontainer/image/base.sh .devcontainer/image/check_cuda.py
        .devcontainer/image/environment.sh .devcontainer/image/packages.sh
        .devcontainer/image/parts.sh
        .vscode/extensions.json .vscode/launch.json .vscode/settings.json .vscode/tasks.json
        data/README.md notebooks/explore.ipynb notebooks/gpu_check.ipynb
        deploy/rayjob.yaml deploy/slurm.sh
        requirements/audit.txt requirements/cpu.txt requirements/dev.txt requirements/gpu.txt
        requirements/scale.txt
        tools/audit.py tools/container.py tools/hooks.py tools/lock.py tools/sbom.py tools/update.py
    """
    updater = """
        __init__ checks cli environment files index journal locks merge mirror notebooks plan
        renames repository template
    """
    modules = """
        __init__ __main__ data model recipes task
        engine/__init__ engine/callbacks engine/checkpoint engine/cli engine/compare engine/config
        engine/batch_size engine/evaluate engine/export engine/images engine/modelling engine/moved
        engine/onnx_format engine/pipeline engine/predict engine/project engine/runs
        engine/signature engine/task engine/train
        engine/image_folder/__init__ engine/image_folder/__main__ engine/image_folder/check
        engine/image_folder/find engine/image_folder/load engine/image_folder/overview
        engine/image_folder/pixel_cache
        engine/tables/__init__ engine/tables/columns engine/tables/files engine/tables/layers
        engine/tables/source
        engine/benchmark/__init__ engine/benchmark/flops engine/benchmark/ladder
        engine/benchmark/measure_setting engine/benchmark/networks engine/benchmark/records
        engine/benchmark/report engine/benchmark/workload
        engine/distributed/__init__ engine/distributed/cluster engine/distributed/launch
        engine/distributed/launchers engine/distributed/process_group
        engine/gpu_check/__init__ engine/gpu_check/page engine/gpu_check/report
        engine/gpu_check/speed engine/gpu_check/steps engine/gpu_check/verdict
        engine/report/__init__ engine/report/format engine/report/model_card engine/report/page
        engine/report/plots engine/report/render
        engine/runtime/__init__ engine/runtime/devices engine/runtime/env_file
        engine/runtime/files engine/runtime/signals engine/runtime/timing
        engine/tasks/__init__ engine/tasks/base engine/tasks/classification
        engine/tasks/class_plots engine/tasks/class_weights engine/tasks/forecasting
        engine/tasks/multilabel engine/tasks/regression engine/tasks/scores
        engine/tasks/segmentation engine/tasks/value_plots
    """
    pages = "base.html benchmark.html gpu_check.html macros.html model_card.md report.html"
    tests = """
        conftest test_recipes
        engine/__init__ engine/conftest engine/demo engine/test_benchmark engine/test_callbacks
        engine/test_command_line engine/test_compare engine/test_config engine/test_data
        engine/test_distributed engine/test_env_file engine/test_export engine/test_gpu_check
        engine/test_image_folder engine/test_images engine/test_imports engine/test_notebook
        engine/test_pixel_cache engine/test_predict engine/test_report engine/test_resume
        engine/test_servers engine/test_small_data engine/test_smoke engine/test_tables
        engine/test_task engine/test_tasks engine/test_train engine/tiny
    """
    return (
        set(at_top.split())
        | {f"src/{package}/{name}.py" for name in modules.split()}
        | {f"src/{package}/engine/report/templates/{name}" for name in pages.split()}
        | {f"tests/{name}.py" for name in tests.split()}
        | ({"tests/engine/test_torch_module.py"} if framework == "torch" else set())
        | {f"tools/updater/{name}.py" for name in updater.split()}
        | ({"LICENSE"} if license != "none" else set())
        | CIS[ci]
    )


# Each pair of answers is in some combination of each commit; weekly all of them are rendered.
COMBINATIONS = [
    pytest.param(
        (framework, license, ci),
        marks=() if (i + j + k) % 3 == 0 else pytest.mark.thorough,
        id=f"{framework}-{license}-{ci}",
    )
    for (i, framework), (j, license), (k, ci) in itertools.product(
        enumerate(FRAMEWORKS), enumerate(LICENSES), enumerate(CIS)
    )
]


@pytest.fixture(scope="module", params=COMBINATIONS)
def rendered(request, template, tmp_path_factory):
    """A project for each combination of answers, with short and long names in turn."""
    framework, license, ci = request.param
    package = PACKAGES[len(framework + license + ci) % 2]
    answers = {"framework": framework, "license": license, "ci": ci, "package_name": package}
    project = tmp_path_factory.mktemp("rendered") / "project"
    run_copy(str(template), project, data=answers | HOSTILE, defaults=True, quiet=True)
    return project, answers


def test_the_files_are_these_and_no_others(rendered):
    project, answers = rendered
    names = ("package_name", "framework", "license", "ci")
    assert files(project) == expected(*(answers[name] for name in names))


def strip_comments(text: str) -> str:
    """Return VS Code's JSON without its comments, which stand on lines of their own."""
    return re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE)


def test_every_file_parses_and_holds_no_jinja(rendered):
    project, _ = rendered
    parsers = {
        ".json": lambda text: json.loads(strip_comments(text)),
        ".ipynb": lambda text: nbformat.validate(nbformat.reads(text, as_version=4)),
        ".py": ast.parse,
        ".toml": tomllib.loads,
        ".yaml": yaml.safe_load,
        ".yml": yaml.safe_load,
    }
    for name in files(project):
        text = (project / name).read_text()
        assert text.endswith("\n") and not text.endswith("\n\n"), name
        parsers.get(Path(name).suffix, str)(text)
        if "/report/templates/" in name:  # the project's own Jinja
            continue
        for typed in ("{{ 7*7 }}", "{% x %}"):  # answers that look like Jinja stay as they are
            text = text.replace(typed, "")
        assert "{%" not in text and "{#" not in text, name
        if not name.endswith(".py"):  # which has braces of its own
            assert "{{" not in text.replace("${{", ""), name


def test_the_projects_own_formatters_change_nothing(rendered):
    project, _ = rendered
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        line = [sys.executable, "-m", "ruff", *command, "."]
        done = subprocess.run(line, cwd=project, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
