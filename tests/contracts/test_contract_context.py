"""Every context gives the attention of its docstring: checked against one written out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from parrotlet.model import cache
from parrotlet.model.cache import KVCache, SlotContext
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext, Context

CONFIG = ModelConfig(
    arch="qwen3",
    vocab_size=50,
    context=16,
    depth=2,
    width=24,
    heads=6,
    kv_heads=2,
    head_width=4,
    mlp_width=8,
)


def by_hand(q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
    """One sequence, [T H C] over [T K C]: a loop over tokens and heads."""
    out = torch.empty_like(q)
    for t in range(q.shape[0]):
        first = 0 if window is None else max(0, t - window + 1)
        for head in range(q.shape[1]):
            shared = head * k.shape[1] // q.shape[1]
            scores = k[first : t + 1, shared] @ q[t, head] / math.sqrt(q.shape[2])
            out[t, head] = torch.softmax(scores, 0) @ v[first : t + 1, shared]
    return out


def draw(rows: int, time: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """ids, q, k and v."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(50, (rows, time), generator=generator)
    q = torch.randn(rows, time, 6, 4, generator=generator)
    k = torch.randn(rows, time, 2, 4, generator=generator)
    return ids, q, k, torch.randn(rows, time, 2, 4, generator=generator)


@pytest.mark.parametrize("window", [None, 1, 3, 12, 100])
def test_plain_rows(window: int | None) -> None:
    ids, q, k, v = draw(2, 12)
    context = CausalContext.of(ids)
    assert isinstance(context, Context)
    assert context.positions.tolist() == [list(range(12))] * 2
    expected_left = [row[:1] + row[:-1] for row in ids.tolist()]
    assert context.previous.tolist() == expected_left
    found = context.attend(0, q, k, v, window)
    for row in range(2):
        expected = by_hand(q[row], k[row], v[row], window)
        torch.testing.assert_close(found[row], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("window", [None, 2, 100])
def test_segments_are_rows_of_their_own(window: int | None) -> None:
    ids, q, k, v = draw(2, 9)
    lengths = [[4, 5], [1, 6, 2]]
    segments = torch.tensor([[3] * 4 + [7] * 5, [2] + [1] * 6 + [2] * 2])  # 2 comes back: a new one
    context = CausalContext.of(ids, segments)
    for layer in range(2):
        found = context.attend(layer, q, k, v, window)
        for row in range(2):
            begin = 0
            for length in lengths[row]:
                part = slice(begin, begin + length)
                expected = by_hand(q[row, part], k[row, part], v[row, part], window)
                torch.testing.assert_close(found[row, part], expected, atol=1e-5, rtol=0)
                assert context.positions[row, part].tolist() == list(range(length))
                alone = CausalContext.of(ids[row : row + 1, part])
                assert context.previous[row, part].tolist() == alone.previous[0].tolist()
                begin += length


def test_padding_is_not_a_segment_longer_than_the_context() -> None:
    """gpt2 has no position for its last places; nobody reads them, and they read nobody."""
    ids, q, k, v = draw(1, 9)
    segments = torch.tensor([[1] * 3 + [0] * 6])
    context = CausalContext.of(ids, segments, padding=0)
    assert context.positions.tolist() == [[0, 1, 2] + [0] * 6]
    found = context.attend(0, q, k, v, None)
    whole = CausalContext.of(ids, segments).attend(0, q, k, v, None)
    assert torch.equal(found[:, :3], whole[:, :3])


@pytest.mark.parametrize("window", [None, 4])
@pytest.mark.parametrize("packed", [False, True])
def test_attention_spelled_out_is_the_fused_one(window: int | None, packed: bool) -> None:
    """Short bfloat16 rows in training on a CPU take their own way to the same numbers."""
    ids, *qkv = draw(2, 12)
    segments = (torch.arange(12) >= 5).long().expand(2, 12) if packed else None
    exact = CausalContext.of(ids, segments).attend(0, *qkv, window)
    context = CausalContext.of(ids, segments)
    trained = [tensor.bfloat16().requires_grad_() for tensor in qkv]
    found = context.attend(0, *trained, window)
    assert "Scaled" not in type(found.grad_fn.next_functions[0][0]).__name__, "the fused kernel ran"
    with torch.no_grad():
        fused = context.attend(0, *trained, window)
    assert (found - exact).abs().max() < 0.03 and (fused - exact).abs().max() < 0.03
    found.square().sum().backward()
    wanted = [tensor.clone().requires_grad_() for tensor in qkv]
    CausalContext.of(ids, segments).attend(0, *wanted, window).square().sum().backward()
    for one, other in zip(trained, wanted, strict=True):
        assert one.grad is not None and other.grad is not None
        assert (one.grad - other.grad).abs().mean() < 0.02 * other.grad.std()


def slots_of(dtype: torch.dtype = torch.float32, slots: int = 5, length: int = 14) -> KVCache:
    device = torch.device("cpu")
    return KVCache(CONFIG, slots=slots, length=length, dtype=dtype, device=device)


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("slots", [[0, 1, 2], [4, 0, 1], [3, 1, 4]])
@pytest.mark.parametrize("spare", [0, 3])
@pytest.mark.parametrize("many", [1, cache.MANY])
@torch.no_grad()
def test_slots_each_at_its_own_length(
    monkeypatch: pytest.MonkeyPatch, window: int | None, slots: list[int], spare: int, many: int
) -> None:
    """Three sequences in unequal chunks; row b of a pass is `done[b]` tokens in."""
    monkeypatch.setattr(cache, "MANY", many)
    ids, q, k, v = draw(3, 11)
    stored = slots_of()
    for tensor in (*stored.keys, *stored.values):
        tensor.normal_(generator=torch.Generator().manual_seed(1))  # what others left behind
    done = [0, 0, 0]
    for active, time in [((0, 1, 2), 3), ((1, 2), 4), ((2,), 1), ((0, 1, 2), 1), ((0, 1, 2), 2)]:
        rows = [torch.tensor(list(range(done[row], done[row] + time))) for row in active]

        def chunk(x: Tensor, active=active, rows=rows) -> Tensor:
            return torch.stack([x[row, places] for row, places in zip(active, rows, strict=True)])

        context = SlotContext(
            stored,
            torch.tensor([slots[row] for row in active]),
            torch.tensor([done[row] for row in active]),
            chunk(ids),
            longest=max(done[row] for row in active) + time + spare,
        )
        assert isinstance(context, Context)
        assert context.positions.tolist() == [places.tolist() for places in rows]
        for layer in range(2):
            scale = layer + 1.0  # the layers' keys differ
            found = context.attend(layer, chunk(q), chunk(k) * scale, chunk(v), window)
            for index, row in enumerate(active):
                whole = by_hand(q[row], k[row] * scale, v[row], window)
                torch.testing.assert_close(found[index], whole[rows[index]], atol=1e-5, rtol=0)
        whole_previous = CausalContext.of(ids).previous
        for index, row in enumerate(active):
            assert torch.equal(context.previous[index], whole_previous[row, rows[index]])
            done[row] += time


@torch.no_grad()
def test_padding_on_the_right_is_written_over() -> None:
    ids, q, k, v = draw(1, 8)
    cache = slots_of()
    slot = torch.tensor([2])
    padded = torch.cat((ids[:, :5], torch.full((1, 3), 49)), 1)
    first = SlotContext(cache, slot, torch.tensor([0]), padded, longest=8)
    first.attend(0, q, torch.cat((k[:, :5], k[:, :3] * 9), 1), v, None)
    second = SlotContext(cache, slot, torch.tensor([5]), ids[:, 5:6], longest=6)
    found = second.attend(0, q[:, 5:6], k[:, 5:6], v[:, 5:6], None)
    expected = by_hand(q[0], k[0], v[0], None)[5:6]
    torch.testing.assert_close(found[0], expected, atol=1e-5, rtol=0)
    assert second.previous.tolist() == [[int(ids[0, 4])]]


@torch.no_grad()
def test_a_reset_slot_holds_nothing_not_even_nan() -> None:
    ids, q, k, v = draw(2, 4)
    cache = slots_of(slots=2)
    both = torch.tensor([0, 1])
    SlotContext(cache, both, torch.tensor([0, 0]), ids, longest=4).attend(
        0, q, k, v * torch.tensor([1.0, math.nan])[:, None, None, None], None
    )
    cache.reset(1)
    starts = torch.tensor([4, 0])
    context = SlotContext(cache, both, starts, ids[:, :1], longest=5)
    found = context.attend(0, q[:, :1], k[:, :1], v[:, :1], None)
    torch.testing.assert_close(found[1], by_hand(q[1, :1], k[1, :1], v[1, :1], None))
    assert cache.keys[0][0, :, :4].abs().sum() > 0, "the other slot was reset too"


@torch.no_grad()
def test_bounds_are_ours_to_keep() -> None:
    ids, *_ = draw(1, 4)
    cache = slots_of(length=6)
    with pytest.raises(AssertionError, match="7 tokens do not fit in a slot of 6"):
        SlotContext(cache, torch.tensor([0]), torch.tensor([3]), ids, longest=7)
    with torch.enable_grad(), pytest.raises(AssertionError, match="graph"):
        SlotContext(cache, torch.tensor([0]), torch.tensor([0]), ids, longest=4)
