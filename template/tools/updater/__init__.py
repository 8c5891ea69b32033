# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The safe update: Copier renders the template twice, git merges, your work stays.

`cli` is the course of an update. `checks` says where none can be. `template` renders both versions
out of the `mirror`, `renames` pairs the names of each file, `plan` decides what becomes of it (with
`merge`, `notebooks` and `locks`), and `journal` does it, stages it in git's `index`, or takes it
back. No module runs code of the new version.
"""
