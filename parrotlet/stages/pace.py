"""How many steps a run takes, and at which rates; where --minutes were given, counted twice.

The few steps that are timed before a run say little about its later minutes: a laptop grows warm,
its neighbours wake up. Until the rates begin to fall nothing depends on how many steps there will
be, so that is where those left are counted again. What is counted is kept in recipe.json: a run
that is resumed goes on with the same course, whatever the machine does then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS
from parrotlet.core.runtime import Runtime
from parrotlet.evals.timing import LEAST_STEPS, steps_left
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Course, Rates, course_of, rates_at
from parrotlet.stages.plan import Plan
from parrotlet.stages.record import settle, settled
from parrotlet.train.parallel import on_main, sum_over_ranks


@dataclass
class Pace:
    """The course of a run, which changes once where `minutes` are to be kept."""

    optim: OptimizerConfig
    course: Course
    minutes: float | None  # None: the steps are fixed
    whole: int  # steps of a round, of which a run takes full ones
    directory: Path
    runtime: Runtime
    say: Callable[[str], None]

    def rates(self, step: int) -> Rates:
        """The rates of a step."""
        return rates_at(step, self.optim, self.course)

    def total(self, step: int) -> int:
        """How many steps there are, asked on every rank after `step` of them."""
        turn = -(-self.course.turn // self.whole) * self.whole
        if self.minutes is not None and step == turn >= LEAST_STEPS:
            self._count_again(self.minutes, step)
        return self.course.total

    def _count_again(self, minutes: float, step: int) -> None:
        left = torch.zeros(1, dtype=torch.long, device=self.runtime.device)
        if self.runtime.is_main:
            records = list(JsonLines(self.directory / METRICS))
            left += steps_left(records, minutes, self.course.total - step)
        rest = int(sum_over_ranks(left, self.runtime))
        before, total = self.course.total, -(-(step + rest) // self.whole) * self.whole
        self.course, self.minutes = replace(self.course, turn=step, total=total), None
        facts = {"steps": total, "course": asdict(self.course)}
        on_main(lambda: settle(self.directory, facts), self.runtime)
        if total != before:
            self.say(f"{minutes:.2g} minutes are {total:,} steps, not {before:,}, at this pace")


def pace_of(
    plan: Plan,
    optim: OptimizerConfig,
    whole: int,
    directory: Path,
    runtime: Runtime,
    say: Callable[[str], None],
) -> Pace:
    """The pace of a run: the course that recipe.json keeps, or the plan's."""
    assert plan.steps is not None
    kept = settled(directory).get("course")
    return Pace(
        optim=optim,
        course=Course(**kept) if kept else course_of(optim, plan.steps),
        minutes=None if kept else plan.budget.minutes,
        whole=whole,
        directory=directory,
        runtime=runtime,
        say=say,
    )
