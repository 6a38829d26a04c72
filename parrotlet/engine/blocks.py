"""Blocks: whose keys and values every slot holds, so that a prefix is computed once. Torch-free.

The ids of a slot are cut into blocks. A block is known by a key, the hash of its ids and of the key
before it, so that equal keys mean equal sequences up to there. A lookup follows the keys of a new
sequence as far as any slot has them and then compares ids, to the single id and without trust in
the hash. (Kwon et al., "PagedAttention", 2023, share blocks in this way.)

Storage is one contiguous stretch for each slot, so what is shared is copied, not pointed at: on a
CPU a copy costs far less than to compute it, and attention reads a slot in place. Block tables,
which attention kernels on GPUs can read, would need no copy; they are not here yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

BLOCK = 16  # ids


class Blocks:
    """The ids of every slot, and an index of their blocks."""

    def __init__(self, slots: int) -> None:
        self._ids: list[Sequence[int]] = [()] * slots
        self._keys: list[list[int]] = [[] for _ in range(slots)]
        self._holders: dict[int, dict[int, None]] = {}  # key -> slots, the last to come last

    def hold(self, slot: int, ids: Sequence[int]) -> None:
        """The slot's sequence is `ids` now, which may go on growing; whole blocks are listed."""
        for key in self._keys[slot]:
            self._holders[key].pop(slot, None)
            if not self._holders[key]:
                del self._holders[key]
        self._ids[slot] = ids
        self._keys[slot] = list(dict.fromkeys(_keys(ids)))  # each once, should two ever collide
        for key in self._keys[slot]:
            self._holders.setdefault(key, {})[slot] = None

    def held(self, slot: int) -> int:
        """How many ids the slot's sequence has."""
        return len(self._ids[slot])

    def longest(self, ids: Sequence[int]) -> tuple[int, int]:
        """(slot, count): which slot begins with the most of `ids`, and how many those are."""
        candidates: Sequence[int] | dict[int, None] = range(len(self._ids))
        for key in _keys(ids):
            if key not in self._holders:
                break
            candidates = self._holders[key]
        counts = ((_common(ids, self._ids[slot]), slot) for slot in candidates)
        count, slot = max(counts, key=lambda pair: pair[0])
        return slot, count


def _keys(ids: Sequence[int]) -> Iterator[int]:
    """The key of every whole block."""
    key = 0
    for start in range(0, len(ids) - BLOCK + 1, BLOCK):
        key = hash((key, tuple(ids[start : start + BLOCK])))
        yield key


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many first ids are equal; whole halves are compared, since that is fast."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if list(one[low:middle]) == list(other[low:middle]):
            low = middle
        else:
            high = middle - 1
    return low
