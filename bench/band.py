"""Make the reference band of a recipe from finished runs of it with several seeds.

python bench/band.py --recipe shakespeare runs/s0 runs/s1 runs/s2

A demo counts as a run of each of its stages. The band goes to parrotlet/bands/RECIPE-STAGE.json and
holds for runs with the settings of these.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from parrotlet.core.rundir import write_json
from parrotlet.evals.band import FOLDER, Band, settings_of, share_of_run
from parrotlet.evals.curve import Curve, read_curves

POINTS = 50
DEVIATIONS = 3.0  # of the seeds, on each side
LEAST = 0.01  # of the loss, on each side: another machine rounds differently


def make_band(recipe: str, curves: Sequence[Curve]) -> Band:
    """The band of finished runs of one stage with the same settings and several seeds."""
    assert len(curves) >= 2, "one run has no spread"
    shares = sorted({max(1, round(curves[0].total * k / POINTS)) for k in range(1, POINTS + 1)})
    shown = [step / curves[0].total for step in shares]
    table = [[_value(curve, share) for curve in curves] for share in shown]
    means = [sum(row) / len(row) for row in table]
    spreads = [
        sum((each - mean) ** 2 for each in row) / (len(row) - 1)
        for row, mean in zip(table, means, strict=True)
    ]
    points = []
    for index, (share, mean) in enumerate(zip(shown, means, strict=True)):
        near = spreads[max(0, index - 2) : index + 3]  # few seeds: the spread of neighbours counts
        half = max(DEVIATIONS * math.sqrt(sum(near) / len(near)), LEAST * abs(mean))
        points.append((round(share, 5), round(mean - half, 5), round(mean + half, 5)))
    totals = [curve.total for curve in curves]
    return Band(
        recipe=recipe,
        stage=curves[0].verb,
        runs=len(curves),
        steps=(min(totals), max(totals)),
        settings=settings_of(curves[0].config or {}),
        points=tuple(points),
    )


def _value(curve: Curve, share: float) -> float:
    """The smoothed loss where the run was as far as one by plan is at that share."""
    if curve.course is not None and curve.config is not None:
        share = share_of_run(share, curve.course, curve.config["optim"]["cooldown"])
    return curve.smooth[min(len(curve.smooth), max(1, round(share * curve.total))) - 1]


def bands(recipe: str, runs: list[Path], folder: Path) -> list[Path]:
    """Write the band of every stage of the runs; the files."""
    stages: dict[str, list[Curve]] = {}
    for run in runs:
        for curve in read_curves(run):
            stages.setdefault(curve.verb, []).append(curve)
    written = []
    for stage, curves in stages.items():
        settings = [settings_of(curve.config or {}) for curve in curves]
        assert all(each == settings[0] for each in settings), f"{stage}: settings differ"
        assert all(curve.steps[-1] == curve.total for curve in curves), f"{stage}: not finished"
        named = {(curve.config or {}).get("recipe") for curve in curves}
        assert named == {recipe}, f"{stage}: runs of {named}"
        path = folder / f"{recipe}-{stage}.json"
        write_json(path, dataclasses.asdict(make_band(recipe, curves)))
        written.append(path)
    return written


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", required=True)
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("runs", type=Path, nargs="+")
    arguments = parser.parse_args()
    for path in bands(arguments.recipe, arguments.runs, arguments.out):
        print(path)


if __name__ == "__main__":
    main()
