"""Packing loses, splits and overfills nothing; its rows teach what the conversations teach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.core.errors import DataError
from parrotlet.data.batch import IGNORE
from parrotlet.data.packing import LEAST_PIECE, Bin, PackedRows, pack, pack_rows
from parrotlet.text.chat import Rendered


def best_fit_by_search(lengths: list[int], capacity: int) -> int:
    """How many bins best-fit decreasing opens, written as its definition says."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms[rooms.index(min(fitting))] -= length
        else:
            rooms.append(capacity - length)
    return len(rooms)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60), st.data())
def test_pack(capacity: int, data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, capacity), max_size=80))
    bins = [each.members for each in pack(lengths, capacity)]
    assert sorted(index for one in bins for index in one) == list(range(len(lengths)))
    assert all(0 < sum(lengths[index] for index in one) <= capacity for one in bins)
    assert len(bins) == best_fit_by_search(lengths, capacity)
    assert bins == [each.members for each in pack(lengths, capacity)]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 64), max_size=80), st.integers(1, 64))
def test_pack_in_pieces(lengths: list[int], least: int) -> None:
    """Every bin is the row halved some times, as often as the longest of its items lets it."""
    bins = pack(lengths, 64, least)
    assert sorted(index for one in bins for index in one.members) == list(range(len(lengths)))
    for one in bins:
        held = [lengths[index] for index in one.members]
        assert 0 < sum(held) <= one.capacity
        assert one.capacity in (1, 2, 4, 8, 16, 32, 64)
        assert one.capacity >= least and one.capacity // 2 < max(*held, least)


def test_pack_by_hand() -> None:
    assert pack([3, 6, 4, 5, 2], 10) == [Bin(10, [1, 2]), Bin(10, [3, 0, 4])]
    assert pack([3, 8, 4, 5, 2, 5], 12, 6) == [Bin(12, [1, 2]), Bin(6, [3]), Bin(6, [5]),
                                               Bin(6, [0, 4])]  # fmt: skip
    assert pack([], 10) == []
    with pytest.raises(DataError, match="item 1 has a length of 11, more than the 10"):
        pack([3, 11], 10)


def test_rows_by_hand() -> None:
    long = Rendered([1, 2, 3, 4], [False, False, True, True])
    short = Rendered([1, 5, 6], [False, True, False])
    rows = pack_rows([short, long], 6)
    assert rows.tokens.tolist() == [[1, 2, 3, 1, 5, 0]]
    assert rows.targets.tolist() == [[IGNORE, 3, 4, 5, IGNORE, IGNORE]]
    assert rows.segments.tolist() == [[1, 1, 1, 2, 2, 0]]
    assert rows.counts.tolist() == [3]


def test_short_items_cross_no_half_of_a_row() -> None:
    row = 2 * LEAST_PIECE
    lengths = [row, row - 20, *[LEAST_PIECE - 3] * 5, *[20] * 3]
    rows = pack_rows([Rendered([1] * (n + 1), [True] * (n + 1)) for n in lengths], row)
    crossed = rows.segments[:, LEAST_PIECE - 1] == rows.segments[:, LEAST_PIECE]
    assert crossed.tolist() == [True, True, False, False, False]
    assert rows.segments[1].tolist() == [1] * (row - 20) + [2] * 20
    assert [len(set(row)) for row in rows.segments[2:, : LEAST_PIECE - 3].tolist()] == [1, 1, 1]


rendered = st.lists(st.tuples(st.integers(1, 90), st.booleans()), min_size=2, max_size=17).map(
    lambda pairs: Rendered([one for one, _ in pairs], [learned for _, learned in pairs])
)


@settings(max_examples=100, deadline=None)
@given(st.lists(rendered, max_size=20))
def test_every_pair_is_taught_once(items: list[Rendered]) -> None:
    """Segments read back from the rows are the conversations, each exactly once."""
    rows = pack_rows(items, 16)
    wanted = [
        (
            list(item.ids[:-1]),
            [one if yes else IGNORE for one, yes in zip(item.ids, item.mask, strict=True)][1:],
        )
        for item in items
    ]
    found = []
    for tokens, targets, segments in zip(rows.tokens, rows.targets, rows.segments, strict=True):
        used = int((segments > 0).sum())
        assert (segments[:used] > 0).all() and (np.diff(segments[:used]) >= 0).all()
        assert (targets[used:] == IGNORE).all() and (tokens[used:] == 0).all()
        for number in range(1, int(segments.max()) + 1):
            here = segments == number
            found.append((tokens[here].tolist(), targets[here].tolist()))
    assert sorted(found) == sorted(wanted)
    assert rows.counts.tolist() == (rows.targets != IGNORE).sum(axis=1).tolist()


@pytest.mark.parametrize("length", [0, 1, 18, 40])
def test_items_that_fit_no_row_are_named(length: int) -> None:
    fits = Rendered([1] * 17, [True] * 17)
    assert len(pack_rows([fits], 16)) == 1
    with pytest.raises(DataError, match=f"conversation 1 has {length} tokens.* 2 to 17"):
        pack_rows([fits, Rendered([1] * length, [True] * length)], 16)


@pytest.fixture
def rows() -> PackedRows:
    return pack_rows(
        [Rendered([70_000 + n] * (2 + n % 9), [True] * (2 + n % 9)) for n in range(50)], 12
    )


def test_saved_and_opened(tmp_path: Path, rows: PackedRows) -> None:
    rows.save(tmp_path / "rows", key="abc")
    again = PackedRows.open(tmp_path / "rows", key="abc")
    for name in ("tokens", "targets", "segments", "counts"):
        assert (getattr(again, name) == getattr(rows, name)).all()
    for one, other in zip(rows.batches(4), again.batches(4), strict=True):
        assert torch.equal(one.tokens, other.tokens) and one.count == other.count
        assert one.tokens.dtype == one.targets.dtype == torch.int64


def test_batches_are_every_row_once(rows: PackedRows) -> None:
    batches = list(rows.batches(4))
    assert torch.cat([batch.tokens for batch in batches]).tolist() == rows.tokens.tolist()
    assert [len(batch.tokens) for batch in batches[:-1]] == [4] * (len(batches) - 1)
    assert sum(batch.count for batch in batches) == (rows.targets != IGNORE).sum()


@pytest.mark.parametrize("name", ["tokens", "targets", "segments", "counts"])
def test_altered_rows_are_noticed(tmp_path: Path, rows: PackedRows, name: str) -> None:
    rows.save(tmp_path)
    path = tmp_path / f"{name}.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(DataError, match="altered"):
        PackedRows.open(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        PackedRows.open(tmp_path)


def test_rows_of_something_else(tmp_path: Path, rows: PackedRows) -> None:
    with pytest.raises(DataError, match="holds no complete packed rows"):
        PackedRows.open(tmp_path)
    rows.save(tmp_path, key="one")
    with pytest.raises(DataError, match="made from other conversations"):
        PackedRows.open(tmp_path, key="two")
