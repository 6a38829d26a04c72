"""Conversations into rows of one length: best fit, nothing cut, nothing lost, computed once.

Short conversations cross no half, quarter and so on of a row: attention can then be computed apart
in each, which costs less (model/context.py).

A rendered conversation of n ids takes n - 1 places of a row: inputs ids[:-1], targets ids[1:]; the
last id is never an input because nothing follows it. Rows say by segment numbers which places
belong together; attention must stay inside a segment. The padding is a segment too, number 0,
so that its places see each other and no softmax is empty.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parrotlet.core.errors import DataError
from parrotlet.data.arrays import (
    MAKE_AGAIN,
    ArrayFile,
    open_array,
    read_manifest,
    save_array,
    write_manifest,
)
from parrotlet.data.batch import IGNORE, Batch
from parrotlet.text.chat import Rendered

KIND, VERSION = "packed rows", 1
LEAST_PIECE = 128  # of a row that short items have to themselves
ARRAYS = ("tokens", "targets", "segments", "counts")


@dataclass(frozen=True)
class Bin:
    """Items that lie in one piece of a row."""

    capacity: int
    members: list[int] = field(default_factory=list)


def pack(lengths: Sequence[int], capacity: int, least: int | None = None) -> list[Bin]:
    """Indices of `lengths` in bins of at most `capacity`, by best-fit decreasing.

    The longest first, each into the fullest bin that still has room; ties go by index, so the
    answer is a function of the arguments. With `least`, a new bin is halved as often as its first
    item still fits, down to that. Without, never more than 11/9 of the fewest bins plus 4 are
    needed (Johnson et al. 1974). Raises DataError for a length that no bin can hold.
    """
    bins: list[Bin] = []
    rooms: list[int] = []  # the different amounts of room there are, ascending
    with_room: dict[int, list[int]] = {}  # bins by room, the last one is used first
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > capacity:
            raise DataError(
                f"item {index} has a length of {length}, more than the {capacity} of a row: "
                "shorten it or set a longer context"
            )
        found = bisect_left(rooms, length)
        if found == len(rooms):
            room, chosen = _halved(capacity, max(length, least or capacity)), len(bins)
            bins.append(Bin(room))
        else:
            room = rooms[found]
            chosen = with_room[room].pop()
            if not with_room[room]:
                del with_room[room], rooms[found]
        bins[chosen].members.append(index)
        if room - length not in with_room:
            with_room[room - length] = []
            insort(rooms, room - length)
        with_room[room - length].append(chosen)
    return bins


def _halved(capacity: int, least: int) -> int:
    """The capacity, halved as long as it is even and its half is no less than `least`."""
    while capacity % 2 == 0 and capacity // 2 >= least:
        capacity //= 2
    return capacity


@dataclass(frozen=True, kw_only=True)
class PackedRows:
    """R rows of T places; as arrays in memory or mapped from files."""

    tokens: NDArray[Any]  # (R, T) ids, 0 in the padding
    targets: NDArray[Any]  # (R, T) ids, IGNORE where nothing is learned
    segments: NDArray[Any]  # (R, T) 1, 2, ... within a row, 0 in the padding
    counts: NDArray[Any]  # (R,) learned tokens of each row

    def __len__(self) -> int:
        return len(self.counts)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The rows of these numbers as one Batch."""
        return Batch(
            tokens=torch.from_numpy(self.tokens[indices].astype(np.int64)),
            targets=torch.from_numpy(self.targets[indices].astype(np.int64)),
            segments=torch.from_numpy(self.segments[indices].astype(np.int64)),
            count=int(self.counts[indices].sum()),
        )

    def batches(self, micro_rows: int) -> Iterator[Batch]:
        """Every row once, in order: an evaluation."""
        for first in range(0, len(self), micro_rows):
            yield self.batch(np.arange(first, min(first + micro_rows, len(self))))

    def save(self, directory: Path, key: str = "") -> None:
        """Write the arrays, then the manifest that makes them count.

        key: what the rows were made from, in a form that open() compares.
        """
        entries = {name: save_array(directory, name, getattr(self, name)) for name in ARRAYS}
        arrays = {name: asdict(entry) for name, entry in entries.items()}
        write_manifest(directory, {"kind": KIND, "version": VERSION, "key": key, "arrays": arrays})

    @staticmethod
    def open(directory: Path, key: str = "", *, check: bool = True) -> PackedRows:
        """The rows of a directory, mapped; with `check` their hashes are compared first.

        Raises DataError where they are incomplete, altered or made from something else than `key`.
        """
        manifest = read_manifest(directory, KIND, VERSION)
        if manifest["key"] != key:
            raise DataError(
                f"{directory} holds rows made from other conversations, another tokenizer or "
                f"another context; {MAKE_AGAIN}"
            )
        entries = {name: ArrayFile(**manifest["arrays"][name]) for name in ARRAYS}
        arrays = {
            name: open_array(directory, entry, check=check) for name, entry in entries.items()
        }
        return PackedRows(**arrays)


def pack_rows(items: Sequence[Rendered], context: int) -> PackedRows:
    """All items in as few rows of `context` places as best fit finds.

    Raises DataError for an item of more than context + 1 ids (cutting it is the caller's affair),
    and for one of fewer than two, from which nothing can be learned.
    """
    for index, item in enumerate(items):
        assert len(item.ids) == len(item.mask)
        if not 2 <= len(item.ids) <= context + 1:
            raise DataError(
                f"conversation {index} has {len(item.ids)} tokens, and a row of {context} takes "
                f"2 to {context + 1}: shorten it, leave it out or set a longer context"
            )
    bins = pack([len(item.ids) - 1 for item in items], context, LEAST_PIECE)
    return lay_out(bins, items, context)


def lay_out(bins: Sequence[Bin], items: Sequence[Rendered], context: int) -> PackedRows:
    """Rows of `context` places that hold the bins' items, one after the other in each bin.

    Bins of one capacity lie side by side, the largest in the first rows.
    """
    rows: list[list[Bin]] = []
    for capacity in sorted({each.capacity for each in bins}, reverse=True):
        same, beside = [each for each in bins if each.capacity == capacity], context // capacity
        rows += [same[first : first + beside] for first in range(0, len(same), beside)]
    tokens = np.zeros((len(rows), context), dtype=np.int32)
    targets = np.full((len(rows), context), IGNORE, dtype=np.int32)
    segments = np.zeros((len(rows), context), dtype=np.int32)
    for row, number, first, member in _places(rows, items):
        ids = np.asarray(items[member].ids, dtype=np.int32)
        mask = np.asarray(items[member].mask, dtype=bool)
        place = slice(first, first + len(ids) - 1)
        tokens[row, place] = ids[:-1]
        targets[row, place] = np.where(mask[1:], ids[1:], IGNORE)
        segments[row, place] = number
    counts = (targets != IGNORE).sum(axis=1, dtype=np.int64)
    return PackedRows(tokens=tokens, targets=targets, segments=segments, counts=counts)


def _places(
    rows: Sequence[Sequence[Bin]], items: Sequence[Rendered]
) -> Iterator[tuple[int, int, int, int]]:
    """(row, number in it, first place, item) of every item."""
    for row, beside in enumerate(rows):
        number = 0
        for index, each in enumerate(beside):
            first = index * each.capacity
            for member in each.members:
                number += 1
                yield row, number, first, member
                first += len(items[member].ids) - 1
