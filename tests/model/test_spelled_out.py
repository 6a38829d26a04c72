"""Attention spelled out in blocks of queries, against the fused kernel: value and gradients."""

from __future__ import annotations

import pytest
import torch

from parrotlet.model import context
from parrotlet.model.context import CausalContext, segment_mask, softmax_attention


@pytest.mark.parametrize("kv_heads", [1, 4])
@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("time", [8, 20])  # one block and a half; whole blocks are of 8
def test_blocks_are_the_whole(
    monkeypatch: pytest.MonkeyPatch, time: int, segments: bool, kv_heads: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, time, 4, 8), (2, time, kv_heads, 8), (2, time, kv_heads, 8)]
    given = [torch.randn(shape, generator=generator) for shape in shapes]
    mask = None
    if segments:
        cut = torch.arange(time).expand(2, time) // 7
        mask = segment_mask(CausalContext.of(cut, cut).positions, None, torch.float32)
    found = []
    for attend in (softmax_attention, context._spelled_out):
        monkeypatch.setattr(context, "BLOCK", 8)
        q, k, v = (each.clone().requires_grad_() for each in given)
        mixed = attend(q, k, v, mask)
        found.append((mixed, *torch.autograd.grad(mixed.square().sum(), (q, k, v))))
    for fused, spelled in zip(*found, strict=True):
        assert torch.allclose(fused, spelled, atol=1e-5)


def test_training_in_bfloat16_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    original = context._spelled_out

    def counted(q: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        taken.append(q.shape[1])
        return original(q, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(context, "_spelled_out", counted)
    for length in (context.SHORT, context.SHORT + 1):
        each = torch.zeros(1, length, 1, 2, dtype=torch.bfloat16)
        softmax_attention(each, each, each, None)
    assert taken == [context.SHORT]
