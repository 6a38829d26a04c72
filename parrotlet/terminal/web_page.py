"""The script that Streamlit runs: the pages, with the judges of curves handed to them."""

from __future__ import annotations

from pathlib import Path

from parrotlet.core.errors import ParrotletError
from parrotlet.evals.band import band_of_curve
from parrotlet.evals.curve import read_curve
from parrotlet.evals.doctor import examine, summary
from parrotlet.ui.app import show
from parrotlet.ui.curves import Judgement


def judge(run: Path) -> Judgement | None:
    """What the doctor says of a run; None where there is nothing to judge yet."""
    try:
        curve = read_curve(run)
    except ParrotletError:
        return None
    band = band_of_curve(curve)
    shown = band if band is not None and band.covers(curve.total) else None
    return Judgement(
        summary=summary(curve, band),
        findings=[(each.name, each.sentence) for each in examine(curve, band)],
        band=[(share * curve.total, low, high) for share, low, high in shown.points]
        if shown
        else [],
    )


if __name__ == "__main__":
    show(judge)
