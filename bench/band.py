"""Make the reference band of a recipe from finished runs of it with several seeds.

python bench/band.py --recipe shakespeare runs/s0 runs/s1 runs/s2

A demo counts as a run of each of its stages. The band goes to parrotlet/bands/RECIPE-STAGE.json and
holds for runs with the settings of these.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

from parrotlet.core.rundir import write_json
from parrotlet.evals.band import FOLDER, make_band, settings_of
from parrotlet.evals.curve import Curve, read_curves


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
