"""Segments handed to a kernel as they are: what it is given, and that masks say the same.

The kernel itself is of GPUs. Here it is played by one loop over the segments it is told of.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from parrotlet.model import context
from parrotlet.model.context import CausalContext

ROWS, TIME, WIDTH = 3, 12, 8
SEGMENTS = torch.tensor(
    [
        [0] * 5 + [1] * 4 + [2] * 3,
        [7] * 12,
        [0] * 1 + [1] * 8 + [-1] * 3,  # the last three are padding
    ]
)


def kernel(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    begins: Tensor,
    key_begins: Tensor,
    longest: int,
    longest_key: int,
    *,
    window_size: tuple[int, int],
) -> Tensor:
    """varlen_attn as its documentation has it: a window of `before` keys besides a query's own."""
    assert begins.dtype == torch.int32 and torch.equal(begins, key_begins)
    assert begins[0] == 0 and begins[-1] == len(q) == len(k) == len(v)
    assert q.shape[1] == k.shape[1] == v.shape[1]
    before, after = window_size
    assert after == 0
    parts = []
    for begin, end in zip(begins[:-1].tolist(), begins[1:].tolist(), strict=True):
        assert 0 < end - begin <= longest == longest_key
        place = torch.arange(end - begin)
        apart = place[:, None] - place
        seen = (apart >= 0) & ((apart <= before) if before >= 0 else True)
        of_one = (each[begin:end].transpose(0, 1) for each in (q, k, v))
        parts.append(F.scaled_dot_product_attention(*of_one, attn_mask=seen).transpose(0, 1))
    return torch.cat(parts)


@pytest.mark.parametrize("window", [None, 1, 3, 100])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_segments_are_what_masks_say(
    kv_heads: int, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(heads: int) -> Tensor:
        made = torch.randn(ROWS, TIME, heads, WIDTH, generator=generator)
        return made.requires_grad_()

    q, k, v = drawn(4), drawn(kv_heads), drawn(kv_heads)
    ids = torch.zeros(ROWS, TIME, dtype=torch.long)

    def attended() -> list[Tensor]:
        ctx = CausalContext.of(ids, SEGMENTS, padding=-1)
        mixed = ctx.attend(0, q, k, v, window)
        assert torch.equal(ctx.attend(1, q, k, v, window), mixed)
        return [mixed, *torch.autograd.grad(mixed.square().sum(), (q, k, v))]

    masked = attended()
    calls = []
    monkeypatch.setattr(context, "has_varlen", lambda device: True)
    monkeypatch.setattr(context, "VARLEN", (torch.float32,))

    def watched(*given: Any, **more: Any) -> Any:
        calls.append(given)
        return kernel(*given, **more)

    monkeypatch.setattr(context, "varlen_attn", watched, raising=False)
    for expected, found in zip(masked, attended(), strict=True):
        assert torch.allclose(found, expected, atol=1e-5)
    assert len(calls) == 2
    assert calls[0][3] is calls[1][3]  # borders are found once


def test_whole_rows_need_no_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain causal rows go to the kernel that is made for them; heads of odd widths to masks."""
    monkeypatch.setattr(context, "has_varlen", lambda device: True)
    monkeypatch.setattr(context, "VARLEN", (torch.float32,))

    def never(*given: Any, **more: Any) -> None:
        pytest.fail("asked for")

    monkeypatch.setattr(context, "varlen_attn", never, raising=False)
    ids = torch.zeros(ROWS, TIME, dtype=torch.long)
    whole, odd = torch.randn(ROWS, TIME, 2, 8), torch.randn(ROWS, TIME, 2, 20)
    CausalContext.of(ids).attend(0, whole, whole, whole, None)
    CausalContext.of(ids).attend(0, whole, whole, whole, 3)
    CausalContext.of(ids, SEGMENTS, padding=-1).attend(0, odd, odd, odd, None)


def test_a_cpu_has_none() -> None:
    assert not context.has_varlen(torch.device("cpu"))


@pytest.mark.skipif(
    not torch.cuda.is_available() or not context.has_varlen(torch.device("cuda")),
    reason="the kernel is of NVIDIA GPUs from Ampere on",
)
@pytest.mark.parametrize("window", [None, 3])
def test_the_kernel_itself(window: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU: what it makes of segments, and its gradients, beside masks."""
    device = torch.device("cuda")
    made = [torch.randn(ROWS, TIME, heads, 64, device=device) for heads in (4, 2, 2)]
    q, k, v = (each.bfloat16().requires_grad_() for each in made)
    ids = torch.zeros(ROWS, TIME, dtype=torch.long, device=device)

    def attended() -> list[Tensor]:
        ctx = CausalContext.of(ids, SEGMENTS.to(device), padding=-1)
        mixed = ctx.attend(0, q, k, v, window)
        return [mixed, *torch.autograd.grad(mixed.float().square().sum(), (q, k, v))]

    by_kernel = attended()
    monkeypatch.setattr(context, "has_varlen", lambda device: False)
    for found, expected in zip(by_kernel, attended(), strict=True):
        assert torch.allclose(found.float(), expected.float(), atol=0.05)
