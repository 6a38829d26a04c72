"""Streams: the endless, exactly repeatable sequence of Steps that a stage trains on.

Row i of a run is a pure function of (seed, epoch, i), so a loader's whole state is one integer:
the number of Steps consumed. Any number of ranks reads the same global batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from parrotlet.data.batch import Step


class Stream(Protocol):
    """`stream(position)` continues after `position` Steps have been consumed."""

    def __call__(self, position: int) -> Iterator[Step]:
        """An endless iterator of this rank's Steps, from `position` on."""
        ...
