"""Context: how attention meets the past. A model asks its context; it never sees a cache."""

from __future__ import annotations

from typing import Protocol

from jaxtyping import Float, Int
from torch import Tensor


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
