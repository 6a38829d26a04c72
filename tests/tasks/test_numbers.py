"""Numbers as graders read them, by hand."""

from __future__ import annotations

from fractions import Fraction

import pytest

from parrotlet.tasks.numbers import numbers_in


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", []),
        ("It is 42.", [42]),
        ("12-30 and 12 - 30", [12, 30, 12, 30]),
        ("-5, (-6), x = -7, −8", [-5, -6, -7, -8]),
        ("1-2-3", [1, 2, 3]),
        ("$1,234.50, then 2.5.", [Fraction("1234.5"), Fraction("2.5")]),
        ("1,234,567", [1234567]),
        ("3, 4,5", [3]),
        (".5 and 5%", [Fraction(1, 2), 5]),
        ("a1 1b 0x10 1,23 2.5.3 v1.2", []),
        ("1/2 at 10:30", [1, 2, 10, 30]),
        ("٣ ２", []),
    ],
)
def test_numbers(text: str, numbers: list[Fraction | int]) -> None:
    assert numbers_in(text) == numbers
