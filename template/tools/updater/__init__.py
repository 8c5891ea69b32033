# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The safe update: Copier renders the template twice, git merges, nothing of yours is lost.

`cli` is the course of an update. It asks `template` for the two renders, `renames` for what became
of each name, `plan` for what to do with each file (with `merge`, `notebooks` and `locks`), and
`journal` to do it or to take it back. No module runs code of the new version.
"""
