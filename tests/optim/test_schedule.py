"""Schedules by hand-computed values."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import (
    Course,
    Fall,
    course_from,
    course_of,
    make_schedule,
    momentum_at,
    trapezoid,
)


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
    assert course == Course(4, (Fall(50, 100),))
    assert trapezoid(step, course, final=0.1) == pytest.approx(value)


def test_a_course_may_end_elsewhere() -> None:
    course = Course(4, (Fall(50, 150),))
    assert trapezoid(75, course, final=0.1) == pytest.approx(0.1 + 0.9 * 0.75)


def test_a_bent_course_goes_on_from_where_it_is_and_keeps_what_was() -> None:
    course = course_of(OptimizerConfig(warmup_steps=4, cooldown=0.5), 100)
    bent = course.bent(80, 90, final=0.1).bent(85, 95, final=0.1)
    assert (bent.turn, bent.total) == (50, 95)
    before = [trapezoid(step, course, final=0.1) for step in range(81)]
    assert [trapezoid(step, bent, final=0.1) for step in range(81)] == before
    level = 0.1 + 0.9 * 0.4
    assert trapezoid(80, bent, final=0.1) == pytest.approx(level)
    assert trapezoid(85, bent, final=0.1) == pytest.approx(0.1 + (level - 0.1) * 0.5)
    assert trapezoid(90, bent, final=0.1) == pytest.approx(0.1 + (level - 0.1) * 0.25)
    assert trapezoid(95, bent, final=0.1) == pytest.approx(0.1)
    assert course_from(json.loads(json.dumps(asdict(bent)))) == bent


def test_a_course_kept_before_there_were_several_falls_is_read() -> None:
    assert course_from({"rise": 4, "turn": 50, "total": 100}) == Course(4, (Fall(50, 100),))


def test_where_nothing_has_fallen_yet_the_end_alone_changes() -> None:
    course = course_of(OptimizerConfig(warmup_steps=4, cooldown=0.5), 100)
    assert course.bent(50, 150, final=0.1) == Course(4, (Fall(50, 150),))


def test_no_step_of_a_run_is_wasted() -> None:
    for total in (1, 2, 5, 100):
        schedule = make_schedule(OptimizerConfig(final_lr=0.0, warmup_steps=50), total)
        assert all(schedule(step).lr > 0 for step in range(total))


def test_momentum_rises_and_stays() -> None:
    assert momentum_at(0, final=0.95) == pytest.approx(0.85)
    assert momentum_at(150, final=0.95) == pytest.approx(0.90)
    assert momentum_at(10_000, final=0.95) == pytest.approx(0.95)
    assert momentum_at(0, final=0.5) == 0.5
