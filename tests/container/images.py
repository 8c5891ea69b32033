"""Base images for the tests: the public ones, or the same made of Debian's packages."""

import functools
import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

from .engine import Engine

HERE = Path(__file__).parent
# Prints which files the loader takes for these names, with no hint from outside.
RESOLVE = """
import ctypes, os
for name in ("libcudart.so.12", "libcublas.so.12", "libcudnn.so.9", "libcusolver.so.11"):
    ctypes.CDLL(name)
maps = {os.path.realpath(line.split()[-1]) for line in open("/proc/self/maps") if "/lib" in line}
print("\\n".join(sorted(path for path in maps if "libcu" in path)))
"""
LOCAL = "made by debootstrap, because no registry answers"


def debian_mirror() -> list[str]:
    """The mirror that apt uses on this machine, if it is one of Debian; else debootstrap's own."""
    line = ["apt-get", "indextargets", "--format", "$(ORIGIN) $(SUITE) $(REPO_URI)"]
    printed = b""
    if shutil.which(line[0]):
        printed = subprocess.run([*line, "Created-By: Packages"], capture_output=True).stdout
    found = re.findall(r"^Debian \S+ (\S+)", os.fsdecode(printed), re.MULTILINE)
    return [url for url in found if "security" not in url][:1]


def debian(engine: Engine, suite: str, cache: Path) -> str:
    """Have the image debian:<suite>-slim in this engine; say where it came from."""
    name = f"debian:{suite}-slim"
    if engine.has(name):
        return "at hand"
    try:
        if engine.try_docker("pull", "--quiet", name, timeout=120).returncode == 0:
            return "pulled"
    except subprocess.TimeoutExpired:
        pass
    files = cache / f"{suite}.tar"
    if not files.exists():
        if os.geteuid() or not shutil.which("debootstrap"):
            raise LookupError(
                f"{name} can neither be pulled nor made: the latter needs root and the Debian "
                "package debootstrap."
            )
        cache.mkdir(parents=True, exist_ok=True)
        root = cache / suite
        subprocess.run(
            ["debootstrap", "--variant=minbase", suite, root, *debian_mirror()],
            check=True,
            capture_output=True,
        )
        for left in ("var/cache/apt/archives", "var/lib/apt/lists"):  # as in the public image
            shutil.rmtree(root / left)
            (root / left / "partial").mkdir(parents=True)
        pack = ["tar", "--numeric-owner", f"--directory={root}", "--create", "."]
        with files.open("wb") as tar:
            subprocess.run(pack, check=True, stdout=tar)
        shutil.rmtree(root)
    engine.docker("import", "--change", 'CMD ["bash"]', files, name)
    return LOCAL


def stand_in(engine: Engine, name: str, **arguments: str) -> str:
    """Build stand_ins/<name>.Dockerfile; return the image's name."""
    image = f"gpu-ml-rig-{name}"
    options = [f"--build-arg={key}={value}" for key, value in arguments.items()]
    file = HERE / "stand_ins" / f"{name}.Dockerfile"
    engine.docker("build", "--tag", image, *options, "--file", file, HERE / "stand_ins")
    return image


@functools.cache
def certificates() -> tuple[str, ...]:
    """What this machine trusts beyond its system's own set: a proxy's that opens TLS, if any."""
    bundle = Path(os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt"))
    shipped = Path("/usr/share/ca-certificates")
    if not bundle.is_file() or not shipped.is_dir():
        return ()
    known = {der for file in shipped.rglob("*.crt") for der in parse(file)}
    return tuple(ssl.DER_cert_to_PEM_cert(der) for der in parse(bundle) if der not in known)


def parse(file: Path) -> dict[bytes, None]:
    """The certificates in a file, each once, in its order."""
    pattern = "-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----"
    found = re.findall(pattern, file.read_text(errors="replace"), re.DOTALL)
    return dict.fromkeys(ssl.PEM_cert_to_DER_cert(pem) for pem in found)
