"""TokenArray: a long sequence of token ids that lies in several pieces and reads as one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TokenArray:
    """Ids in order, mapped or in memory, with what is known of the text they came from.

    num_bytes: UTF-8 bytes of that text, the denominator of bits per byte.
    num_documents: how many documents it was; a long text that was split counts on both sides.
    """

    def __init__(
        self, pieces: Sequence[NDArray[Any]], *, num_bytes: int, num_documents: int
    ) -> None:
        self.num_bytes = num_bytes
        self.num_documents = num_documents
        self._pieces = tuple(piece for piece in pieces if len(piece))
        self._starts = (0, *accumulate(len(piece) for piece in self._pieces))

    def __len__(self) -> int:
        return self._starts[-1]

    def head(self, count: int) -> TokenArray:
        """The first `count` ids (all, where there are fewer), with their share of the bytes.

        The share is by number of tokens, so it is exact only for the whole.
        """
        if count >= len(self):
            return self
        share = round(self.num_bytes * count / len(self))
        return TokenArray([self.read(0, count)], num_bytes=share, num_documents=1)

    def read(self, start: int, stop: int) -> NDArray[np.int64]:
        """A copy of ids start to stop, which must lie inside."""
        assert 0 <= start <= stop <= len(self), (start, stop, len(self))
        result = np.empty(stop - start, dtype=np.int64)
        self.read_into(result, start)
        return result

    def read_into(self, row: NDArray[np.int64], start: int) -> None:
        """Fill `row` with the ids from `start` on."""
        piece = bisect_right(self._starts, start) - 1
        done = 0
        while done < len(row):
            inside = start + done - self._starts[piece]
            part = self._pieces[piece][inside : inside + len(row) - done]
            row[done : done + len(part)] = part
            done += len(part)
            piece += 1

    def read_ring(self, row: NDArray[np.int64], start: int) -> None:
        """The same with the sequence closed to a ring: after the last id comes the first."""
        before_end = min(len(row), len(self) - start)
        self.read_into(row[:before_end], start)
        if before_end < len(row):
            self.read_into(row[before_end:], 0)
