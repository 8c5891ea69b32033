# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The parts of `tools/update.py`, one task a module."""
