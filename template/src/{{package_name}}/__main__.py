# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The way into the command line, which is engine/cli.py."""

from .engine.cli import main

if __name__ == "__main__":
    main()
