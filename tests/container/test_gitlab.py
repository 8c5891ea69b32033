"""GitLab's jobs, line by line, in the image that they name and on a copy as a runner has it.

What is not shown: GitLab's own machines, a runner with a GPU, and what a vulnerability database
says. tests/test_propose_update.py runs the job `template-update`.
"""

import re
from pathlib import Path

import pytest
import yaml
from conftest import commit

from . import images

pytestmark = [pytest.mark.images, pytest.mark.usefixtures("tidy")]

CA = "/etc/ssl/certs/ca-certificates.crt"
HERE = "/builds/org/demo"


@pytest.fixture(scope="module")
def project(copy, tmp_path_factory) -> Path:
    """The generated project as a repository."""
    folder = tmp_path_factory.mktemp("gitlab") / "demo"
    done = copy(folder, ci="gitlab")
    assert done.returncode == 0, done.stderr
    commit(folder)
    return folder


@pytest.fixture(scope="module")
def jobs(project) -> dict:
    jobs = yaml.safe_load((project / ".gitlab-ci.yml").read_text())
    assert jobs["default"]["image"] == "python:3.13-slim"
    return jobs


@pytest.fixture(scope="module")
def runner(engine, stand_in, project, tmp_path_factory):
    """Run lines in a container with the files, as root, as GitLab's Docker executor does."""
    certificates = tmp_path_factory.mktemp("certificates")
    for number, pem in enumerate(images.certificates()):
        (certificates / f"host-{number}.crt").write_text(pem)
    env = {"CI": "true", "GITLAB_CI": "true", "CI_COMMIT_BRANCH": "main", "SMOKE": "1"}
    env |= dict.fromkeys(("PIP_CERT", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), CA)
    options = [f"--env={name}={value}" for name, value in env.items()]
    image = stand_in("python_slim")
    container = engine.docker("run", "--detach", *options, image, "sleep", "infinity")
    engine.docker("exec", container, "mkdir", "--parents", HERE)
    engine.docker("cp", f"{project}/.", f"{container}:{HERE}")
    engine.docker("cp", f"{certificates}/.", f"{container}:/usr/local/share/ca-certificates")
    engine.docker("exec", container, "update-ca-certificates")

    def run(lines: list[str]) -> str:
        script = "\n".join(lines)
        shell = ("bash", "-e", "-o", "pipefail", "-c", script)
        return engine.docker("exec", f"--workdir={HERE}", container, *shell)

    yield run
    engine.docker("rm", "--force", container)


def test_a_push_is_checked_in_the_image(jobs, runner):
    printed = runner(jobs[".nox"]["before_script"] + jobs["check"]["script"])
    assert "no passwords, keys, tokens" in printed
    assert re.search(r"=+ \d+ passed.* =+\n", printed)
    assert not re.search(r"\d (failed|skipped|xfailed|error)", printed)
    assert printed.splitlines()[-1].startswith("No GPU is tested: register a runner that has one")
    artifacts = runner(["ls reports/gpu_check.json runs/notebooks/*.html"])
    assert len(artifacts.splitlines()) == 2
    assert runner(["git status --porcelain"]) == ""


def test_the_bill_of_materials_is_made_there(jobs, runner):
    audit, *others = jobs["audit"]["script"]
    assert audit == "nox -s audit"  # needs a database: tests/test_ci.py has one
    runner(jobs[".nox"]["before_script"] + others)
    assert "sbom-cpu.cdx.json" in runner(["ls reports"])


def test_a_line_that_fails_fails_the_job(jobs, runner):
    setup, sessions, _ = jobs["check"]["script"]
    runner([*jobs[".nox"]["before_script"], setup])
    lint = " ".join(sessions.split()[:3])
    assert lint == "nox -s lint"  # the first of them: nox would go on to the others
    try:
        with pytest.raises(AssertionError, match="F401"):
            runner(["echo import os >bad.py", "git add bad.py", lint, "true"])
    finally:
        runner(["git rm --force bad.py"])
