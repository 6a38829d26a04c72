"""Filter: the seam through which text is judged, before and while it is shown.

No filter is active yet; the seam is here so that generation already passes through it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from parrotlet.text.chat import Message

Action = Literal["allow", "warn", "redact", "refuse", "end"]
SEVERITY: tuple[Action, ...] = ("allow", "warn", "redact", "refuse", "end")


@dataclass(frozen=True)
class Verdict:
    """What to do with a text, and why."""

    action: Action
    category: str = ""
    score: float = 0.0


class Filter(Protocol):
    """A pure judge of text in its conversation; rules have a bounded length."""

    def check(self, text: str, context: Sequence[Message]) -> Verdict:
        """The verdict on `text`, said after `context`."""
        ...


def chain(filters: Sequence[Filter], text: str, context: Sequence[Message]) -> Verdict:
    """The most severe verdict of all filters; the first one among equals; "allow" of none."""
    worst = Verdict("allow")
    for each in filters:
        verdict = each.check(text, context)
        if SEVERITY.index(verdict.action) > SEVERITY.index(worst.action):
            worst = verdict
    return worst
