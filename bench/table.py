"""Rows of figures, and the table that they make."""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Row:
    """A figure: what was measured, run by run, and what it should be."""

    figure: str
    runs: list[float]
    unit: str
    target: float | None = None
    """What the ratio should be, or without a rival what the median should be."""
    rival: str = ""
    rival_runs: list[float] | None = None
    at_least: bool = False
    """Whether more is better."""

    def ratio(self) -> float | None:
        """Return the median of the ratios of runs that followed each other."""
        if self.rival_runs is None:
            return None
        pairs = zip(self.runs, self.rival_runs, strict=True)
        return statistics.median(ours / theirs for ours, theirs in pairs)

    def cells(self) -> list[str]:
        ratio, sign = self.ratio(), ">=" if self.at_least else "<="
        value = statistics.median(self.runs) if ratio is None else ratio
        rival = f"{self.rival}: {summary(self.rival_runs)} {self.unit}" if self.rival_runs else ""
        target, reached = "", ""
        if self.target is not None:
            target = f"{'ratio ' if self.rival else ''}{sign} {number(self.target)}"
            met = value >= self.target if self.at_least else value <= self.target
            reached = "yes" if met else "NO"
        measured = f"{summary(self.runs)} {self.unit}"
        return [self.figure, measured, rival, number(ratio) if ratio else "", target, reached]


def number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def summary(values: list[float]) -> str:
    """Return the median and, of several values, the range and their number."""
    middle = number(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({number(min(values))}..{number(max(values))}, {len(values)} runs)"


def show(rows: list[Row]) -> None:
    """Print the table."""
    heads = ["figure", "median (range, runs)", "rival", "ratio", "target", "reached"]
    table = [heads, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for cells in (heads, ["-" * width for width in widths], *table[1:]):
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        print(f"| {' | '.join(padded)} |")
