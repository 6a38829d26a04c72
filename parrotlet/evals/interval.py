"""Scores with the interval in which the true rate lies: a rate without one says little."""

from __future__ import annotations

import math
from dataclasses import dataclass

Z95 = 1.959963984540054  # the normal distribution has 95% of its weight within so many deviations


@dataclass(frozen=True)
class Score:
    """How much of `count` cases was right; `passed` may be fractional where grades are."""

    passed: float
    count: int

    @property
    def rate(self) -> float:
        """Share that was right; 0 of nothing."""
        return self.passed / self.count if self.count else 0.0

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return wilson(self.passed, self.count)[0]

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return wilson(self.passed, self.count)[1]

    def __str__(self) -> str:
        return (
            f"{self.rate:.1%} ({self.passed:g} of {self.count}, "
            f"95% interval {self.low:.1%} to {self.high:.1%})"
        )


def wilson(passed: float, count: int) -> tuple[float, float]:
    """The 95% score interval of a rate (Wilson 1927): sensible near 0, near 1 and for few cases."""
    if count == 0:
        return 0.0, 1.0
    rate = passed / count
    spread = Z95**2 / count
    middle = (rate + spread / 2) / (1 + spread)
    half = Z95 * math.sqrt(rate * (1 - rate) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
