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


def trapezoid(step: int, *, total: int, warmup: int, cooldown: float, final: float) -> float:
    """Linear rise over `warmup` steps, constant, linear fall to `final` over the last share.

    `step` counts from 0; the value never reaches zero inside the run, so no step is wasted.
    """
    rise = min(1.0, (step + 1) / (warmup + 1))
    fall_steps = max(1, round(total * cooldown))
    left = (total - step) / fall_steps
    fall = 1.0 if left >= 1.0 else final + (1.0 - final) * max(0.0, left)
    return min(rise, fall)


def momentum_at(step: int, *, final: float) -> float:
    """Muon's momentum, rising linearly: early gradients change too fast to be averaged long."""
    start = min(MOMENTUM_START, final)
    return start + (final - start) * min(1.0, step / MOMENTUM_STEPS)


def make_schedule(config: OptimizerConfig, total: int) -> Schedule:
    """The schedule of a run of `total` steps; warm-up is cut to a fifth of a very short run."""
    warmup = min(config.warmup_steps, total // 5)

    def schedule(step: int) -> Rates:
        lr = trapezoid(
            step, total=total, warmup=warmup, cooldown=config.cooldown, final=config.final_lr
        )
        return Rates(lr=lr, momentum=momentum_at(step, final=config.momentum))

    return schedule
