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

LATEST = 0.9  # of a run: with a shorter cool-down there is nothing left to count


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

    def at(self, step: int) -> Course:
        """The course as it is known after `step` steps, asked on every rank.

        At the turn it counts again and writes to recipe.json.
        """
        if self.minutes is not None and step == self.course.turn:
            self._count_again(self.minutes, step)
        return self.course

    def _count_again(self, minutes: float, step: int) -> None:
        left = torch.zeros(1, dtype=torch.long, device=self.runtime.device)
        if self.runtime.is_main:
            records = list(JsonLines(self.directory / METRICS))
            left += steps_left(records, minutes, self.course.total - step)
        rest = int(sum_over_ranks(left, self.runtime))
        before, total = self.course.total, -(-(step + rest) // self.whole) * self.whole
        self.course, self.minutes = replace(self.course, total=total), None
        facts = {"steps": total, "course": asdict(self.course)}
        on_main(lambda: settle(self.directory, facts), self.runtime)
        if total != before:
            self.say(f"at this pace {total:,} steps, not {before:,}, for {minutes:g} minutes")


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
    course = Course(**kept) if kept else course_of(optim, plan.steps)
    turn = -(-course.turn // whole) * whole  # a run is stopped, and so counted, between rounds
    counted = not kept and plan.budget.minutes and LEAST_STEPS <= turn <= LATEST * course.total
    return Pace(
        optim=optim,
        course=replace(course, turn=turn) if counted else course,
        minutes=plan.budget.minutes if counted else None,
        whole=whole,
        directory=directory,
        runtime=runtime,
        say=say,
    )
