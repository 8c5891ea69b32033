"""The code blocks of a page, for those who run what it says: tests, `nox -s demo`, the bench.

A block whose commands cannot be run here has a line above it that says why:
`<!-- not run here: needs a GPU -->`. Readers do not see it.
"""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(
    r"^(?:<!-- not run here: (?P<why>[^\n]+) -->\n)?"
    r"^(?P<indent> *)```(?P<kind>\S*)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    """A code block: its language, its text, and why it cannot be run here, if so."""

    kind: str
    text: str
    why: str | None

    @property
    def commands(self) -> list[str]:
        """Its lines, without empty ones and those that are a comment."""
        return [line for line in self.text.splitlines() if line.strip(" ") and line[0] != "#"]


def blocks(page: str) -> list[Block]:
    """Return the code blocks of a page."""
    return [Block(m["kind"], m["text"], m["why"]) for m in BLOCK.finditer(page)]


def commands(page: str, kind: str = "sh") -> list[str]:
    """Return the commands of a page that can be run here, in its order."""
    return [
        c
        for block in blocks(page)
        if (block.kind, block.why) == (kind, None)
        for c in block.commands
    ]
