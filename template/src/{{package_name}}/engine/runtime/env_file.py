# Managed by gpu-ml-template: copier update merges fixes into this file.
"""The optional file .env in the project's folder: settings and secrets of one person or machine.

`import` of the package reads it, so that the command line, notebooks, tests and workers all see the
same. git and the image's build leave it out (.gitignore, .dockerignore).
"""

import io
import os
import sys
from pathlib import Path

# Beside src/, wherever a command is started; a package that is installed elsewhere has none.
PATH = Path(__file__).resolve().parents[4] / ".env"
WARNED = "ENV_FILE_WARNED"


def load(path: Path = PATH) -> None:
    """Put KEY=value lines into the environment; existing variables take precedence.

    What cannot be read is left out with one warning, which never shows a value.
    """
    if not path.exists() or path.is_dir():  # a folder of that name is a virtual environment
        return
    try:
        from dotenv.parser import parse_stream

        lines = list(parse_stream(io.StringIO(path.read_text("utf-8-sig"))))
    except ImportError:
        return warn(path, "python-dotenv is not installed: `nox -s setup` adds it")
    except UnicodeDecodeError:
        return warn(path, "it is not UTF-8: save it as UTF-8")
    except OSError as error:
        return warn(path, f"{error.strerror}: check who may read it")
    bad = []
    for line in lines:
        try:
            if line.error or (line.key and line.value is None):
                raise ValueError
            if line.key and line.value is not None:
                os.environ.setdefault(line.key, line.value)
        except ValueError:  # also from the system: it takes no zero bytes
            text = line.original.string
            blank = text[: len(text) - len(text.lstrip())]
            bad.append(str(line.original.line + blank.count("\n")))
    if bad:
        lines = f"line {bad[0]} is" if len(bad) == 1 else f"lines {', '.join(bad)} are"
        warn(path, f"{lines} not KEY=value and left out (a value of several lines needs quotes)")


def warn(path: Path, sentence: str) -> None:
    """Print a warning, unless the process that started this one has done so."""
    if os.environ.get(WARNED) != str(path):
        print(f"warning: {path}: {sentence}", file=sys.stderr)
        os.environ[WARNED] = str(path)
