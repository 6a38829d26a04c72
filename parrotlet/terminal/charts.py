"""The charts of runs: loss, validation, learning rate, gradient norm and speed, over each other."""

from __future__ import annotations

import math
from collections.abc import Sequence

from parrotlet.evals.band import Band
from parrotlet.evals.curve import Curve, smoothed
from parrotlet.terminal.page import figure, figures, legend
from parrotlet.terminal.svg import Line, Point, chart

SETTLED = 0.04  # of a run: the losses before are so high that they would flatten the rest


def points(curve: Curve, values: Sequence[float]) -> list[Point]:
    """Values over steps."""
    return [(float(step), value) for step, value in zip(curve.steps, values, strict=True)]


def ceiling(curves: Sequence[Curve]) -> float:
    """Where to cut the axis of losses off."""
    starts = [
        curve.smooth[min(len(curve.smooth) - 1, int(SETTLED * len(curve.smooth)))]
        for curve in curves
    ]
    return max((each for each in starts if math.isfinite(each)), default=1.0)


def run_charts(curves: Sequence[Curve], band: Band | None = None) -> str:
    """All charts of some runs, the n-th run in the n-th colour, and what the colours mean."""
    drawn = [_loss(curves, band)]
    if any(curve.validation for curve in curves):
        drawn.append(_validation(curves))
    drawn += [
        _column(curves, "lr", "Learning rate", "share of the largest", 1),
        _column(curves, "gradient_norm", "Gradient norm", "smoothed", 0),
        _speed(curves),
    ]
    names = [curve.name for curve in curves] if len(curves) > 1 else []
    area = f"the recipe's own runs ({band.runs} seeds)" if band else ""
    return (legend(names, area=area) if names or area else "") + figures(drawn)


def _loss(curves: Sequence[Curve], band: Band | None) -> str:
    lines = [
        Line(
            name=f"{curve.name} training",
            points=points(curve, curve.smooth),
            behind=points(curve, curve.losses) if len(curves) == 1 else (),
            colour=index,
        )
        for index, curve in enumerate(curves)
    ]
    area = (
        [(share * curves[0].total, low, high) for share, low, high in band.points] if band else []
    )
    drawing = chart(lines, label="training loss by step", band=area, high=ceiling(curves))
    return figure("Training loss", "nats a token, by step", drawing)


def _validation(curves: Sequence[Curve]) -> str:
    lines = [
        Line(
            name=f"{curve.name} validation",
            points=[(float(step), loss) for step, loss in curve.validation],
            colour=index,
            dots=True,
        )
        for index, curve in enumerate(curves)
        if curve.validation
    ]
    drawing = chart(lines, label="validation loss by step", high=ceiling(curves))
    return figure("Validation loss", "on text it never learned from", drawing)


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
    drawing = chart(lines, label="tokens a second by step")
    return figure("Speed", "tokens learned from a second", drawing)
