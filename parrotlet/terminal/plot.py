"""`parrotlet plot`: the curves of runs as a page, or in the terminal."""

from __future__ import annotations

import shutil
from dataclasses import replace
from html import escape
from pathlib import Path

from rich.console import Console

from parrotlet.core.errors import UsageError
from parrotlet.core.rundir import write_file
from parrotlet.evals.band import Band, band_of_curve
from parrotlet.evals.curve import Curve, read_curves
from parrotlet.evals.doctor import examine, summary
from parrotlet.terminal.braille import COLOURS, draw
from parrotlet.terminal.charts import ceiling, points, run_charts
from parrotlet.terminal.config_runs import PlotConfig
from parrotlet.terminal.copied import say
from parrotlet.terminal.page import heading, note, page

PAGE = "plot.html"
TITLES = {
    "pretrain": "Pretraining",
    "sft": "Fine-tuning",
    "dpo": "Preferences",
    "rl": "Reinforcement learning",
}
ROWS = 14  # of a plot in the terminal


def plot(config: PlotConfig) -> int:
    """Draw the runs; 0. UsageError where none is named, RunError where one has no curve."""
    if not config.runs:
        raise UsageError("name at least one run: parrotlet plot runs/demo")
    stages = curves_by_stage(config.runs)
    console = Console()
    if config.terminal:
        for curves in stages.values():
            _draw(curves, console)
        return 0
    out = config.out or config.runs[0] / PAGE
    write_file(out, plot_page(stages).encode())
    say(console, f"wrote {out}")
    return 0


def curves_by_stage(runs: tuple[Path, ...]) -> dict[str, list[Curve]]:
    """The curves of all runs, those of the same verb together; named so that they differ."""
    stages: dict[str, list[Curve]] = {}
    for run in runs:
        for curve in read_curves(run):
            name = curve.name if curve.name == run.name else f"{run.name}/{curve.name}"
            stages.setdefault(curve.verb, []).append(replace(curve, name=name))
    return stages


def plot_page(stages: dict[str, list[Curve]]) -> str:
    """The page: for each stage its charts, and what the doctor says of each run."""
    names = list(dict.fromkeys(curve.name for curves in stages.values() for curve in curves))
    body = ['<p class="mark">parrotlet: curves</p>', f"<h1>{escape(', '.join(names))}</h1>"]
    for verb, curves in stages.items():
        band = common_band(curves)
        body += [heading(TITLES.get(verb, verb)), run_charts(curves, band)]
        for curve in curves:
            own = band_of_curve(curve)  # as the doctor judges it, whatever is drawn beside it
            body.append(note(f"{curve.name}: {summary(curve, own)}"))
            body += [
                note(f"{curve.name}, {each.name}: {each.sentence}", bad=True)
                for each in examine(curve, own)
            ]
    return page(", ".join(names), body)


def common_band(curves: list[Curve]) -> Band | None:
    """The band that belongs to all of the curves, if there is one."""
    bands = [band_of_curve(curve) for curve in curves]
    first = bands[0]
    return first if first is not None and all(each == first for each in bands) else None


def _draw(curves: list[Curve], console: Console) -> None:
    width = min(100, shutil.get_terminal_size().columns)
    rows = draw(
        [points(curve, curve.smooth) for curve in curves],
        width=width,
        height=ROWS,
        high=ceiling(curves),
    )
    console.print(f"[bold]{curves[0].verb}[/bold]: training {curves[0].measure} by step")
    for row in rows:
        console.print(row)
    for index, curve in enumerate(curves):
        text = summary(curve, band_of_curve(curve))
        console.print(
            f"[{COLOURS[index % len(COLOURS)]}]━━[/] {curve.name}: {text}", highlight=False
        )
