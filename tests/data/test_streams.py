"""Rows cover an epoch, change from epoch to epoch and are the ring's; evaluation covers all."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.core.errors import DataError, UsageError
from parrotlet.data.batch import IGNORE
from parrotlet.data.packing import pack_rows
from parrotlet.data.streams import PackedStream, RowStream, evaluation_batches, prefetch
from parrotlet.data.tokens import TokenArray
from parrotlet.text.chat import Rendered


def numbered(count: int, *, piece: int = 1_000_000) -> TokenArray:
    """Ids 0, 1, 2, ...: a token says where it stands. In pieces of the given length."""
    ids = np.arange(count, dtype=np.uint32)
    pieces = [ids[first : first + piece] for first in range(0, count, piece)]
    return TokenArray(pieces, num_bytes=count, num_documents=1)


def stream(tokens: TokenArray, **changes: int) -> RowStream:
    settings = {"context": 8, "rows_per_step": 4, "micro_rows": 2, "seed": 1, **changes}
    return RowStream(tokens=tokens, **settings)  # type: ignore[arg-type]


def rows_of(some: RowStream, count: int) -> list[list[int]]:
    """The first `count` rows of a run."""
    rows: list[list[int]] = []
    for step in some(0):
        rows += [row for batch in step for row in batch.tokens.tolist()]
        if len(rows) >= count:
            return rows[:count]
    raise AssertionError("a stream ended")


@given(st.lists(st.integers(0, 9), max_size=8), st.data())
def test_token_array_reads_as_one(lengths: list[int], data: st.DataObject) -> None:
    whole = np.arange(sum(lengths), dtype=np.uint16)
    pieces = np.split(whole, np.cumsum(lengths)[:-1]) if lengths else []
    tokens = TokenArray(pieces, num_bytes=0, num_documents=0)
    assert len(tokens) == len(whole)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    found = tokens.read(start, stop)
    assert found.dtype == np.int64 and found.tolist() == list(range(start, stop))


@settings(deadline=None)
@given(st.integers(9, 300), st.integers(1, 40), st.integers(0, 99))
def test_an_epoch_covers_every_token_once(count: int, piece: int, seed: int) -> None:
    some = stream(numbered(count, piece=piece), seed=seed)
    per_epoch = some.rows_per_epoch
    assert per_epoch == count // 8
    rows = rows_of(some, 3 * per_epoch)
    for epoch in range(3):
        seen = Counter(one for row in rows[epoch * per_epoch :][:per_epoch] for one in row)
        assert max(seen.values()) == 1
        assert len(seen) == count - count % 8


def test_targets_are_one_to_the_right_around_the_ring() -> None:
    for step, _ in zip(stream(numbered(83, piece=10))(0), range(30), strict=False):
        for batch in step:
            assert torch.equal(batch.targets, (batch.tokens + 1) % 83)
            assert torch.equal(batch.tokens, (batch.tokens[:, :1] + torch.arange(8)) % 83)
            assert batch.segments is None and batch.count == batch.tokens.numel()


def test_nothing_is_lost_for_ever() -> None:
    """The tokens that fill no row are others in each epoch, and so are the borders of rows."""
    some = stream(numbered(103))
    rows = rows_of(some, 12 * 20)
    epochs = [rows[first : first + 12] for first in range(0, len(rows), 12)]
    left_out = [frozenset(range(103)) - {one for row in epoch for one in row} for epoch in epochs]
    assert len(set(left_out)) > 10
    assert len({row[0] % 8 for row in rows}) == 8


def test_order_depends_on_seed_and_epoch() -> None:
    runs = [rows_of(stream(numbered(800), seed=seed), 200) for seed in (1, 2)]
    assert runs[0] != runs[1] and runs[0][:100] != runs[0][100:]
    first = [row[0] for row in runs[0][:100]]
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.4


def test_microbatches() -> None:
    step = next(stream(numbered(999), rows_per_step=7, micro_rows=3)(0))
    assert [tuple(batch.tokens.shape) for batch in step] == [(3, 8), (3, 8), (1, 8)]
    assert all(batch.tokens.dtype == batch.targets.dtype == torch.int64 for batch in step)


def test_too_little_text() -> None:
    assert rows_of(stream(numbered(9)), 1)
    with pytest.raises(DataError, match=r"has 8 tokens, fewer than one row of 8.* at most 7"):
        stream(numbered(8))
    with pytest.raises(DataError, match="has 0 tokens"):
        stream(numbered(0))
    with pytest.raises(DataError, match="no packed row"):
        PackedStream(rows=pack_rows([], 8), rows_per_step=1, micro_rows=1, seed=0)


@pytest.mark.parametrize(("rows", "ranks", "nearest"), [(10, 4, 8), (11, 4, 12), (1, 4, 4)])
def test_rows_that_ranks_cannot_share(rows: int, ranks: int, nearest: int) -> None:
    with pytest.raises(UsageError, match=f"{rows} rows .* {ranks} ranks: {nearest} rows"):
        stream(numbered(99), rows_per_step=rows, world_size=ranks)
    with pytest.raises(UsageError, match="microbatch of 0 rows"):
        stream(numbered(99), micro_rows=0)


def test_packed_rows_once_an_epoch() -> None:
    packed = pack_rows(
        [Rendered([n, n, n, n], [False, True, True, n > 3]) for n in range(1, 30)], 7
    )
    some = PackedStream(rows=packed, rows_per_step=4, micro_rows=3, seed=5)
    rows, learned = [], 0
    for step, _ in zip(some(0), range(len(packed)), strict=False):  # 4 epochs
        for batch in step:
            assert batch.segments is not None
            assert batch.count == int((batch.targets != IGNORE).sum())
            learned += batch.count
            rows += [tuple(row) for row in batch.tokens.tolist()]
    assert learned == 4 * packed.counts.sum()
    epochs = [rows[first : first + len(packed)] for first in range(0, len(rows), len(packed))]
    wanted = sorted(tuple(row) for row in packed.tokens.tolist())
    assert all(sorted(epoch) == wanted for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


@settings(deadline=None)
@given(st.integers(0, 100), st.integers(1, 12), st.integers(1, 5))
def test_evaluation_covers_every_token_but_the_first(count: int, context: int, rows: int) -> None:
    pairs = []
    for batch in evaluation_batches(numbered(count), context, rows):
        learned = batch.targets != IGNORE
        assert batch.count == int(learned.sum()) > 0
        assert batch.tokens.shape[0] <= rows and batch.tokens.shape[1] == context
        assert int(batch.tokens.min()) >= 0
        pairs += zip(batch.tokens[learned].tolist(), batch.targets[learned].tolist(), strict=True)
    assert pairs == [(one, one + 1) for one in range(count - 1)]


def test_prefetch_gives_the_same() -> None:
    assert list(prefetch(iter(range(100)))) == list(range(100))
    assert list(prefetch(iter([]))) == []
    assert list(prefetch(iter([None, None]), depth=1)) == [None, None]


def test_prefetch_hands_errors_over_in_their_place() -> None:
    def broken() -> Iterator[int]:
        yield 1
        yield 2
        raise DataError("line 3 is bad")

    found = prefetch(broken(), depth=5)
    assert [next(found), next(found)] == [1, 2]
    with pytest.raises(DataError, match="line 3 is bad"):
        next(found)


@pytest.mark.parametrize("taken", [1, 3])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_prefetch_closes(taken: int, depth: int) -> None:
    """Closed in the middle of an endless iterator: its thread ends, the iterator is closed."""
    made, closed = [], threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                made.append(len(made))
                yield made[-1]
        finally:
            closed.set()

    before = threading.active_count()
    found = prefetch(endless(), depth)
    assert [next(found) for _ in range(taken)] == list(range(taken))
    found.close()
    assert closed.is_set() and threading.active_count() == before
    assert len(made) <= taken + depth + 2, "no further ahead than asked"


def test_prefetch_works_ahead() -> None:
    made: list[int] = []
    found = prefetch((made.append(one) or one for one in range(10)), depth=3)  # type: ignore[func-returns-value]
    assert next(found) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.001)
    assert made[:4] == [0, 1, 2, 3]
    found.close()


def test_a_step_is_read_quickly() -> None:
    """64 rows of 64 tokens in under 3 % of a step of 30 ms, when nothing else has the core."""
    steps = stream(numbered(1_000_000), context=64, rows_per_step=64, micro_rows=64)(0)
    times = []
    for _ in range(200):
        start = time.perf_counter()
        next(steps)
        times.append(time.perf_counter() - start)
    assert sorted(times)[len(times) // 10] < 0.0009
