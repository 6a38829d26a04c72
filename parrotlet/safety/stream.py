"""OutputStream: a reply judged while it is written, the same however it is cut into pieces.

The filters are asked at fixed places, every STRIDE characters of the reply and at its end, about
its last REACH characters; between two places nothing is decided. What is decided on is shown up
to the last WINDOW characters as they are read (invisible ones do not count), so that a stretch
which a filter reacts to as a whole, never longer than that, is found before any of it is shown.
Without such filters nothing is held back past a place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from parrotlet.safety.filter import Filter, Verdict, chain, worse
from parrotlet.safety.normalise import clean
from parrotlet.text.chat import Message

STRIDE = 32
REACH = 600


class OutputStream:
    """Feed it text with `push`, then `flush`; both give what may be shown now.

    When `ended` is true nothing more comes, and `verdict` says why. `verdict` is the gravest one so
    far. `released` counts the characters of the reply that were decided on, shown or `removed`.
    """

    def __init__(
        self,
        filters: Sequence[Filter],
        context: Sequence[Message],
        text: Callable[[str, str], str],
    ) -> None:
        """`text(kind, category)` is what is said: "refuse" or "redact"."""
        self._filters = filters
        self._context = context
        self._text = text
        self._window = max((each.span for each in filters), default=0)
        self._before = ""  # decided on, kept because filters look back
        self._held = ""
        self._marked = -1  # where the stretch taken out last began
        self.released = 0
        self.removed: list[tuple[int, int]] = []
        self.verdict = Verdict("allow")
        self.ended = False

    def push(self, text: str) -> str:
        """More of the reply; what may be shown now."""
        shown, at = "", 0
        while not self.ended:
            room = STRIDE - (self.released + len(self._held)) % STRIDE
            self._held += text[at : at + room]
            at += room
            if at > len(text):
                break
            shown += self._decide(last=False)
        return shown

    def flush(self) -> str:
        """The reply, or a part of it, is over: the rest of what may be shown."""
        return "" if self.ended or not self._held else self._decide(last=True)

    def _decide(self, *, last: bool) -> str:
        """Ask the filters at this place, and show what is certain."""
        verdict = chain(self._filters, self._before + self._held, self._context)
        self.verdict = worse(self.verdict, verdict)
        if verdict.stops:
            self.ended = True
            self._held = ""
            return self._text("refuse", verdict.category) if verdict.action == "refuse" else ""
        begin = self.released - len(self._before)
        spans = [(begin + start, begin + end) for start, end in verdict.spans]
        limit = self.released + (len(self._held) if last else self._certain())
        return self._release(limit, spans, self._text("redact", verdict.category))

    def _certain(self) -> int:
        """How many of the held characters can be in no stretch that is still to be found."""
        view = clean(self._held)
        return int(view.origin[max(len(view.text) - self._window, 0)])

    def _release(self, limit: int, spans: Sequence[tuple[int, int]], mark: str) -> str:
        """Show the held text up to a place, without the spans."""
        shown, at = "", self.released
        for start, end in spans:
            if end <= at or start >= limit:
                continue
            shown += self._held[at - self.released : max(start - self.released, 0)]
            if start > self._marked and start >= at:
                shown += mark
                self._marked = start
            self.removed.append((max(start, at), min(end, limit)))
            at = max(at, min(end, limit))
        shown += self._held[at - self.released : limit - self.released]
        count = limit - self.released
        self._before = (self._before + self._held[:count])[-REACH:]
        self._held = self._held[count:]
        self.released = limit
        return shown
