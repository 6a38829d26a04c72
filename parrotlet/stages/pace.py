"""How many steps a run takes, and at which rates; where --minutes were given, counted on the way.

The few steps that are timed before a run say little about its later minutes: a laptop grows warm,
its neighbours wake up. Until the rates begin to fall nothing depends on how many steps there will
be, so that is where those left are counted again, and then whenever half of these are done, but for
the last tenth: from there the rates fall to the same end in more steps or fewer. What is counted is
kept in recipe.json, with what was before it: a run that is resumed has the same course up to there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from parrotlet.core.errors import RunError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS
from parrotlet.core.runtime import Runtime
from parrotlet.evals.timing import LEAST_STEPS, steps_left
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Course, Rates, course_from, course_of, rates_at
from parrotlet.stages.plan import Plan
from parrotlet.stages.record import settle, settled
from parrotlet.train.parallel import on_main, sum_over_ranks

LATEST = 0.9  # of a run: after that there is too little left to count


@dataclass
class Pace:
    """The course of a run, which bends on the way where `minutes` are to be kept."""

    optim: OptimizerConfig
    course: Course
    minutes: float  # that are to be kept
    count_at: int | None  # the step at which those left are counted; None: they are fixed
    whole: int  # steps of a round, of which a run takes full ones
    directory: Path
    runtime: Runtime
    say: Callable[[str], None]

    def rates(self, step: int) -> Rates:
        """The rates of a step."""
        return rates_at(step, self.optim, self.course)

    def at(self, step: int) -> Course:
        """The course as it is known after `step` steps, asked on every rank.

        Where it is time to, it counts again and writes to recipe.json.
        """
        if step == self.count_at:
            self._count_again(step)
            self.plan_count((step + self.course.total) // 2)
        return self.course

    def plan_count(self, step: int) -> None:
        """Count next at `step`, or at the end of its round; with too few steps done to tell, or
        left to change, not at all.
        """
        step = self._rounds(step)
        self.count_at = step if LEAST_STEPS <= step <= LATEST * self.course.total else None

    def _rounds(self, steps: int) -> int:
        return -(-steps // self.whole) * self.whole

    def _count_again(self, step: int) -> None:
        before, left = self.course, 0
        if self.runtime.is_main:
            records = list(JsonLines(self.directory / METRICS))
            left = steps_left(records, self.minutes, before.total - step)
        known = sum_over_ranks(torch.tensor(left, device=self.runtime.device), self.runtime)
        total = self._rounds(step + int(known))
        self.course = before.bent(step, total, final=self.optim.final_lr)
        facts = {"steps": total, "course": asdict(self.course)}
        try:
            on_main(lambda: settle(self.directory, facts), self.runtime)
        except RunError as error:  # a full disk, that training outlives: not counted then
            self.course = before
            self.say(f"it stays at {before.total:,} steps: {error}")
        if self.course.total != before.total:
            self.say(
                f"at this pace {total:,} steps in {self.minutes:g} minutes, not {before.total:,}"
            )


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
    course = course_from(kept) if kept else course_of(optim, plan.steps)
    minutes = plan.budget.minutes or 0.0
    pace = Pace(optim, course, minutes, None, whole, directory, runtime, say)
    last = course.falls[-1]
    if minutes and not kept:
        pace.plan_count(last.turn)
    if minutes and pace.count_at is None:
        pace.plan_count((last.turn + last.total) // 2)
    return pace
