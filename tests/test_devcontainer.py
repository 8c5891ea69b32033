"""The dev container's policies: what is in its files, without an engine.

Each policy is a function that yields what is wrong; BAD has examples of what it has to find.
"""

import copy as copying
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from conftest import ROOT

SCHEMA = json.loads((ROOT / "tests/assets/devcontainer.schema.json").read_text())
GPU, CPU = ".devcontainer/devcontainer.json", ".devcontainer/cpu/devcontainer.json"
DOCKERFILE, BASE = ".devcontainer/Dockerfile", ".devcontainer/image/base.sh"


@pytest.fixture(scope="module")
def generated(copy, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("policies") / "project"
    assert copy(folder).returncode == 0
    return folder


def load(file: Path) -> dict:
    """Read a devcontainer.json; its comments have lines of their own."""
    lines = file.read_text().splitlines()
    return json.loads("\n".join(x for x in lines if not x.lstrip().startswith("//")))


def code(file: Path) -> str:
    """A Dockerfile or shell script without its comments."""
    lines = file.read_text().splitlines()
    return "\n".join(x for x in lines if not x.lstrip().startswith("#"))


def tool(name: str, *files: Path) -> str:
    """What a linter of this environment says."""
    line = [str(Path(sys.executable).with_name(name)), *map(str, files)]
    return subprocess.run(line, capture_output=True, text=True).stdout


def only_known_properties(project: Path) -> Iterator[str]:
    """No privileges, host namespaces, ports, sockets, Features, or GPUs without asking first."""
    for name in (GPU, CPU):
        for error in jsonschema.Draft202012Validator(SCHEMA).iter_errors(load(project / name)):
            yield f"{name}: {error.message}"


def both_configurations_alike(project: Path) -> Iterator[str]:
    """But for the name, the image and the GPU."""
    gpu, cpu = (copying.deepcopy(load(project / name)) for name in (GPU, CPU))
    if gpu.pop("hostRequirements", {}) != {"gpu": "optional"}:
        yield "the GPU is not optional"
    for config, kind in ((gpu, "gpu"), (cpu, "cpu")):
        if config["build"]["args"].pop("ACCELERATOR") != kind:
            yield f"ACCELERATOR is not {kind}"
        folder = (project / (GPU if kind == "gpu" else CPU)).parent
        if (folder / config["build"].pop("dockerfile")).resolve() != project / DOCKERFILE:
            yield f"{kind} has another Dockerfile"
        if (folder / config["build"].pop("context")).resolve() != project:
            yield f"{kind} has another context"
        config.pop("name")
    if gpu != cpu:
        yield "the configurations differ"


def a_short_dockerfile_without_secrets(project: Path) -> Iterator[str]:
    text = code(project / DOCKERFILE)
    if len([line for line in text.splitlines() if line.strip()]) > 60:
        yield "more than 60 lines of code"
    if re.search(r"^\s*(ARG|ENV)\b.*(_PROXY|TOKEN|PASSWORD|SECRET)", text, re.I | re.M):
        yield "declares a proxy or a secret, which then stays in the image's history"
    if re.search(r"\bNVIDIA_VISIBLE_DEVICES\b", text):
        yield "gives GPUs to everybody: that is for `--gpus` to say"
    users = re.findall(r"^USER (.+)", text, re.M)
    if users[-1:] != ["dev"]:
        yield "does not end as the user dev"
    if re.search(r"^(ADD|EXPOSE|VOLUME|HEALTHCHECK|SHELL|ONBUILD)\b", text, re.M):
        yield "has an instruction that it should not need, or that podman ignores"


def no_sudo(project: Path) -> Iterator[str]:
    for file in [project / DOCKERFILE, *(project / ".devcontainer/image").glob("*.sh")]:
        if re.search(r"\b(sudo|NOPASSWD|setcap|chmod .*u\+s)\b", code(file)):
            yield f"{file.name} gives more rights"


def clean_dockerfile(project: Path) -> Iterator[str]:
    if printed := tool("hadolint", project / DOCKERFILE):
        yield printed


def clean_scripts(project: Path) -> Iterator[str]:
    if printed := tool("shellcheck", *(project / ".devcontainer/image").glob("*.sh")):
        yield printed


def nothing_private_in_the_context(project: Path) -> Iterator[str]:
    """Only what .dockerignore names goes to the engine."""
    rules = code(project / ".dockerignore").split()
    if rules[:1] != ["*"]:
        yield "not everything is left out first"
    if extra := {r for r in rules[1:] if r.startswith("!")} - {
        "!.devcontainer/certs/*.crt",
        "!.devcontainer/certs/README.md",
        "!.devcontainer/image",
        "!requirements",
        "!src",
    }:
        yield f"lets in {extra}"


POLICIES = [
    only_known_properties,
    both_configurations_alike,
    a_short_dockerfile_without_secrets,
    no_sudo,
    clean_dockerfile,
    clean_scripts,
    nothing_private_in_the_context,
]


def more(text: str):
    """Put a property in front of a configuration's first one."""
    return GPU, '  "name":', f'  {text},\n  "name":'


def run_arg(text: str):
    return GPU, '"--shm-size=8g"', f'"--shm-size=8g", "{text}"'


def instruction(text: str):
    return DOCKERFILE, "USER root\n", f"USER root\n{text}\n"


# policy, file, text that is there, and what it becomes
BAD = [
    (only_known_properties, *more('"privileged": true')),
    (only_known_properties, *more('"capAdd": ["SYS_PTRACE"]')),
    (only_known_properties, *more('"appPort": [8888]')),
    (only_known_properties, *more('"features": {"ghcr.io/devcontainers/features/sudo:1": {}}')),
    (only_known_properties, *more('"extensions": ["ms-python.python"]')),
    (only_known_properties, *more('"remoteUsr": "dev"')),
    (only_known_properties, *more('"initializeCommand": "true"')),
    (only_known_properties, *more('"containerUser": "root"')),
    (only_known_properties, GPU, '"remoteUser": "dev"', '"remoteUser": "root"'),
    (only_known_properties, GPU, '"no-new-privileges"', '"seccomp=unconfined"'),
    (only_known_properties, GPU, '"gpu": "optional"', '"gpu": true'),
    (only_known_properties, GPU, '"gpu": "optional"', '"gpu": "maybe"'),
    (only_known_properties, GPU, "type=volume,source=", "type=bind,source=/var/run/docker.sock,x="),
    (only_known_properties, GPU, '"target": "dev"', '"target": "runtime"'),
    *[
        (only_known_properties, *run_arg(text))
        for text in (
            "--gpus=all",
            "--privileged",
            "--network=host",
            "--pid=host",
            "--ipc=host",
            "--userns=host",
            "--publish=8888:8888",
            "-p=8888:8888",
            "--cap-add=ALL",
            "--device=/dev/kvm",
            "--volume=/var/run/docker.sock:/var/run/docker.sock",
            "--ulimit=nofile=65536",
            "--user=root",
        )
    ],
    (both_configurations_alike, GPU, '"gpu": "optional"', '"cpus": 4'),
    (both_configurations_alike, GPU, '"nox -s hooks"', '"true"'),
    (both_configurations_alike, CPU, '"ACCELERATOR": "cpu"', '"ACCELERATOR": "gpu"'),
    (both_configurations_alike, CPU, '"../Dockerfile"', '"Dockerfile"'),
    (both_configurations_alike, CPU, '"../.."', '".."'),
    (a_short_dockerfile_without_secrets, *instruction("ARG HTTPS_PROXY")),
    (a_short_dockerfile_without_secrets, *instruction("ENV https_proxy=http://me:pw@proxy")),
    (a_short_dockerfile_without_secrets, *instruction("ARG HF_TOKEN")),
    (a_short_dockerfile_without_secrets, *instruction("ENV NVIDIA_VISIBLE_DEVICES=all")),
    (a_short_dockerfile_without_secrets, *instruction("EXPOSE 8888")),
    (a_short_dockerfile_without_secrets, *instruction("RUN true" + "\nRUN true" * 60)),
    (a_short_dockerfile_without_secrets, DOCKERFILE, "\nUSER dev\n", "\nUSER root\n"),
    (no_sudo, *instruction("RUN apt-get install --yes sudo")),
    (
        no_sudo,
        BASE,
        "set -eu\n",
        "set -eu\necho 'dev ALL=(root) NOPASSWD:ALL' >/etc/sudoers.d/dev\n",
    ),
    (clean_dockerfile, *instruction("RUN cd /tmp && apt-get install git | tee log")),
    (clean_scripts, BASE, "set -eu\n", "set -eu\ncd $HOME\n"),
    (nothing_private_in_the_context, ".dockerignore", "!src\n", "!src\n!data\n"),
    (nothing_private_in_the_context, ".dockerignore", "\n*\n", "\nruns\n"),
]


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
def test_the_generated_project_keeps(policy, generated):
    assert list(policy(generated)) == []


@pytest.mark.parametrize(("policy", "name", "old", "new"), BAD)
def test_each_policy_finds(policy, name, old, new, generated, tmp_path):
    project = tmp_path / "project"
    parts = shutil.ignore_patterns("src", "tests", "requirements", "notebooks")
    shutil.copytree(generated, project, ignore=parts)
    text = (project / name).read_text()
    assert text.count(old) == 1
    (project / name).write_text(text.replace(old, new))
    assert list(policy(project)) != []


def test_each_policy_has_a_bad_example():
    assert {bad[0] for bad in BAD} == set(POLICIES)
