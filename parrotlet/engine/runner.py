"""The model and its cache: ids of some slots in, the logits of what follows them out.

Weights are cast once to the dtype the model computes in, in a private copy, or packed in fewer
bytes (packed.py); where they already are in that dtype, the model itself is used.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from parrotlet.core.errors import UsageError
from parrotlet.engine.packed import Weights, pack
from parrotlet.model.cache import KVCache, SlotContext
from parrotlet.model.model import Model


def prepare(model: Model, quantize: Weights | None) -> Model:
    """The model itself where its weights are in compute_dtype; else a copy whose weights are."""
    if quantize is not None:
        return pack(model, quantize)
    if all(each.dtype == model.compute_dtype for each in model.parameters()):
        return model
    return copy.deepcopy(model).to(model.compute_dtype).requires_grad_(False).eval()


class Runner:
    """Runs forward passes for slots, each at its own position."""

    def __init__(
        self, model: Model, *, slots: int, length: int, quantize: Weights | None = None
    ) -> None:
        self.model = prepare(model, quantize)
        self._quantize = quantize
        self.device = next(model.parameters()).device
        self._slots = slots
        self._cache = KVCache(
            model.config,
            slots=slots,
            length=length,
            dtype=self.model.compute_dtype,
            device=self.device,
        )

    def load_weights(self, model: Model) -> None:
        """Use the weights of `model` from now on; UsageError where its shape is another.

        What the cache holds was made by the old weights, so it is emptied (a NaN of theirs would
        reach through a mask): the caller feeds everything again.
        """
        if model.config != self.model.config:
            raise UsageError(
                f"the engine runs {self.model.config}, which cannot take the weights of "
                f"{model.config}; make a new engine"
            )
        self.model = prepare(model, self._quantize)
        for slot in range(self._slots):
            self._cache.reset(slot)

    @torch.inference_mode()
    def copy(self, source: int, target: int, count: int) -> None:
        """Slot `target` begins with the first `count` places of slot `source`."""
        self._cache.copy(source, target, count)

    @torch.inference_mode()
    def feed(
        self, ids: Sequence[Sequence[int]], slots: Sequence[int], starts: Sequence[int]
    ) -> Float[Tensor, "B T D"]:
        """Feed each slot a row of ids (all of one length) from its start; their hidden states."""
        longest = max(starts) + len(ids[0])
        rows = torch.tensor(ids, device=self.device)
        context = SlotContext(
            self._cache,
            torch.tensor(slots, device=self.device),
            torch.tensor(starts, device=self.device),
            rows,
            longest,
        )
        return self.model.hidden(rows, context)

    @torch.inference_mode()
    def logits(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        """What follows, in float32."""
        return self.model.logits(hidden).float()
