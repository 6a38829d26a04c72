"""Band: where the loss of a recipe's own runs lay, so that a new run can be held against it.

A band belongs to settings, not to a name: it is made from several seeds by bench/band.py, keeps
the settings of those runs, and is not applied to a run with others. It is a function of the share
of the run that is done, since the schedule is: where a run's rates fell otherwise (stages/pace.py),
so does its band. Runs much longer or shorter are not compared.
Torch-free.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from parrotlet.core.rundir import RECIPE, read_json
from parrotlet.evals.curve import Curve, smoothed, window_of
from parrotlet.optim.schedule import Course
from parrotlet.world.records import fingerprint

FOLDER = Path(__file__).parent.parent / "bands"
LENGTHS = 1.5  # a run may be this many times longer or shorter than those of the band
NOT_SETTINGS = ("recipe", "run", "prompts")  # how a run is named and watched
RHYTHM = (  # of work and watching; how long a run is, in what way it was said: Band.covers
    "minutes",
    "steps",
    "micro_tokens",
    "evaluate_every",
    "save_every",
    "save_seconds",
    "sample_seconds",
)

Word = Literal["on track", "better", "worse"]


@dataclass(frozen=True, kw_only=True)
class Band:
    """Smoothed training loss by share of the run."""

    recipe: str
    stage: str
    runs: int
    steps: tuple[int, int]  # the shortest and the longest run
    settings: Mapping[str, Any]
    points: tuple[tuple[float, float, float], ...]  # share, low, high; shares rise to 1

    def at(self, share: float) -> tuple[float, float]:
        """The low and the high end, between the points on a straight line."""
        shares = [point[0] for point in self.points]
        right = min(bisect_left(shares, share), len(shares) - 1)
        left = max(0, right - 1)
        gap = shares[right] - shares[left]
        part = min(1.0, max(0.0, (share - shares[left]) / gap)) if gap else 0.0
        low, high = (
            self.points[left][side] * (1 - part) + self.points[right][side] * part
            for side in (1, 2)
        )
        return low, high

    def along(self, course: Course | None) -> Band:
        """The band of a run whose rates took this course, where that is known."""
        if course is None:
            return self
        cooldown = self.settings["optim"]["cooldown"]
        return replace(
            self,
            points=tuple(
                (share_of_run(share, course, cooldown), low, high)
                for share, low, high in self.points
            ),
        )

    def covers(self, total: int) -> bool:
        """Whether a run of so many steps can be compared."""
        return self.steps[0] / LENGTHS <= total <= self.steps[1] * LENGTHS


def share_of_run(planned: float, course: Course, cooldown: float) -> float:
    """The share of a run at which it is as far as one by plan, whose rates fall in a line over
    `cooldown` of it, is at the share `planned`: as much of the level part, or of the way down.
    """
    knots, down = [(0.0, 0.0)], 0.0
    for fall, after in zip_longest(course.falls, course.falls[1:]):
        knots.append((1 - cooldown + cooldown * down, fall.turn / course.total))
        if after is not None:
            down += (1 - down) * (after.turn - fall.turn) / max(1, fall.total - fall.turn)
    knots.append((1.0, 1.0))
    right = max(1, bisect_left(knots[:-1], (planned,)))
    (low, begin), (high, end) = knots[right - 1 : right + 1]
    return begin + (end - begin) * (planned - low) / (high - low) if high > low else end


@dataclass(frozen=True)
class Verdict:
    """Where a run stands."""

    word: Word
    step: int
    loss: float  # smoothed
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.word} ({self.loss:.3f}; reference {self.low:.3f} to {self.high:.3f})"


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a run's configuration decides its curve, as JSON.

    Files of data count by their size, wherever they lie, the embedded world by what it yields; what
    a fine-tuning starts from counts by the settings of that run.
    """
    settings = {name: value for name, value in config.items() if name not in NOT_SETTINGS}
    budget = settings.get("budget") or {}
    settings["budget"] = {name: value for name, value in budget.items() if name not in RHYTHM}
    data = dict(settings.get("data") or {})
    data["data"] = [_size(Path(each)) for each in data.get("data") or ()]
    settings["data"] = data
    if not data["data"]:
        settings["world"] = fingerprint()
    start = settings.pop("start", None)
    if start is not None:
        recipe = Path(start) / RECIPE
        known = read_json(recipe) if recipe.exists() else {}
        settings["start"] = settings_of(known.get("config") or {})
    return settings


def _size(path: Path) -> int:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return sum(each.stat().st_size for each in files if each.is_file())


def band_for(recipe: str, stage: str, folder: Path = FOLDER) -> Band | None:
    """The band that ships for a stage ("pretrain", "sft") of a recipe, if there is one."""
    path = folder / f"{recipe}-{stage}.json"
    if not path.exists():
        return None
    found = read_json(path)
    return Band(
        recipe=found["recipe"],
        stage=found["stage"],
        runs=found["runs"],
        steps=(found["steps"][0], found["steps"][1]),
        settings=found["settings"],
        points=tuple((share, low, high) for share, low, high in found["points"]),
    )


def band_of(config: Mapping[str, Any] | None, stage: str, folder: Path = FOLDER) -> Band | None:
    """The band of a run with this configuration; None where its settings are not the band's own."""
    if config is None:
        return None
    band = band_for(config.get("recipe", ""), stage, folder)
    return band if band is not None and band.settings == settings_of(config) else None


def band_of_curve(curve: Curve) -> Band | None:
    """The band of a run as it went."""
    band = band_of(curve.config, curve.verb)
    return None if band is None else band.along(curve.course)


def judge(losses: Sequence[float], step: int, total: int, band: Band | None) -> Verdict | None:
    """The verdict at `step`, from the last losses up to it; None where nothing can be said."""
    if band is None or not band.covers(total):
        return None
    mean = smoothed(list(losses)[-window_of(total) :], window_of(total))[-1] if losses else math.nan
    low, high = band.at(step / total)
    word: Word = "on track"
    if mean < low:
        word = "better"
    elif not mean <= high:  # NaN is worse
        word = "worse"
    return Verdict(word, step, mean, low, high)


def compare(curve: Curve, band: Band | None) -> Verdict | None:
    """Where a run stands now against its band."""
    return judge(curve.losses, curve.steps[-1], curve.total, band)
