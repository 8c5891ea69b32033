# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Load the framework's CUDA libraries as it will on a GPU, and write down what they are.

The image's build runs `check_cuda.py FRAMEWORK gpu|cpu`, without a GPU. Where these libraries do
not load, a framework computes on the CPU and says so in one line of a long log at most.
"""

import ctypes
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

FACTS = Path(sys.prefix, "gpu_facts.json")  # what the doctor compares with the driver and the GPU
CUDA = (
    r"/\S*/lib(?:cublas|cudart|cudnn|cufft|cupti|curand|cusolver|cusparse|nccl|nvJitLink|nvrtc)\S*"
)
WHY = (
    "import ctypes, sys, tensorflow; getattr(ctypes.CDLL(sys.argv[1]), sys.argv[2])"
    "(ctypes.byref((ctypes.c_void_p * 4)()))"
)


def fail(sentence: str) -> None:
    sys.exit(f"dev container: {sentence}")


def wheel(pattern: str) -> str | None:
    """The version of the installed wheel whose name matches."""
    for found in importlib.metadata.distributions():
        if re.fullmatch(pattern, found.metadata["Name"].lower().replace("_", "-")):
            return found.version
    return None


def tensorflow() -> list[str] | None:
    """Ask TensorFlow's own loader, which decides whether it registers any GPU."""
    import tensorflow as tf

    library = Path(tf.sysconfig.get_lib(), "libtensorflow_framework.so.2")
    symbol = re.search(rb"_ZN\w+TryDlopenCUDALibraries\w*", library.read_bytes())
    if not symbol:
        raise AttributeError("it has no TryDlopenCUDALibraries, which this check calls")
    status = (ctypes.c_void_p * 4)()  # an absl::Status, returned through a pointer; 1 is OK
    load = getattr(ctypes.CDLL(str(library)), symbol[0].decode())
    load.restype = None
    load(ctypes.byref(status))
    if status[0] != 1:
        again = [sys.executable, "-c", WHY, str(library), symbol[0].decode()]
        log = os.environ | {"TF_CPP_MAX_VLOG_LEVEL": "1", "TF_CPP_MIN_LOG_LEVEL": "0"}
        said = subprocess.run(again, env=log, capture_output=True, text=True).stderr
        names = sorted(set(re.findall(r"dynamic library '([^']+)'", said))) or [
            "its CUDA libraries"
        ]
        fail(f"TensorFlow does not find {', '.join(names)} and would compute on the CPU.")
    return tf.sysconfig.get_build_info().get("cuda_compute_capabilities")


def jax() -> None:
    """Let JAX's plugin load what it loads before it uses a GPU, and ask each library's version."""
    [plugin] = importlib.metadata.entry_points(group="jax_plugins")
    plugin = plugin.load()
    plugin._load_nvidia_libraries()
    plugin._import_extensions()
    if plugin.cuda_versions is None:
        fail("JAX cannot load its CUDA plugin and would compute on the CPU.")
    for name in ("cuda_runtime", "cudnn", "cublas", "cufft", "cusolver", "cusparse", "cupti"):
        try:
            getattr(plugin.cuda_versions, f"{name}_get_version")()
        except Exception as error:
            fail(f"JAX does not find {name} and would compute on the CPU: {error}")


def torch() -> list[str]:
    """Import torch, which is linked against its CUDA libraries, and let cuDNN answer."""
    try:
        import torch
    except (ImportError, OSError) as error:
        fail(f"torch does not find a CUDA library: {error}")
    if not torch.backends.cudnn.version():
        fail("torch does not find cuDNN.")
    return torch._C._cuda_getArchFlags().split()


def check_origin() -> None:
    """Fail if a library came from a CUDA of the base image instead of the locked wheels."""
    for path in sorted(set(re.findall(CUDA, Path("/proc/self/maps").read_text()))):
        if not path.startswith(f"{sys.prefix}/"):
            fail(f"{path} of the base image was loaded instead of the locked library.")


def main(framework: str, accelerator: str) -> None:
    cuda = wheel("nvidia-cuda-runtime(-cu[0-9]+)?")
    capabilities = None
    if accelerator == "cpu" and framework != "torch" and cuda:
        fail("requirements/cpu.txt brings CUDA, which is for gpu.txt. Run `nox -s lock`.")
    if accelerator == "gpu" and cuda:
        check = {"tensorflow": tensorflow, "jax": jax, "torch": torch}[framework]
        try:
            capabilities = check()
        except Exception as error:  # what is asked is not all public: a new version may lack it
            fail(
                f"this version of {framework} cannot be checked ({type(error).__name__}: {error})."
                " Keep it below in pyproject.toml, or update the project from its template."
            )
        check_origin()
        print(f"The CUDA libraries of {framework} load.")
    elif accelerator == "gpu" and platform.machine() == "x86_64":
        fail("requirements/gpu.txt brings no CUDA, as if it were cpu.txt. Run `nox -s lock`.")
    elif accelerator == "gpu":
        print(f"{framework} has no CUDA for {platform.machine()}: it will compute on the CPU.")
    facts = {
        "framework": framework,
        "version": wheel(f"{framework}(-cpu)?"),
        "accelerator": accelerator,
        "cuda": cuda,
        "cudnn": wheel("nvidia-cudnn(-cu[0-9]+)?"),
        "compute_capabilities": capabilities,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
    FACTS.write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
