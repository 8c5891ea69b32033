# Yours: gpu-ml-template gave this file once and never changes it.
"""Settings that all tests share, yours and the engine's."""

import os
from pathlib import Path

# Compiling takes JAX longer than running: cache the results for all processes of the tests.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(".pytest_cache", "jax").absolute()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
