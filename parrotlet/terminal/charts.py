"""The charts of runs: loss, validation, learning rate, gradient norm and speed, over each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from parrotlet.evals.band import Band
from parrotlet.evals.curve import Curve, smoothed
from parrotlet.terminal.page import figure, figures, legend
from parrotlet.terminal.svg import Line, Point, chart

UNITS = {"loss": "nats a token", "accuracy": "share of the pairs", "reward": "mean of the replies"}
SETTLED = 0.06  # of a run: the losses before are so high that they would flatten the rest


def points(curve: Curve, values: Sequence[float]) -> list[Point]:
    """Values over steps."""
    return [(float(step), value) for step, value in zip(curve.steps, values, strict=True)]


def ceiling(curves: Sequence[Curve]) -> float:
    """Where to cut the axis of losses off."""
    if any(curve.measure != "loss" for curve in curves):  # a share, which rises
        shares = (each for curve in curves for each in curve.column(curve.measure))
        return max(filter(math.isfinite, shares), default=1.0)
    starts = [
        curve.smooth[min(len(curve.smooth) - 1, int(SETTLED * len(curve.smooth)))]
        for curve in curves
    ]
    return max((each for each in starts if math.isfinite(each)), default=1.0)


def run_charts(curves: Sequence[Curve], band: Band | None = None) -> str:
    """All charts of some runs, the n-th run in the n-th colour, and what the colours mean."""
    drawn = [
        _loss(curves, band),
        _column(curves, "lr", "Learning rate", "share of the largest", 1),
        _column(curves, "gradient_norm", "Gradient norm", "smoothed", 0),
        _speed(curves),
    ]
    names = [curve.name for curve in curves] if len(curves) > 1 else []
    area = f"the recipe's own runs ({band.runs} seeds)" if band else ""
    return (legend(names, area=area) if names or area else "") + figures(drawn)


def _loss(curves: Sequence[Curve], band: Band | None) -> str:
    """Training loss as a line, validation loss dashed, in the run's colour."""
    lines = []
    for index, curve in enumerate(curves):
        alone = points(curve, curve.column(curve.measure)) if len(curves) == 1 else ()
        name = f"{curve.name}, training"
        shown = points(curve, curve.smooth)
        lines.append(Line(name=name, points=shown, behind=alone, colour=index))
        if curve.validation and curve.measure == "loss":
            name = f"{curve.name}, validation"
            shown = [(float(step), loss) for step, loss in curve.validation]
            lines.append(Line(name=name, points=shown, colour=index, dots=True, dashed=True))
    total = curves[0].total
    area = [(share * total, low, high) for share, low, high in band.points] if band else []
    drawing = chart(lines, label=f"{curves[0].measure} by step", band=area, high=ceiling(curves))
    measure = curves[0].measure
    unit = f"{UNITS[measure]} by step"
    if any(line.dashed for line in lines):
        unit += "; dashed: unseen text"
    return figure(measure.capitalize(), unit, drawing)


def _column(curves: Sequence[Curve], column: str, title: str, unit: str, window: int) -> str:
    """One value of the records; smoothed over the curve's window where `window` is 0."""
    lines = [
        Line(
            name=curve.name,
            points=points(curve, smoothed(curve.column(column), window or curve.window)),
            colour=index,
        )
        for index, curve in enumerate(curves)
    ]
    return figure(title, unit, chart(lines, label=f"{title.lower()} by step"))


def _speed(curves: Sequence[Curve]) -> str:
    lines = [
        Line(
            name=curve.name,
            points=points(curve, smoothed(curve.speeds, curve.window))[1:],
            colour=index,
        )
        for index, curve in enumerate(curves)
    ]
    drawing = chart(lines, label=f"{curves[0].unit} a second by step")
    return figure("Speed", f"{curves[0].unit} learned from a second", drawing)
