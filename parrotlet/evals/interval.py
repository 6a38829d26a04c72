"""Score: how many of how many, with the interval that the true rate lies in.

The interval is Wilson's (Journal of the American Statistical Association 22, 1927): it stays within
0 and 1 and is honest for few cases and for rates near the ends, where p ± 1.96 standard errors is
not. It says what another sample of cases would give, not what another training run would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

Z = 1.959963984540054  # 95% of a normal distribution lies within so many standard deviations


def wilson(passed: float, count: int) -> tuple[float, float]:
    """The two rates p that lie Z of their own standard errors, sqrt(p (1 - p) / count), from the
    rate seen; (0, 1) where nothing was counted.
    """
    assert 0 <= passed <= count, (passed, count)
    if count == 0:
        return 0.0, 1.0
    rate = passed / count
    shrink = 1 + Z * Z / count
    centre = (rate + Z * Z / (2 * count)) / shrink
    half = Z * math.sqrt(rate * (1 - rate) / count + Z * Z / (4 * count * count)) / shrink
    low = 0.0 if passed == 0 else centre - half  # exact at the ends, where rounding would show
    high = 1.0 if passed == count else centre + half
    return low, high


@dataclass(frozen=True)
class Score:
    """`passed` of `count` cases; a case that is partly right adds its grade, from 0 to 1."""

    passed: float
    count: int

    @property
    def rate(self) -> float:
        """From 0 to 1; 0 where nothing was counted."""
        return self.passed / self.count if self.count else 0.0

    @property
    def low(self) -> float:
        """The lower end of the 95% interval."""
        return wilson(self.passed, self.count)[0]

    @property
    def high(self) -> float:
        """The upper end of the 95% interval."""
        return wilson(self.passed, self.count)[1]

    def __str__(self) -> str:
        return (
            f"{self.rate:.1%} ({self.passed:g} of {self.count}, "
            f"95% interval {self.low:.1%} to {self.high:.1%})"
        )
