"""Schedules by hand-computed values."""

from __future__ import annotations

import pytest

from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import Course, course_of, make_schedule, momentum_at, trapezoid


@pytest.mark.parametrize(
    ("step", "value"),
    [
        (0, 0.2),
        (3, 0.8),
        (4, 1.0),
        (49, 1.0),
        (50, 1.0),  # 50 of 50 cooling steps left
        (75, 0.1 + 0.9 * 0.5),
        (99, 0.1 + 0.9 * 0.02),
    ],
)
def test_trapezoid(step: int, value: float) -> None:
    course = course_of(OptimizerConfig(warmup_steps=4, cooldown=0.5), 100)
    assert course == Course(rise=4, turn=50, total=100)
    assert trapezoid(step, course, final=0.1) == pytest.approx(value)


def test_a_course_may_end_elsewhere() -> None:
    course = Course(rise=4, turn=50, total=150)
    assert trapezoid(75, course, final=0.1) == pytest.approx(0.1 + 0.9 * 0.75)


def test_no_step_of_a_run_is_wasted() -> None:
    for total in (1, 2, 5, 100):
        schedule = make_schedule(OptimizerConfig(final_lr=0.0, warmup_steps=50), total)
        assert all(schedule(step).lr > 0 for step in range(total))


def test_momentum_rises_and_stays() -> None:
    assert momentum_at(0, final=0.95) == pytest.approx(0.85)
    assert momentum_at(150, final=0.95) == pytest.approx(0.90)
    assert momentum_at(10_000, final=0.95) == pytest.approx(0.95)
    assert momentum_at(0, final=0.5) == 0.5
