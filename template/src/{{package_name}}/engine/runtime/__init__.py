# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Where it runs: environment, devices, files, signals, time."""
