"""The model and its cache: ids of some slots in, the logits of what follows them out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from parrotlet.core.errors import UsageError
from parrotlet.engine.lean import make_lean
from parrotlet.engine.packed import Weights
from parrotlet.engine.recorded import Recorded
from parrotlet.model.cache import KVCache, SlotContext, cache_dtype
from parrotlet.model.model import Model


class Runner:
    """Runs forward passes for slots, each at its own position."""

    def __init__(
        self,
        model: Model,
        *,
        slots: int,
        length: int,
        quantize: Weights | None = None,
        record: bool | None = None,
    ) -> None:
        """Weights in the dtype that the model computes in are shared with it, others copied.

        `record`: decode by passes of fixed shapes; None: where they can be recorded, on a GPU.
        """
        self.model = model
        self._lean = make_lean(model, quantize)
        self._quantize = quantize
        self.device = self._lean.device
        self._slots = slots
        self._records = self.device.type == "cuda" if record is None else record
        dtype = cache_dtype(self._lean.dtype, self.device)
        self._cache = KVCache(
            model.config,
            slots=slots + self._records,  # one to spare
            length=length,
            dtype=dtype,
            device=self.device,
        )
        self._recorded = self._recording()

    def load_weights(self, model: Model) -> None:
        """Use the weights of `model` from now on; UsageError where its shape is another.

        What the cache holds was made by the old weights, so it is emptied (a NaN of theirs would
        reach through a mask): the caller feeds everything again.
        """
        if model.config != self._lean.config:
            raise UsageError(
                f"the engine runs {self._lean.config}, which cannot take the weights of "
                f"{model.config}; make a new engine"
            )
        self.model = model
        self._lean = make_lean(model, self._quantize)
        self._recorded = self._recording()
        for slot in range(self._slots):
            self._cache.reset(slot)

    def _recording(self) -> Recorded | None:
        return Recorded(self._lean, self._cache, spare=self._slots) if self._records else None

    @torch.inference_mode()
    def copy(self, source: int, target: int, count: int) -> None:
        """Slot `target` begins with the first `count` places of slot `source`."""
        self._cache.copy(source, target, count)

    @torch.inference_mode()
    def feed(
        self, ids: Sequence[Sequence[int]], slots: Sequence[int], starts: Sequence[int]
    ) -> Float[Tensor, "B T D"]:
        """Feed each slot a row of ids (all of one length) from its start; their hidden states."""
        if self._recorded is not None and len(ids[0]) == 1:
            return self._recorded.feed([id for (id,) in ids], slots, starts)
        rows = torch.tensor(ids, device=self.device)
        context = SlotContext(
            self._cache,
            torch.tensor(slots, device=self.device),
            torch.tensor(starts, device=self.device),
            rows,
            max(starts) + len(ids[0]),
            level=min(starts) == max(starts),
        )
        return self._lean.hidden(rows, context)

    @torch.inference_mode()
    def logits(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        """What follows, in float32."""
        return self._lean.logits(hidden).float()
