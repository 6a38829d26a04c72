"""Stop strings on a stream: what may be shown now, what must be held back, where the text ends.

The text that is shown never holds a stop string, however the text is split into pieces.
"""

from __future__ import annotations

from collections.abc import Sequence


class StopMatcher:
    """Passes text through up to the first stop string.

    Of several, the one that is complete first counts (of those that end together, the longest),
    so that the answer does not depend on where the pieces are split.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """`stops` are not empty strings; there may be none."""
        self._stops = tuple(stops)
        self._held = ""
        self.hit = False  # a stop string was found: nothing more is shown

    def push(self, text: str) -> str:
        """More text; the part of all so far that can be shown now."""
        if self.hit:
            return ""
        self._held += text
        found = [(self._held.find(stop), stop) for stop in self._stops]
        ends = [(at + len(stop), at) for at, stop in found if at >= 0]
        if ends:
            self.hit = True
            shown, self._held = self._held[: min(ends)[1]], ""
            return shown
        keep = max((self._begun(stop) for stop in self._stops), default=0)
        split = len(self._held) - keep
        shown, self._held = self._held[:split], self._held[split:]
        return shown

    def flush(self) -> str:
        """The text ends here: what was held back was no stop string."""
        shown, self._held = self._held, ""
        return shown

    def _begun(self, stop: str) -> int:
        """Length of the longest end of the held text with which `stop` begins."""
        longest = min(len(stop) - 1, len(self._held))
        return next((n for n in range(longest, 0, -1) if self._held.endswith(stop[:n])), 0)
