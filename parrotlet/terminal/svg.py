"""Line charts as SVG, drawn by pure functions: points in, a string out.

Colours and fonts are the page's (classes c0, c1, ... and CSS variables), so that one drawing suits
a light and a dark page. Not covered: anything but lines over a linear axis.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import dropwhile

Point = tuple[float, float]

WIDTH, HEIGHT = 460, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 12, 26
COLOURS = 6  # classes c0 to c5
MOST_POINTS = 360  # of a line; more would not be seen


@dataclass(frozen=True, kw_only=True)
class Line:
    """A named line: its points in order of x, and perhaps fainter ones behind it."""

    name: str
    points: Sequence[Point]
    colour: int = 0
    behind: Sequence[Point] = ()
    dots: bool = False  # few points, each of them shown
    dashed: bool = False


@dataclass(frozen=True)
class Frame:
    """The ranges that are shown, and where their values lie on the drawing."""

    x: tuple[float, float]
    y: tuple[float, float]

    def at(self, point: Point) -> Point:
        """A point in the drawing's coordinates; y beyond the range stays at its end."""
        across = (point[0] - self.x[0]) / (self.x[1] - self.x[0])
        up = (min(self.y[1], max(self.y[0], point[1])) - self.y[0]) / (self.y[1] - self.y[0])
        left = LEFT + across * (WIDTH - LEFT - RIGHT)
        return round(left, 1), round(HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM), 1)


def chart(
    lines: Sequence[Line],
    *,
    label: str,
    band: Sequence[tuple[float, float, float]] = (),
    high: float | None = None,
) -> str:
    """One chart. `band` is an area of (x, low, high); `high` cuts the y axis off there.

    `label` is read out by screen readers. Points that are not finite are left out.
    """
    shown = [_finite(line.points) for line in lines]
    frame = _frame([point for points in shown for point in points], band, high)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(label)}">',
        *_grid(frame),
    ]
    if band:
        there = [frame.at((x, low)) for x, low, _ in band]
        back = [frame.at((x, top)) for x, _, top in reversed(band)]
        parts.append(f'<polygon class="band" points="{_path([*there, *back])}"/>')
    for line, points in zip(lines, shown, strict=True):
        parts += _drawn(line, points, frame)
    return "\n".join([*parts, "</svg>"])


def _drawn(line: Line, points: Sequence[Point], frame: Frame) -> list[str]:
    colour = f"c{line.colour % COLOURS}"
    dashed = " dashed" if line.dashed else ""
    parts = []
    settled = list(dropwhile(lambda point: point[1] > frame.y[1], points))
    for some, kind in ((_finite(line.behind), "behind"), (settled, f"line{dashed}")):
        if len(some) > 1:
            path = _path([frame.at(point) for point in thinned(some)])
            parts.append(f'<polyline class="{kind} {colour}" points="{path}"/>')
    marked = settled if line.dots else settled[-1:]
    for point in marked:
        x, y = frame.at(point)
        said = f"{escape(line.name)}: {number(point[1])} at {number(point[0])}"
        parts.append(
            f'<circle class="dot {colour}" cx="{x}" cy="{y}" r="3"><title>{said}</title></circle>'
        )
    return parts


def _frame(
    points: Sequence[Point], band: Sequence[tuple[float, float, float]], high: float | None
) -> Frame:
    points = [*points, *((x, low) for x, low, _ in band)] or [(0.0, 0.0)]
    xs, ys = [x for x, _ in points], [y for _, y in points]
    bottom, top = min(ys), max(ys) if high is None else min(max(ys), high)
    room = 0.06 * (top - bottom) or abs(top) * 0.1 or 1.0
    bottom = bottom - room if bottom < 0 or bottom > 0.25 * top else 0.0
    left, right = min(0.0, *xs) if len(xs) > 1 else 0.0, max(xs)
    return Frame((left, right if right > left else left + 1), (bottom, top + room))


def _grid(frame: Frame) -> list[str]:
    parts = []
    for value in ticks(*frame.y, 4):
        _, y = frame.at((frame.x[0], value))
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{y + 4}" text-anchor="end">'
            f"{number(value)}</text>"
        )
    for value in ticks(*frame.x, 5):
        x, _ = frame.at((value, frame.y[0]))
        anchor = "end" if x > WIDTH - RIGHT - 12 else "middle"
        parts.append(
            f'<text class="tick" x="{x}" y="{HEIGHT - 8}" text-anchor="{anchor}">'
            f"{number(value)}</text>"
        )
    return parts


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round values from low to high, 1, 2 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    rough = (high - low) / about
    power: float = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def number(value: float) -> str:
    """A number as short as an axis wants it: 0.25, 3, 1.2k, 4M."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def thinned(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """At most about `most` points: of each stretch its lowest and highest, in their order."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / (most // 2))
    kept: list[Point] = []
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        ends = {min(stretch, key=lambda i: points[i][1]), max(stretch, key=lambda i: points[i][1])}
        kept += [points[index] for index in sorted(ends)]
    return kept if kept[-1] == points[-1] else [*kept, points[-1]]


def _finite(points: Sequence[Point]) -> list[Point]:
    return [point for point in points if math.isfinite(point[1])]


def _path(points: Sequence[Point]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)
