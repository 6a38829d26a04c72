"""The interface of every architecture: token ids to hidden states to logits.

Letters in shapes: B batch, T time, D width, H heads, K key-value heads, C head width,
V vocabulary, L layers.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from parrotlet.model.config import ModelConfig
from parrotlet.model.context import Context
from parrotlet.model.layers import Dropout


class Model(nn.Module, ABC):
    """What training, engine and exchange know of a model. It holds no tokenizer, loss or cache.

    Parameters are kept in whatever dtype they are in (float32 masters in training); matrix
    products and activations are in `compute_dtype`.
    """

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.config = config
        self.compute_dtype = compute_dtype

    @abstractmethod
    def hidden(
        self, ids: Int[Tensor, "B T"], ctx: Context, places: Int[Tensor, " P"] | None = None
    ) -> Float[Tensor, "*N D"]:
        """The states after the last norm, in compute_dtype: [B T D], or with `places` [P D].

        places: of all B x T, one row after the other, those whose states are wanted. The last
        block's MLP, which looks at no other place, may then be computed at these alone.
        """

    @abstractmethod
    def logits(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        """What the head says, in compute_dtype; losses call it on chunks."""

    @abstractmethod
    def init_weights(self, generator: torch.Generator) -> None:
        """Fresh weights, all drawn from `generator` (a CPU generator), whatever the device."""

    def set_dropout(self, share: float) -> None:
        """How much of what each block adds is left out in training; 0 to begin with."""
        for module in self.modules():
            if isinstance(module, Dropout):
                module.share = share

    def forward(self, ids: Int[Tensor, "B T"], ctx: Context) -> Float[Tensor, "B T V"]:
        """Logits for every position."""
        return self.logits(self.hidden(ids, ctx))
