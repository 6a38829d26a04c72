"""Attention in blocks that no segment crosses says what whole rows say, and so do its gradients."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from parrotlet.model import context
from parrotlet.model.context import CausalContext, block_runs

TIME, LEAST = 16, 4
lengths = st.lists(st.integers(1, TIME), min_size=TIME, max_size=TIME)


def test_runs_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "LEAST_BLOCK", LEAST)

    def starts(*begins: int) -> list[int]:
        return [max(each for each in begins if each <= place) for place in range(TIME)]

    rows = [starts(0, 8), starts(0, 3, 8, 9), starts(0, 4, 8, 12), starts(0), starts(0, 4, 12)]
    assert block_runs(torch.tensor(rows)) == [(2, 8), (1, 4), (2, 16)]
    assert block_runs(torch.tensor(rows[3:4])[:, :14]) == [(1, 14)]
    every_place = torch.arange(14)[None]
    assert block_runs(every_place) == [(1, 7)]  # 7 is odd: no half of it


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [None, 1, 5])
@settings(deadline=None, max_examples=25)
@given(rows=st.lists(lengths, min_size=1, max_size=5), halves=st.booleans())
def test_blocks_change_nothing(
    dtype: torch.dtype, window: int | None, rows: list[list[int]], halves: bool
) -> None:
    segments = torch.stack(
        [torch.repeat_interleave(torch.arange(TIME), torch.tensor(row))[:TIME] for row in rows]
    )
    if halves:  # most rows drawn so have a segment in their middle
        segments[:, TIME // 2 :] += TIME
    ids = torch.zeros_like(segments)
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(*ids.shape, heads, 8, generator=generator).to(dtype).requires_grad_()
        for heads in (4, 2, 2)
    )

    def attended(least: int) -> list[Tensor]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(context, "LEAST_BLOCK", least)
            ctx = CausalContext.of(ids, segments)
        mixed = ctx.attend(0, q, k, v, window)
        assert torch.equal(ctx.attend(1, q, k, v, window), mixed)
        return [mixed, *torch.autograd.grad(mixed.float().square().sum(), (q, k, v))]

    off = 1e-5 if dtype == torch.float32 else 0.05
    for expected, found in zip(attended(TIME), attended(LEAST), strict=True):
        torch.testing.assert_close(found, expected, atol=off, rtol=off)
