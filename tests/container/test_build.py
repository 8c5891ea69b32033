"""The image's build: what it needs, what it says when it fails, and what it leaves in the image."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from .devcontainer import edit
from .proxy import proxy

pytestmark = pytest.mark.container

DOCKERFILE = ".devcontainer/Dockerfile"


@pytest.fixture
def context(project, tmp_path) -> Path:
    """A project that a test may spoil."""
    return shutil.copytree(project, tmp_path / "demo")


@pytest.fixture
def build(engine):
    """Run `docker build`; returns what it prints and, as the last line, the image."""
    made = []

    def run(context: Path, *options: str, fails: bool = False, **more) -> str:
        tag = f"gpu-ml-rig-{context.name}-{len(made)}"
        line = ["build", "--tag", tag, "--file", context / DOCKERFILE, *options, context]
        done = engine.try_docker(*line, **more)
        assert (done.returncode != 0) == fails, done.stdout
        if not fails:
            made.append(tag)
        return done.stdout if fails else tag

    yield run
    if made:
        engine.docker("image", "rm", *made)


def explain(project: Path, log: str) -> str:
    """What the doctor says to the log of a failed build."""
    line = ["python3", project / ".devcontainer/doctor.py", "--explain"]
    done = subprocess.run(line, input=log, capture_output=True, text=True)
    assert done.returncode == 1, log
    return done.stdout


CPU = "--build-arg=ACCELERATOR=cpu"
BASE = "--target=base"


def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate, with its key beside it."""
    new = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=Rig", "-batch"]
    file = tmp_path / "rig.pem"
    keep = ["-keyout", tmp_path / "rig.key", "-out", file]
    subprocess.run([*new, *keep], check=True, capture_output=True)
    return file


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda pem, key: b"<html>Please log in</html>", "holds 0 certificates in PEM format"),
        (lambda pem, key: pem + pem, "holds 2 certificates in PEM format"),
        (lambda pem, key: b"\x30\x82\x03" + bytes(200), "holds 0 certificates in PEM format"),
        (lambda pem, key: pem + key, "holds a private key"),
        (lambda pem, key: pem.replace(b"M", b"N"), "is damaged"),
    ],
    ids=["a web page", "two", "DER", "with its key", "damaged"],
)
def test_a_bad_certificate_stops_it(spoil, sentence, context, build, tmp_path):
    pem = certificate(tmp_path)
    spoilt = spoil(pem.read_bytes(), pem.with_suffix(".key").read_bytes())
    (context / ".devcontainer/certs/company.crt").write_bytes(spoilt)
    said = explain(context, build(context, BASE, fails=True))
    assert f".devcontainer/certs/company.crt {sentence}" in said
    assert len(said.strip().splitlines()) == 1, said


def test_an_expired_certificate_stops_it(context, build, tmp_path):
    key = certificate(tmp_path).with_suffix(".key")
    ask = ["openssl", "req", "-new", "-key", key, "-subj", "/CN=Rig", "-out", tmp_path / "rig.csr"]
    sign = ["openssl", "x509", "-req", "-in", tmp_path / "rig.csr", "-signkey", key, "-days", "-1"]
    file = context / ".devcontainer/certs/company.crt"
    for line in (ask, [*sign, "-out", file]):
        subprocess.run(line, check=True, capture_output=True)
    said = explain(context, build(context, BASE, fails=True))
    assert "company.crt has expired (notAfter=" in said
    assert len(said.strip().splitlines()) == 1, said


def test_a_good_certificate_is_trusted(context, build, engine, tmp_path):
    pem = certificate(tmp_path)
    shutil.copy(pem, context / ".devcontainer/certs/company.crt")
    image = build(context, BASE)
    count = "import ssl; print('Rig' in str(ssl.create_default_context().get_ca_certs()))"
    assert engine.docker("run", "--rm", image, "python3", "-c", count) == "True"


def test_a_base_image_that_cannot_be_reached(context, build):
    log = build(context, BASE, "--build-arg=BASE_IMAGE=registry.invalid/none:1", fails=True)
    assert "registry" in explain(context, log)


def test_a_base_image_without_apt(context, build, stand_in):
    image = stand_in("no_apt")
    said = explain(context, build(context, BASE, f"--build-arg=BASE_IMAGE={image}", fails=True))
    assert "has no apt-get" in said and "debian:trixie-slim" in said


def test_a_python_that_is_too_old(context, build, stand_in):
    image = stand_in("old_python")
    said = explain(context, build(context, BASE, f"--build-arg=BASE_IMAGE={image}", fails=True))
    assert "has Python 3.9" in said and "ubuntu:24.04" in said


def test_a_misspelt_accelerator(context, build):
    said = explain(context, build(context, "--build-arg=ACCELERATOR=cuda", fails=True))
    assert "ACCELERATOR is 'cuda', and has to be gpu or cpu" in said


def test_a_lock_for_the_other_accelerator(context, build):
    shutil.copy(context / "requirements/cpu.txt", context / "requirements/gpu.txt")
    said = explain(context, build(context, "--target=runtime", fails=True))
    assert "gpu" in said.lower(), said
    assert len(said.strip().splitlines()) == 1, said


def test_a_lock_without_the_framework(context, build):
    edit(context / "requirements/cpu.txt", "\ntensorflow-cpu==", "\nsomething-else==")
    edit(context / "requirements/cpu.txt", "\ntensorflow==", "\nsomething==")
    said = explain(context, build(context, CPU, fails=True))
    assert "nox -s lock" in said


def test_a_package_with_another_hash(context, build):
    file = context / "requirements/dev.txt"
    text = re.sub(r"(?m)(^nox==.*\n +--hash=sha256:)\w{8}", r"\g<1>00000000", file.read_text())
    text = re.sub(r"(?m)(^nox==.*\n.*\n +--hash=sha256:)\w{8}", r"\g<1>00000000", text)
    file.write_text(text)
    said = explain(context, build(context, CPU, fails=True))
    assert "could not be installed" in said


def test_no_network(context, build):
    log = build(context, BASE, "--no-cache", "--network=none", fails=True)
    assert "apt-get could not install" in explain(context, log)


def test_without_buildkit(context, build, engine):
    log = build(context, BASE, fails=True, env=engine.env | {"DOCKER_BUILDKIT": "0"})
    for image in reversed(re.findall(r"^ ---> (\w{12})$", log, re.M)):
        if engine.has(image) and not engine.inspect(image)["RepoTags"]:  # of a step, not the base
            engine.docker("image", "rm", image)
    assert "without BuildKit" in explain(context, log)


def test_a_proxys_password_stays_out(context, build, engine):
    [settings] = engine.inspect("bridge")["IPAM"]["Config"]
    gateway = settings.get("Gateway") or settings["Subnet"].replace(".0.0/16", ".0.1")
    with proxy(gateway, "pa55word-of-ada") as between:
        names = ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY")
        image = build(
            context, "--target=parts", CPU, "--no-cache",
            *[f"--build-arg={name}={between.url}" for name in names],
        )  # fmt: skip
    assert any("debian" in host or "ubuntu" in host for host in between.seen)
    assert any("py" in host for host in between.seen)
    assert between.password not in engine.docker("history", "--no-trunc", image)
    assert between.password not in engine.docker("image", "inspect", image)
    save = subprocess.Popen(["docker", "save", image], env=engine.env, stdout=subprocess.PIPE)
    find = ["grep", "--text", "--count", between.password]
    found = subprocess.run(find, stdin=save.stdout, capture_output=True, text=True)
    assert save.wait() == 0
    assert found.stdout == "0\n"
