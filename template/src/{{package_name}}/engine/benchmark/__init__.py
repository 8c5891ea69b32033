# Managed by gpu-ml-template: copier update merges fixes into this file.
"""How fast is training here? A ladder of settings, each measured in a process of its own."""
