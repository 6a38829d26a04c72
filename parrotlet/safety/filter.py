"""Filter: the seam through which text is judged, before and while it is shown.

A person adds one in one file: an object with `span` and `check`, given to `Filters(...,
more=(mine,))`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from parrotlet.text.chat import Message

Action = Literal["allow", "warn", "redact", "refuse", "end"]
SEVERITY: tuple[Action, ...] = ("allow", "warn", "redact", "refuse", "end")
Direction = Literal["input", "output", "tool"]
DIRECTIONS: tuple[Direction, ...] = ("input", "output", "tool")
WINDOW = 128  # characters of an output that are held back, at most: no span is longer


@dataclass(frozen=True)
class Verdict:
    """What to do with a text, and why. `spans`: what to take out of it, if anything."""

    action: Action
    category: str = ""
    score: float = 0.0
    reason: str = ""  # a short sentence for people
    direction: Direction = "output"
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def stops(self) -> bool:
        """Whether the text must not be shown, nor what would follow it."""
        return self.action in ("refuse", "end")


class Filter(Protocol):
    """A pure judge of text in its conversation.

    `span` is the length of the longest stretch it reacts to as a whole, at most WINDOW characters;
    no character of such a stretch of an output is ever shown. 0 for one that judges the whole text.
    """

    @property
    def span(self) -> int: ...

    def check(self, text: str, context: Sequence[Message]) -> Verdict:
        """The verdict on `text`, said after `context`. Of an output it is asked about the end."""
        ...


def worse(one: Verdict, other: Verdict) -> Verdict:
    """The graver of two; the first of equals."""
    return other if SEVERITY.index(other.action) > SEVERITY.index(one.action) else one


def chain(filters: Sequence[Filter], text: str, context: Sequence[Message]) -> Verdict:
    """The gravest verdict of all filters, the first one among equals, with every span to take out;
    "allow" of none.
    """
    worst = Verdict("allow")
    spans: set[tuple[int, int]] = set()
    for each in filters:
        verdict = each.check(text, context)
        spans.update(verdict.spans)
        worst = worse(worst, verdict)
    return replace(worst, spans=tuple(sorted(spans)))
