# Managed by gpu-ml-template: copier update merges fixes into this file.
# /// script
# requires-python = ">=3.11"
# ///
"""Update this project from its template and keep your work: `nox -s update`.

This file is the way into the package updater/ beside it. It also runs alone, on any project: then
it takes the package from the template's repository.
"""

import os
import sys

REPOSITORY = "https://github.com/org/gpu-ml-template.git"
HERE = os.path.dirname(os.path.abspath(__file__))


def run_from_repository():
    """Run the newest updater of the template's repository; return its exit code."""
    import shutil
    import subprocess
    import tempfile

    if not shutil.which("git"):
        sys.exit("update: git is missing: install it.")
    with tempfile.TemporaryDirectory(prefix="updater-") as scratch:
        clone = ["git", "-c", "core.hooksPath=" + os.devnull, "clone", "--quiet", "--depth=1"]
        if subprocess.call([*clone, "--", REPOSITORY, scratch]):
            sys.exit("update: " + REPOSITORY + " cannot be reached (see above). Check the network.")
        tool = os.path.join(scratch, "template", "tools", "update.py")
        if not os.path.isdir(os.path.join(os.path.dirname(tool), "updater")):
            sys.exit("update: " + REPOSITORY + " has no updater/ beside its update.py.")
        return subprocess.call([sys.executable, "-I", "-B", tool, *sys.argv[1:]])


def main():
    if sys.version_info < (3, 9):  # noqa: UP036  (whoever runs this may have an old one)
        sys.exit("update: this Python is too old: take 3.11 or newer.")
    for number in range(3):  # a closed one would be given to the next file that is opened
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if not sys.flags.isolated or sys.flags.optimize:
        # Neither PYTHONPATH nor a file of the project's may take the place of a module, so that
        # nothing is imported before this.
        os.execv(sys.executable, [sys.executable, "-I", "-B", __file__, *sys.argv[1:]])
    if not os.path.isdir(os.path.join(HERE, "updater")):
        return run_from_repository()
    sys.path.append(HERE)  # last, for the same reason
    from updater import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
