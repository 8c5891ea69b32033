"""Count lines that have to be read as code: no blanks, comments or docstrings."""

import ast
import io
import re
import tokenize

LAYOUT = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(source: str) -> int:
    """Return the number of lines of code of a Python file."""
    docstrings = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in LAYOUT
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(code - docstrings)


def text_lines(source: str) -> int:
    """Return the number of lines of a YAML or Jinja file without blanks and comments."""
    lines = re.sub(r"\{#.*?#\}", "", source, flags=re.DOTALL).splitlines()
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in lines)
