"""Wilson's interval against published values and against the equation that defines it."""

from __future__ import annotations

import math

import pytest

from parrotlet.evals.interval import Score, Z, wilson


@pytest.mark.parametrize(
    ("passed", "count", "low", "high"),
    [  # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_values(passed: int, count: int, low: float, high: float) -> None:
    assert wilson(passed, count) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("passed", "count"), [(1, 2), (7, 10), (2.5, 40), (999, 1000)])
def test_ends_solve_the_defining_equation(passed: float, count: int) -> None:
    for end in wilson(passed, count):
        deviation = abs(passed / count - end)
        assert deviation == pytest.approx(Z * math.sqrt(end * (1 - end) / count))


def test_ends_are_exact_and_mirrored() -> None:
    for count in range(1, 200):
        assert wilson(0, count)[0] == 0.0 and wilson(count, count)[1] == 1.0
        low, high = wilson(count // 3, count)
        assert wilson(count - count // 3, count) == pytest.approx((1 - high, 1 - low))
        assert 0 <= low <= count // 3 / count <= high <= 1


def test_score() -> None:
    score = Score(15, 148)
    assert (score.rate, score.low, score.high) == (15 / 148, *wilson(15, 148))
    assert str(score) == "10.1% (15 of 148, 95% interval 6.2% to 16.0%)"


def test_nothing_counted_says_nothing() -> None:
    empty = Score(0, 0)
    assert (empty.rate, empty.low, empty.high) == (0.0, 0.0, 1.0)
