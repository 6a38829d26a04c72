"""Schedules: step -> what to multiply learning rates by, as pure functions. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
class Course:
    """A run's learning rates in steps: up over `rise`, level, from `turn` on down until `total`."""

    rise: int
    turn: int
    total: int


def course_of(config: OptimizerConfig, total: int) -> Course:
    """The course of a run of `total` steps; warm-up is cut to a fifth of a very short run."""
    fall = max(1, round(total * config.cooldown))
    return Course(min(config.warmup_steps, total // 5), total - fall, total)


def trapezoid(step: int, course: Course, *, final: float) -> float:
    """Linear rise, constant, linear fall to `final`: what multiplies the learning rates.

    `step` counts from 0; the value never reaches zero inside the run, so no step is wasted.
    """
    rise = min(1.0, (step + 1) / (course.rise + 1))
    left = (course.total - step) / max(1, course.total - course.turn)
    fall = 1.0 if left >= 1.0 else final + (1.0 - final) * max(0.0, left)
    return min(rise, fall)


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
