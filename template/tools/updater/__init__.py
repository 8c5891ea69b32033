# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The parts of tools/update.py, which brings a project to a new version of its template."""
