"""Curve: what a run wrote at every step, ready to be judged, drawn and compared. Torch-free.

Everything comes from metrics.jsonl and recipe.json, so a running, stopped or copied run will do.
A demo is several runs, one a stage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from parrotlet.core.errors import RunError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, STAGES, read_json
from parrotlet.optim.schedule import Course, course_from

WINDOWS = 50  # a smoothed value is the mean over this part of the run,
LEAST_WINDOW = 10  # but over so many steps at least, or a tenth of a short run


@dataclass(frozen=True, kw_only=True)
class Curve:
    """The records of one run, in order of steps."""

    name: str
    records: Sequence[Mapping[str, Any]]
    total: int  # steps planned
    epoch_steps: float | None = None  # steps that read the data once, where that is known
    verb: str = "pretrain"
    config: Mapping[str, Any] | None = None  # as in recipe.json
    course: Course | None = None  # of the rates, where steps were counted on the way

    @cached_property
    def steps(self) -> list[int]:
        """The step of each record."""
        return [record["step"] for record in self.records]

    @cached_property
    def losses(self) -> list[float]:
        """Training loss, in nats a token (or a pair)."""
        return self.column("loss")

    @property
    def unit(self) -> str:
        """What it learns from."""
        return unit_of(self.verb)

    @property
    def measure(self) -> str:
        """The column that says how it goes: of preferences and practice not the loss."""
        return {"dpo": "accuracy", "rl": "reward"}.get(self.verb, "loss")

    @cached_property
    def smooth(self) -> list[float]:
        """The measure, smoothed."""
        return smoothed(self.column(self.measure), self.window)

    @property
    def window(self) -> int:
        """Steps that are averaged for a smoothed value."""
        return window_of(self.total)

    @property
    def validation(self) -> list[tuple[int, float]]:
        """(step, loss) of each evaluation."""
        return [
            (record["step"], record["validation_loss"])
            for record in self.records
            if "validation_loss" in record
        ]

    @property
    def speeds(self) -> list[float]:
        """Units learned from in a second, step by step."""
        return [each["units"] / max(each["lap"], 1e-9) for each in self.records]

    def column(self, name: str) -> list[float]:
        """One value of every record; NaN where it is missing."""
        return [float(record.get(name, math.nan)) for record in self.records]


def unit_of(verb: str) -> str:
    """What a stage learns from, which its metrics count."""
    return "pairs" if verb == "dpo" else "tokens"


def window_of(total: int) -> int:
    """Steps that are averaged in a run of `total`."""
    return max(1, min(LEAST_WINDOW, total // 10), total // WINDOWS)


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of the last `window` finite values, at every place; NaN before the first."""
    result, total, count = [], 0.0, 0
    for index, value in enumerate(values):
        if math.isfinite(value):
            total, count = total + value, count + 1
        if index >= window and math.isfinite(values[index - window]):
            total, count = total - values[index - window], count - 1
        result.append(total / count if count else math.nan)
    return result


def read_curve(directory: Path) -> Curve:
    """The curve of one run. RunError where there is none yet."""
    records = list(JsonLines(directory / METRICS))
    if not records:
        raise RunError(f"{directory} has no curve yet: {METRICS} is missing or empty")
    recipe = read_json(directory / RECIPE) if (directory / RECIPE).exists() else {}
    course = recipe.get("course")
    return Curve(
        name=directory.name,
        records=records,
        total=max(recipe.get("steps") or 0, records[-1]["step"]),
        epoch_steps=recipe.get("epoch_steps"),
        verb=recipe.get("verb", "pretrain"),
        config=recipe.get("config"),
        course=course_from(course) if course else None,
    )


def read_curves(path: Path) -> list[Curve]:
    """The curves of a run, or of each stage of a demo. RunError where there is none."""
    if not path.is_dir():
        raise RunError(f"{path} is not a run: there is no such folder")
    if (path / METRICS).exists():
        return [read_curve(path)]
    stages = [path / name for name in STAGES if (path / name / METRICS).exists()]
    if not stages:
        raise RunError(
            f"{path} has no curves: neither {METRICS} nor a stage ({', '.join(STAGES)}) is in it"
        )
    return [read_curve(stage) for stage in stages]
