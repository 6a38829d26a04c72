"""Losses: objectives that SUM over what is learned; the loop divides by the global count."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model

Objective = Callable[[Model, Batch], Tensor]  # the loss SUMMED over batch.count

CHUNK_NUMBERS = 2**25  # logits held at once in float32: 128 MiB of them


def _summed(model: Model, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = model.logits(hidden).float()
    return F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")


def cross_entropy(
    model: Model, hidden: Float[Tensor, "N D"], targets: Int[Tensor, " N"]
) -> Float[Tensor, ""]:
    """Negative log-likelihood in nats, summed over targets that are not IGNORE.

    Large vocabularies are done in chunks whose logits are computed again in the backward pass, so
    that all logits are never held at once. On a CPU, places where nothing is learned are left out
    first (elsewhere, finding them would stall the device).
    """
    if hidden.device.type == "cpu":
        learned = (targets != IGNORE).nonzero().squeeze(1)
        if len(learned) < len(targets):
            hidden, targets = hidden[learned], targets[learned]
    rows = max(1, CHUNK_NUMBERS // model.config.vocab_size)
    if hidden.size(0) <= rows:
        return _summed(model, hidden, targets)
    total = hidden.new_zeros((), dtype=hidden.dtype).float()
    for states, wanted in zip(hidden.split(rows), targets.split(rows), strict=True):
        part = checkpoint(_summed, model, states, wanted, use_reentrant=False)
        total = total + cast(Tensor, part)
    return total


def next_token(model: Model, batch: Batch) -> Float[Tensor, ""]:
    """The objective of pretraining and supervised fine-tuning."""
    ctx = CausalContext.of(batch.tokens, batch.segments)
    hidden = model.hidden(batch.tokens, ctx)
    return cross_entropy(model, hidden.flatten(0, 1), batch.targets.flatten())


def _each(model: Model, hidden: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(model.logits(hidden).float(), targets, reduction="none")


def token_logprobs(model: Model, batch: Batch) -> Float[Tensor, "B T"]:
    """The log-probability of every target, in nats; 0 where nothing is learned.

    The head sees only the places that are learned, in chunks as cross_entropy's.
    """
    ctx = CausalContext.of(batch.tokens, batch.segments)
    hidden = model.hidden(batch.tokens, ctx)
    learned = batch.targets != IGNORE
    states, wanted = hidden[learned], batch.targets[learned]
    rows = max(1, CHUNK_NUMBERS // model.config.vocab_size)
    if len(wanted) <= rows:
        found = _each(model, states, wanted)
    else:
        parts = zip(states.split(rows), wanted.split(rows), strict=True)
        found = torch.cat(
            [cast(Tensor, checkpoint(_each, model, *part, use_reentrant=False)) for part in parts]
        )
    empty = torch.zeros(learned.shape, device=found.device)
    return empty.masked_scatter(learned, found)
