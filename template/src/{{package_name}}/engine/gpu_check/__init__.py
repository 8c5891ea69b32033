# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Does the GPU do the work? Steps that measure it, a verdict, and a report."""
