# Managed by gpu-ml-template: copier update merges fixes into this file.
"""How fast is training here? Settings that build on each other, each in its own process."""
