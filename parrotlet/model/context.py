"""Context: how attention meets the past. A model asks its context; it never sees a cache.

CausalContext is for whole rows (training, evaluation); cache.py has the one that remembers.
"""

from __future__ import annotations

from itertools import groupby
from typing import Protocol, cast, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from parrotlet.model.config import SHORT

if torch.version.cuda is not None:  # its import takes as long as PyTorch's own
    from torch.nn.attention.varlen import varlen_attn

LEAST_BLOCK = 128  # in shorter ones a CPU loses by more and smaller products what it gains
BLOCK = 256  # queries at a time, at most, where attention is spelled out
VARLEN = (torch.bfloat16, torch.float16)  # what the kernel of segment_attention takes


@runtime_checkable  # so that tests can check arguments
class Context(Protocol):
    """One forward pass's view of positions, neighbours and keys."""

    positions: Int[Tensor, "B T"]
    previous: Int[Tensor, "B T"]  # ids one to the left, across cache and chunk borders; where there
    # is none (a row's or segment's first token) the id itself

    def attend(
        self,
        layer: int,
        q: Float[Tensor, "B T H C"],
        k: Float[Tensor, "B T K C"],
        v: Float[Tensor, "B T K C"],
        window: int | None,
    ) -> Float[Tensor, "B T H C"]:
        """Causal softmax attention, scaled by 1/sqrt(C), over this pass's and the past's keys.

        With a window, a token sees itself and the `window` - 1 tokens before it.
        """
        ...


class CausalContext:
    """Whole rows in one pass: every token sees those before it, in its row or in its segment."""

    def __init__(self, ids: Int[Tensor, "B T"], starts: Int[Tensor, "B T"] | None) -> None:
        """`starts`: where in its row each token's segment begins; None: all at 0."""
        index = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        left = torch.cat((ids[:, :1], ids[:, :-1]), 1)
        self.positions = index if starts is None else index - starts
        self.previous = left if starts is None else torch.where(index == starts, ids, left)
        self._starts = starts
        self._masks: dict[int | None, list[Tensor]] = {}
        segmented = starts is not None and has_varlen(ids.device)
        self._borders = self._find_borders() if segmented else None  # here: it waits for the GPU
        self._runs: list[tuple[int, ...]] = [(len(ids), ids.shape[1])]
        if starts is not None and ids.device.type == "cpu":
            self._runs = block_runs(starts)

    @classmethod
    def of(
        cls,
        ids: Int[Tensor, "B T"],
        segments: Int[Tensor, "B T"] | None = None,
        padding: int | None = None,
    ) -> CausalContext:
        """The context of rows of ids; a segment is a run of equal numbers in `segments`.

        Places of the segment `padding` stand alone: together they could be longer than a context.
        """
        if segments is None:
            return cls(ids, None)
        index = torch.arange(ids.shape[1], device=ids.device).expand(ids.shape)
        begins = torch.ones_like(segments, dtype=torch.bool)
        begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
        if padding is not None:
            begins |= segments == padding
        return cls(ids, torch.where(begins, index, 0).cummax(1).values)

    def attend(
        self,
        layer: int,
        q: Float[Tensor, "B T H C"],
        k: Float[Tensor, "B T K C"],
        v: Float[Tensor, "B T K C"],
        window: int | None,
    ) -> Float[Tensor, "B T H C"]:
        """Attention within this pass; every layer is treated alike."""
        if window is not None and window >= q.shape[1]:
            window = None
        if self._starts is None and window is None:
            return softmax_attention(q, k, v, None)
        if self._borders is not None and q.dtype in VARLEN and fits_varlen(q.shape[3]):
            return segment_attention(q, k, v, self._borders, window)
        if window not in self._masks:  # made by the first layer, shared by the others
            self._masks[window] = [
                segment_mask(each, window, q.dtype) for each in self._cut(self.positions)
            ]
        parts = zip(*map(self._cut, (q, k, v)), self._masks[window], strict=True)
        mixed = [softmax_attention(*part).reshape(-1, *q.shape[1:]) for part in parts]
        return mixed[0] if len(mixed) == 1 else torch.cat(mixed)

    def keep_whole(self) -> None:
        """Attend to whole rows: how many blocks there are would be compiled anew for each batch."""
        self._runs = [tuple(self.positions.shape)]

    def _cut(self, x: Tensor) -> list[Tensor]:
        """[B T ...] as [N block ...] for each run of rows: each block is a row of its own."""
        parts = x.split([rows for rows, _ in self._runs])
        return [
            part.unflatten(1, (-1, block)).flatten(0, 1)
            for part, (_, block) in zip(parts, self._runs, strict=True)
        ]

    def _find_borders(self) -> Int[Tensor, " N"]:
        """Where each segment begins if all rows were one, and the end of the last."""
        begins = self.positions.flatten() == 0  # every row begins one
        end = torch.full((1,), begins.numel(), device=begins.device)
        return torch.cat((begins.nonzero().squeeze(1), end)).to(torch.int32)


def block_runs(starts: Int[Tensor, "B T"]) -> list[tuple[int, ...]]:
    """(rows, block) for each run of rows that no segment crosses at any multiple of `block`.

    The block is the row halved as often as that holds. Attention in each block apart is the same,
    and costs as much less as blocks are shorter.
    """
    time = starts.shape[1]
    blocks = torch.full(starts.shape[:1], time)
    block = time
    while block % 2 == 0 and block // 2 >= LEAST_BLOCK:
        block //= 2
        borders = torch.arange(block, time, block)
        blocks[(starts[:, borders] == borders).all(1)] = block
    return [(len(list(run)), block) for block, run in groupby(blocks.tolist())]


def segment_mask(
    positions: Int[Tensor, "N T"], window: int | None, dtype: torch.dtype
) -> Float[Tensor, "N 1 T T"]:
    """What a token's score with each other gets: 0 for those it sees in its segment, else -inf."""
    index = torch.arange(positions.shape[1], device=positions.device)
    first = index - positions  # the segment's own start
    if window is not None:
        first = torch.maximum(first, index - window + 1)
    hidden = (index > index[:, None]) | (index < first[:, :, None])
    return additive(hidden[:, None], dtype)


def has_varlen(device: torch.device) -> bool:
    """Whether this device has a kernel that takes segments as they are (NVIDIA from Ampere on)."""
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= (8, 0)


def fits_varlen(head_width: int) -> bool:
    """Whether that kernel takes heads of this width."""
    return head_width % 8 == 0 and head_width <= 256


def segment_attention(
    q: Float[Tensor, "B T H C"],
    k: Float[Tensor, "B T K C"],
    v: Float[Tensor, "B T K C"],
    borders: Int[Tensor, " N"],
    window: int | None,
) -> Float[Tensor, "B T H C"]:
    """Causal attention within segments, whose scores with others are never made.

    Rows are put end to end, and `borders` says where segments begin. A mask of T x T scores a row
    costs what whole rows cost; this only the segments' own (Dao 2023, FlashAttention-2).
    """
    groups = q.shape[2] // k.shape[2]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 2), v.repeat_interleave(groups, 2)
    seen = (-1 if window is None else window - 1, 0)  # keys before and after each query
    longest = q.shape[1]
    mixed = varlen_attn(
        q.flatten(0, 1),
        k.flatten(0, 1),
        v.flatten(0, 1),
        borders,
        borders,
        longest,
        longest,
        window_size=seen,
    )
    return cast(Tensor, mixed).view(q.shape)


def additive(hidden: Bool[Tensor, "*N"], dtype: torch.dtype) -> Float[Tensor, "*N"]:
    """A mask to add to scores: -inf where hidden, else 0."""
    mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device)
    return mask.masked_fill_(hidden, float("-inf"))


def softmax_attention(
    q: Float[Tensor, "B T H C"],
    k: Float[Tensor, "B S K C"],
    v: Float[Tensor, "B S K C"],
    mask: Tensor | None,
) -> Float[Tensor, "B T H C"]:
    """Softmax attention scaled by 1/sqrt(C); H / K query heads share a key-value head.

    mask, [B 1 T S] in the dtype of q, is added to the scores; None: causal, over S = T keys.
    """
    short = q.shape[1] <= SHORT and q.device.type == "cpu"
    if short and q.dtype == torch.bfloat16 and torch.is_grad_enabled():
        return _spelled_out(q, k, v, mask)
    k, v = k.transpose(1, 2), v.transpose(1, 2)
    if q.shape[1] == 1:  # one product per key-value head, with the heads that share it as its rows
        grouped = q.view(q.shape[0], k.shape[1], -1, q.shape[3])
        return F.scaled_dot_product_attention(grouped, k, v, attn_mask=mask).view(q.shape)
    mixed = F.scaled_dot_product_attention(
        q.transpose(1, 2),
        k,
        v,
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=q.shape[2] != k.shape[1],
    )
    return mixed.transpose(1, 2)


def _spelled_out(
    q: Float[Tensor, "B T H C"],
    k: Float[Tensor, "B S K C"],
    v: Float[Tensor, "B S K C"],
    mask: Tensor | None,
) -> Float[Tensor, "B T H C"]:
    """softmax_attention over S = T keys with the scores held in memory, some queries at a time."""
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    if q.shape[1] != k.shape[1]:
        groups = q.shape[1] // k.shape[1]
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    if mask is None:
        hidden = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool, device=q.device).triu(1)
        mask = additive(hidden, q.dtype)
    q, mixed = q * q.shape[-1] ** -0.5, []
    block = -(-q.shape[2] // -(-q.shape[2] // BLOCK))  # all of about one size
    for begin in range(0, q.shape[2], block):
        seen = slice(begin + block)  # no query of this block sees a later key
        scores = q[:, :, begin : begin + block] @ k[:, :, seen].transpose(2, 3)
        scores += mask[..., begin : begin + block, seen]
        mixed.append(scores.softmax(-1) @ v[:, :, seen])
    return torch.cat(mixed, 2).transpose(1, 2)
