"""The contract of Stream, on every stream that is listed here.

A stream is a function of its position alone, and any number of ranks reads the same global batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.data.batch import IGNORE, Batch, Step
from parrotlet.data.packing import PackedRows, pack_rows
from parrotlet.data.streams import PackedStream, RowStream, Stream
from parrotlet.data.tokens import TokenArray
from parrotlet.text.chat import Rendered

ROWS_PER_STEP = 12  # can be shared by 1, 2, 3 and 4 ranks; no epoch below is a multiple of it


def token_array() -> TokenArray:
    pieces = [np.arange(0, 700, dtype=np.uint16), np.arange(700, 1003, dtype=np.uint16)]
    return TokenArray(pieces, num_bytes=1003, num_documents=1)


def packed_rows() -> PackedRows:
    lengths = [2 + (7 * number) % 15 for number in range(150)]
    return pack_rows(
        [Rendered(range(n), [one % 3 > 0 for one in range(n)]) for n in lengths], context=16
    )


def row_stream(**options: Any) -> Stream:
    return RowStream(tokens=token_array(), context=16, rows_per_step=ROWS_PER_STEP, **options)


def packed_stream(**options: Any) -> Stream:
    return PackedStream(rows=packed_rows(), rows_per_step=ROWS_PER_STEP, **options)


# options: seed, micro_rows, rank, world_size
STREAMS: dict[str, Callable[..., Stream]] = {"rows": row_stream, "packed": packed_stream}
every_stream = pytest.mark.parametrize("make", STREAMS.values(), ids=STREAMS)


def take(stream: Stream, position: int, count: int) -> list[Step]:
    return list(islice(stream(position), count))


def flat(batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """The rows of batches one after another, whatever the microbatches."""
    found = {
        "tokens": torch.cat([batch.tokens for batch in batches]),
        "targets": torch.cat([batch.targets for batch in batches]),
    }
    if batches[0].segments is not None:
        found["segments"] = torch.cat([batch.segments for batch in batches])  # type: ignore[misc]
    return found


def same(one: Sequence[Batch], other: Sequence[Batch]) -> bool:
    left, right = flat(one), flat(other)
    return left.keys() == right.keys() and all(
        torch.equal(left[name], right[name]) for name in left
    )


@every_stream
@settings(max_examples=30, deadline=None)
@given(position=st.integers(0, 40), seed=st.integers(0, 2**31))
def test_restarting_at_a_position_is_never_having_stopped(
    make: Callable[..., Stream], position: int, seed: int
) -> None:
    whole = take(make(seed=seed, micro_rows=5), 0, position + 3)
    restarted = take(make(seed=seed, micro_rows=5), position, 3)
    for before, after in zip(whole[position:], restarted, strict=True):
        assert len(before) == len(after)
        for one, other in zip(before, after, strict=True):
            assert same([one], [other]) and one.count == other.count


@every_stream
def test_far_positions_are_reached_at_once(make: Callable[..., Stream]) -> None:
    stream = make(seed=1, micro_rows=12)
    assert same(take(stream, 10**12, 2)[1], take(stream, 10**12 + 1, 1)[0])


@every_stream
@pytest.mark.parametrize("world_size", [2, 3, 4])
def test_ranks_read_the_same_global_batch(make: Callable[..., Stream], world_size: int) -> None:
    alone = take(make(seed=7, micro_rows=5), 0, 30)
    shares = [
        take(make(seed=7, micro_rows=5, rank=rank, world_size=world_size), 0, 30)
        for rank in range(world_size)
    ]
    for number, step in enumerate(alone):
        together = [batch for share in shares for batch in share[number]]
        assert same(step, together)
        assert sum(batch.count for batch in step) == sum(batch.count for batch in together)
        sizes = {sum(len(batch.tokens) for batch in share[number]) for share in shares}
        assert sizes == {ROWS_PER_STEP // world_size}


@every_stream
@pytest.mark.parametrize("micro_rows", [1, 5, 12, 100])
def test_microbatches_are_a_cut_and_nothing_more(
    make: Callable[..., Stream], micro_rows: int
) -> None:
    whole = take(make(seed=3, micro_rows=ROWS_PER_STEP), 0, 20)
    for one, cut in zip(whole, take(make(seed=3, micro_rows=micro_rows), 0, 20), strict=True):
        assert len(one) == 1 and same(one, cut)
        assert max(len(batch.tokens) for batch in cut) == min(micro_rows, ROWS_PER_STEP)


@every_stream
def test_batches_say_what_is_learned(make: Callable[..., Stream]) -> None:
    for step in take(make(seed=3, micro_rows=5), 0, 20):
        for batch in step:
            assert batch.tokens.dtype == batch.targets.dtype == torch.int64
            assert batch.tokens.shape == batch.targets.shape
            assert batch.segments is None or batch.segments.shape == batch.tokens.shape
            assert batch.count == int((batch.targets != IGNORE).sum())
            assert batch.tokens.is_contiguous() and batch.targets.is_contiguous()


@every_stream
def test_seeds_give_other_runs(make: Callable[..., Stream]) -> None:
    one, other = (take(make(seed=seed, micro_rows=12), 0, 1)[0] for seed in (1, 2))
    assert not same(one, other)


@every_stream
def test_one_stream_serves_several_iterators(make: Callable[..., Stream]) -> None:
    """Iterators of one stream do not disturb each other: the stream has no state."""
    stream = make(seed=3, micro_rows=12)
    ahead, behind = stream(0), stream(0)
    steps = [next(ahead) for _ in range(9)]
    assert all(same(step, next(behind)) for step in steps)
