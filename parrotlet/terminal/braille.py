"""Lines drawn in a terminal with braille dots: every character is a grid of two by four."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from rich.text import Text

from parrotlet.terminal.svg import Point, number

COLOURS = ("green", "blue", "yellow", "magenta", "cyan", "red")
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))  # Unicode's bits, by row and column
EMPTY = 0x2800
LABEL = 8  # columns of the numbers at the left


def draw(
    lines: Sequence[Sequence[Point]],
    *,
    width: int,
    height: int,
    high: float | None = None,
) -> list[Text]:
    """Lines over each other as rows of text, numbers at both axes included.

    width and height are in characters; `high` cuts the y axis off there.
    """
    shown = [[point for point in line if math.isfinite(point[1])] for line in lines]
    points = [point for line in shown for point in line]
    if not points:
        return [Text("nothing to draw")]
    columns = max(8, width - LABEL - 1)
    right = max(x for x, _ in points)
    left = min(0.0, min(x for x, _ in points))
    low, top = min(y for _, y in points), max(y for _, y in points)
    top = top if high is None else max(low, min(top, high))
    across, up = (right - left) or 1.0, (top - low) or 1.0
    bits: dict[tuple[int, int], int] = {}
    colour: dict[tuple[int, int], int] = {}
    for index, line in enumerate(shown):
        for x, y in _filled(line, across / (2 * columns)):
            column = min(2 * columns - 1, int((x - left) / across * 2 * columns))
            if y > top:
                continue
            row = min(4 * height - 1, int((1 - (y - low) / up) * 4 * height))
            cell = (row // 4, column // 2)
            bits[cell] = bits.get(cell, 0) | DOTS[row % 4][column % 2]
            colour[cell] = index
    rows = []
    for row in range(height):
        label = number(top) if row == 0 else number(low) if row == height - 1 else ""
        text = Text(f"{label:>{LABEL - 1}} ", style="dim")
        text.append("│", style="dim")
        for column in range(columns):
            cell = (row, column)
            style = COLOURS[colour[cell] % len(COLOURS)] if cell in colour else ""
            text.append(chr(EMPTY + bits.get(cell, 0)), style=style)
        rows.append(text)
    ends = f"{number(left):<{columns // 2}}{number(right):>{columns - columns // 2}}"
    rows.append(Text(" " * (LABEL + 1) + ends, style="dim"))
    return rows


def _filled(line: Sequence[Point], step: float) -> list[Point]:
    """The line with points between its own, about one a dot."""
    filled = list(line[:1])
    for (x0, y0), (x1, y1) in pairwise(line):
        pieces = max(1, min(400, math.ceil((x1 - x0) / step)))
        for piece in range(1, pieces + 1):
            part = piece / pieces
            filled.append((x0 + (x1 - x0) * part, y0 + (y1 - y0) * part))
    return filled
