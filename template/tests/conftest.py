# Yours: gpu-ml-template gave this file once and never changes it.
"""What your tests share, and the engine's."""

import os
from pathlib import Path

# JAX compiles for seconds what then runs for less: keep it, also for the tests' own processes.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(".pytest_cache", "jax").absolute()))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.1")
