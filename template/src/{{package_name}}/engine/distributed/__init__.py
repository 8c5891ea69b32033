# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Several devices, processes and machines."""
