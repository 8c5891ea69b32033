# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The report of a run: page, plots and model card."""
