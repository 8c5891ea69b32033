# Managed by gpu-ml-template: copier update merges fixes into this file.
"""What to know of an image folder before training on it: counts, baseline, duplicates."""

from __future__ import annotations

import collections

from ..images import Examined
from .find import ImageFile, count, printable, some

SPLITS = ("train", "validation", "test")
MOST_CLASSES = 20


def overview(
    classes: tuple[str, ...],
    parts: dict[str, list[ImageFile]],
    examined: dict[str, Examined],
) -> str:
    """Return a table of classes and splits, and lines on imbalance and on duplicates."""
    counts = {s: collections.Counter(file.label for file in parts[s]) for s in SPLITS}
    total = {label: sum(counts[s][label] for s in SPLITS) for label in range(len(classes))}
    everything = sum(total.values())
    largest = max(total, key=lambda label: total[label])
    smallest = min(total, key=lambda label: (counts["train"][label], total[label]))
    lines = table(classes, counts, total)
    lines.append(
        f"majority baseline: {total[largest] / everything:.1%} accuracy by always answering "
        f"{printable(classes[largest])}"
    )
    lines.append(
        f"smallest class: {printable(classes[smallest])}, "
        f"{count(counts['train'][smallest], 'training image')}"
    )
    return "\n".join([*lines, *duplicates(classes, parts, examined)])


def table(
    classes: tuple[str, ...], counts: dict[str, collections.Counter[int]], total: dict[int, int]
) -> list[str]:
    """Return the lines of a table with a row per class; of many classes, the largest and smallest.

    The last row has the sums.
    """
    labels, hidden = list(total), 0
    if len(labels) > MOST_CLASSES:
        by_size = sorted(labels, key=lambda label: -total[label])
        hidden = len(labels) - MOST_CLASSES
        labels = by_size[: MOST_CLASSES // 2] + by_size[-MOST_CLASSES // 2 :]
    everything = sum(total.values())
    rows: list[tuple[str, ...]] = [("class", *SPLITS, "share")]
    for label in labels:
        numbers = (f"{counts[s][label]:,}" for s in SPLITS)
        rows.append((printable(classes[label]), *numbers, f"{total[label] / everything:.1%}"))
    sums = (f"{sum(counts[s].values()):,}" for s in SPLITS)
    rows.append((f"{len(classes):,} classes", *sums, ""))
    if hidden:
        rows.insert(1 + MOST_CLASSES // 2, (f"... {hidden:,} more", *("",) * 4))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def duplicates(
    classes: tuple[str, ...], parts: dict[str, list[ImageFile]], examined: dict[str, Examined]
) -> list[str]:
    """Return lines on images whose content is in several classes, or in several splits."""
    places: dict[str, list[tuple[str, ImageFile]]] = {}
    for split in SPLITS:
        for file in parts[split]:
            places.setdefault(examined[file.name].digest, []).append((split, file))
    groups = [group for group in places.values() if len(group) > 1]
    in_classes = [g for g in groups if len({file.label for _, file in g}) > 1]
    in_splits = [g for g in groups if len({split for split, _ in g}) > 1]
    lines = []
    for found, where, remedy in (
        (in_classes, "classes", "keep each in the right one"),
        (in_splits, "splits", "test results look better than they are; delete the copies"),
    ):
        if found:
            pairs = [" = ".join(file.name for _, file in group[:3]) for group in found]
            shown = some(pairs, len(pairs))
            lines.append(
                f"duplicates in several {where}: {count(len(found), 'image')} ({shown}): {remedy}"
            )
    copies = sum(len(group) - 1 for group in groups)
    if copies and not lines:
        lines.append(f"duplicates within a class: {count(copies, 'image')} beside the first")
    return lines
