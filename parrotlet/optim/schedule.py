"""Schedules: step -> what to multiply learning rates by, as pure functions. Torch-free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from parrotlet.optim.config import OptimizerConfig

MOMENTUM_START = 0.85
MOMENTUM_STEPS = 300


@dataclass(frozen=True)
class Rates:
    """The state of a schedule at one step."""

    lr: float  # multiplies every learning rate
    momentum: float  # Muon's


Schedule = Callable[[int], Rates]


@dataclass(frozen=True)
class Fall:
    """From step `turn` on the learning rates fall, in a line, from `level` until step `total`."""

    turn: int
    total: int
    level: float = 1.0


@dataclass(frozen=True)
class Course:
    """A run's learning rates in steps: up over `rise`, level, then down.

    Each of the `falls` holds until the next one begins: a run bends where its steps are counted
    again, and what it did before that stays what it was.
    """

    rise: int
    falls: tuple[Fall, ...]

    @property
    def turn(self) -> int:
        """The step at which the rates begin to fall."""
        return self.falls[0].turn

    @property
    def total(self) -> int:
        """Steps of the whole run."""
        return self.falls[-1].total

    def bent(self, step: int, total: int, *, final: float) -> Course:
        """The course that falls to `final` at another `total`, from `step` on."""
        kept = tuple(fall for fall in self.falls if fall.turn < step)
        level = trapezoid(step, self, final=final) if kept else 1.0
        return Course(self.rise, (*kept, Fall(step, total, level)))


def course_of(config: OptimizerConfig, total: int) -> Course:
    """The course of a run of `total` steps; warm-up is cut to a fifth of a very short run."""
    fall = max(1, round(total * config.cooldown))
    return Course(min(config.warmup_steps, total // 5), (Fall(total - fall, total),))


def course_from(kept: Mapping[str, Any]) -> Course:
    """A course as recipe.json keeps it; earlier versions kept the one fall beside the rise."""
    falls = kept.get("falls") or [{name: kept[name] for name in ("turn", "total")}]
    return Course(kept["rise"], tuple(Fall(**fall) for fall in falls))


def trapezoid(step: int, course: Course, *, final: float) -> float:
    """Linear rise, constant, fall in a line or several: what multiplies the learning rates.

    `step` counts from 0; the value never reaches zero inside the run, so no step is wasted.
    """
    rise = min(1.0, (step + 1) / (course.rise + 1))
    begun = [fall for fall in course.falls if fall.turn < step]
    if not begun:
        return rise
    fall = begun[-1]
    left = max(0.0, (fall.total - step) / max(1, fall.total - fall.turn))
    return min(rise, final + (fall.level - final) * left)


def momentum_at(step: int, *, final: float) -> float:
    """Muon's momentum, rising linearly: early gradients change too fast to be averaged long."""
    start = min(MOMENTUM_START, final)
    return start + (final - start) * min(1.0, step / MOMENTUM_STEPS)


def rates_at(step: int, config: OptimizerConfig, course: Course) -> Rates:
    """The rates of one step."""
    lr = trapezoid(step, course, final=config.final_lr)
    return Rates(lr=lr, momentum=momentum_at(step, final=config.momentum))


def make_schedule(config: OptimizerConfig, total: int) -> Schedule:
    """The schedule of a run of `total` steps."""
    course = course_of(config, total)
    return lambda step: rates_at(step, config, course)
