"""Batch: the unit between data and loss.

B rows of T tokens; targets are the tokens one to the right, IGNORE where nothing is learned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int
from torch import Tensor

IGNORE = -100
PADDING = 0  # the segment of places that hold nothing


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One microbatch of one rank."""

    tokens: Int[Tensor, "B T"]
    targets: Int[Tensor, "B T"]
    segments: Int[Tensor, "B T"] | None = None  # None: plain causal over a row, with BOS between
    # documents. Set: attention stays inside a segment and positions restart
    count: int  # units learned from: tokens, or pairs; may be 0
    extra: Mapping[str, Tensor] = field(default_factory=dict)  # what one objective needs

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""
        if device.type == "cpu":
            return self
        return replace(
            self,
            tokens=self.tokens.to(device, non_blocking=True),
            targets=self.targets.to(device, non_blocking=True),
            segments=None if self.segments is None else self.segments.to(device, non_blocking=True),
            extra={name: value.to(device) for name, value in self.extra.items()},
        )

    def halves(self) -> tuple[Batch, ...]:
        """Two batches that are this one; itself where it cannot be cut (one row, or extra)."""
        middle = len(self.tokens) // 2
        if not middle or self.extra:
            return (self,)
        first = int((self.targets[:middle] != IGNORE).sum())
        parts = ((slice(middle), first), (slice(middle, None), self.count - first))
        return tuple(
            replace(
                self,
                tokens=self.tokens[rows],
                targets=self.targets[rows],
                segments=None if self.segments is None else self.segments[rows],
                count=count,
            )
            for rows, count in parts
        )


Step = Sequence[Batch]  # this rank's microbatches of one optimizer step
