# Managed by gpu-ml-template: copier update merges fixes into this file.
"""Pages and Markdown from the Jinja2 templates in templates/, with images inside the page."""

from __future__ import annotations

import base64
import functools
import io
import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jinja2
from markupsafe import Markup

from .format import label, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

YAML_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
MARKDOWN = re.compile(r"[\\`*\[\]{}|#~$]|(?<!\w)_|_(?!\w)")


@dataclass(frozen=True)
class Image:
    """A figure as a PNG."""

    title: str
    """What it shows: its heading and its alternative text."""
    png: bytes
    width: int
    """Width in the page, in CSS pixels."""

    @property
    def source(self) -> str:
        """The image as a data URL."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


@dataclass(frozen=True)
class Table:
    """Texts and numbers in rows; the first cell of each row names it."""

    title: str
    headings: Sequence[Any]
    """Names of the columns; empty for a table without."""
    rows: Sequence[Sequence[Any]]


def draw(title: str, figure: Figure) -> Image:
    """Return a Matplotlib figure as an image, shown in the size that the figure has in inches."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return Image(title, buffer.getvalue(), round(96 * figure.get_figwidth()))


def render(template: str, **values: Any) -> str:
    """Return a template of templates/ with its values; in HTML, values are text, not markup."""
    return _encodable(_environment().get_template(template).render(**values))


def table(headings: Sequence[Any], rows: Sequence[Sequence[Any]]) -> Markup:
    """Return a piece of HTML: a table, whose columns may have headings."""
    return _part("table", headings, rows)


def picture(image: Image) -> Markup:
    """Return a piece of HTML: an image that is part of the page."""
    return _part("picture", image)


def bars(rows: Sequence[tuple[str, float, str, str]]) -> Markup:
    """Return a piece of HTML: horizontal bars (name, length from 0 to 1, color, text)."""
    return _part("bars", rows)


def _part(macro: str, *values: Any) -> Markup:
    """Return what a macro of macros.html makes of the values."""
    macros = _environment().get_template("macros.html").module
    return Markup(_encodable(getattr(macros, macro)(*values)))


def _encodable(text: str) -> str:
    """Return a text with a ? for each part of a file name that is not Unicode."""
    return text.encode("utf-8", "replace").decode("utf-8")


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__name__.rpartition(".")[0]),
        autoescape=jinja2.select_autoescape(["html"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters = {"number": number, "label": label, "yaml": yaml, "markdown": markdown}
    environment.filters.update(filters | {"shell": shlex.quote})
    return environment


def yaml(value: Any) -> str:
    """Return a text or a number as YAML, which every parser reads as this value."""
    text = json.dumps(value, ensure_ascii=False)
    if isinstance(value, float):
        return text if "." in text else text.replace("e", ".0e")  # YAML 1.1: 1e-05 is a text
    return YAML_ESCAPED.sub(lambda hit: f"\\u{ord(hit[0]):04x}", text)


def markdown(value: Any) -> str:
    """Return a value as text in Markdown: on one line, without markup, fit for a table's cell."""
    text = " ".join(number(value).split())
    text = MARKDOWN.sub(lambda hit: f"\\{hit[0]}", text)
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
