"""KVCache and SlotContext: attention that remembers, in contiguous slots.

Which slot is whose, and how far each has come, the caller keeps.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from parrotlet.model.config import ModelConfig
from parrotlet.model.context import additive, softmax_attention

MANY = 64  # rows


def cache_dtype(compute: torch.dtype, device: torch.device) -> torch.dtype:
    """What keys and values are kept in.

    CPUs attend to many places of the past two to four times as fast in float32 as in bfloat16.
    """
    return torch.float32 if device.type == "cpu" else compute


class KVCache:
    """Room for the keys, values and ids of `slots` sequences of up to `length` tokens each."""

    def __init__(
        self,
        config: ModelConfig,
        *,
        slots: int,
        length: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        shape = (slots, config.kv_heads, length, config.head_width)
        # Zeros: what a mask hides still meets a weight of 0, and 0 times NaN is NaN.
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.depth)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(config.depth)]
        self.ids = torch.zeros(slots, length, dtype=torch.long, device=device)
        self.length = length

    def reset(self, slot: int) -> None:
        """Forget one sequence: whatever it held, NaN included, cannot reach the next."""
        for tensor in (self.ids, *self.keys, *self.values):
            tensor[slot].zero_()

    def copy(self, source: int, target: int, count: int) -> None:
        """The first `count` places of slot `source`, also in slot `target`."""
        self.ids[target, :count] = self.ids[source, :count]
        for tensor in (*self.keys, *self.values):
            tensor[target, :, :count] = tensor[source, :, :count]


class SlotContext:
    """One pass of T tokens for each of B slots, every slot at its own length.

    T is 1 in decoding and a chunk of the prompt in prefill. Row b's tokens take the places
    starts[b] to starts[b] + T - 1 of slot slots[b]; what the slot held from there on is
    forgotten. So a row shorter than T may be padded on the right: its next pass starts at its own
    end and writes over the padding. A start of 0 is a new sequence.
    """

    def __init__(
        self,
        cache: KVCache,
        slots: Int[Tensor, " B"],
        starts: Int[Tensor, " B"],
        ids: Int[Tensor, "B T"],
        longest: int,
        level: bool = False,
    ) -> None:
        """`slots`: all different, but for one that nobody reads. `longest`: at least max(starts) +
        T, at most the cache's length.

        It bounds what attention reads; given as a number, no device has to be asked for it.
        `level` says that all starts are equal and `longest` is their end: one new token then sees
        all that is read, and needs no mask.
        """
        assert longest <= cache.length, f"{longest} tokens do not fit in a slot of {cache.length}"
        assert not torch.is_grad_enabled(), "a cache would keep every pass's graph alive"
        self.positions = starts[:, None] + torch.arange(ids.shape[1], device=ids.device)
        self._cache = cache
        self._longest = longest
        self._sees_all = level and ids.shape[1] == 1
        self._slots = slots[:, None]
        self._reads = _reads(slots)
        self._masks: dict[int | None, Tensor] = {}
        cache.ids[self._slots, self.positions] = ids
        self.previous = cache.ids[self._slots, (self.positions - 1).clamp(min=0)]

    def attend(
        self,
        layer: int,
        q: Float[Tensor, "B T H C"],
        k: Float[Tensor, "B T K C"],
        v: Float[Tensor, "B T K C"],
        window: int | None,
    ) -> Float[Tensor, "B T H C"]:
        """Attention over the slots' past and this pass, whose keys and values are kept.

        In the cache's dtype; given back in that of q.
        """
        keys, values = self._cache.keys[layer], self._cache.values[layer]
        keys[self._slots, :, self.positions] = k.to(keys.dtype)
        values[self._slots, :, self.positions] = v.to(values.dtype)
        asked, mask = q.to(keys.dtype), self._mask(window, keys.dtype)
        if len(self._reads) == 1:
            return self._read(self._reads[0][1], asked, keys, values, mask).to(q.dtype)
        mixed = [
            self._read(slots, asked[rows], keys, values, None if mask is None else mask[rows])
            for rows, slots in self._reads
        ]
        return torch.cat(mixed).to(q.dtype)

    def _read(
        self, slots: slice | Tensor, q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None
    ) -> Float[Tensor, "B T H C"]:
        """Attention of some rows over their slots, up to `longest`."""
        k, v = keys[slots, :, : self._longest], values[slots, :, : self._longest]
        if len(q) >= MANY and q.shape[1] == 1 and q.dtype == torch.float32 and q.is_cpu:
            return _by_products(q, k, v, mask)
        return softmax_attention(q, k.transpose(1, 2), v.transpose(1, 2), mask)

    def _mask(self, window: int | None, dtype: torch.dtype) -> Float[Tensor, "B 1 T S"] | None:
        """0 where a token sees a place, -inf elsewhere; made by the first layer that asks.

        None where all starts are 0, as `longest` shows: that is plain causal attention. And where
        a row's one token sees all that is read.
        """
        if window is None and (self._sees_all or self._longest == self.positions.shape[1]):
            return None
        if window not in self._masks:
            places = torch.arange(self._longest, device=self.positions.device)
            positions = self.positions[:, None, :, None]
            hidden = places > positions
            if window is not None:
                hidden |= places <= positions - window
            self._masks[window] = additive(hidden, dtype)
        return self._masks[window]


def _by_products(
    q: Float[Tensor, "B 1 H C"],
    k: Float[Tensor, "B K S C"],
    v: Float[Tensor, "B K S C"],
    mask: Float[Tensor, "B 1 1 S"] | None,
) -> Float[Tensor, "B 1 H C"]:
    """softmax_attention of one token a row in batched products: where rows are many, in two thirds
    of the fused kernel's time.
    """
    columns = q.view(len(q), k.shape[1], -1, q.shape[3]).transpose(2, 3)
    scores = (k @ columns).mul_(q.shape[3] ** -0.5)
    if mask is not None:
        scores.add_(mask.transpose(2, 3))
    return (scores.softmax(2).transpose(2, 3) @ v).view(q.shape)


def _reads(slots: Int[Tensor, " B"]) -> list[tuple[slice, slice | Tensor]]:
    """Rows of a pass and the slots they read, together all of them.

    On the CPU one entry per run of neighbouring slots, which is read in place: a copy of the
    cache would cost more than attention does. Elsewhere one entry, copied: looking at the slots
    would wait for the device.
    """
    if slots.device.type != "cpu":
        return [(slice(None), slots)]
    numbers = slots.tolist()
    breaks = [row for row in range(1, len(numbers)) if numbers[row] != numbers[row - 1] + 1]
    runs = zip([0, *breaks], [*breaks, len(numbers)], strict=True)
    return [(slice(a, b), slice(numbers[a], numbers[a] + b - a)) for a, b in runs]
