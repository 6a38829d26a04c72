"""Losses: objectives that SUM over what is learned; the loop divides by the global count."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from parrotlet.data.batch import IGNORE, PADDING, Batch
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model

Objective = Callable[[Model, Batch], Tensor]  # the loss SUMMED over batch.count

CHUNK_NUMBERS = 2**25  # logits held at once in float32: 128 MiB of them
ROUND = 128  # what the number of places in a product is a multiple of
CACHED_NUMBERS = 2**22  # in a chunk of cross_entropy on a CPU; a few more are not worth cutting


def _summed(model: Model, hidden: Tensor, targets: Tensor) -> Tensor:
    logits = model.logits(hidden).float()
    return F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")


def cross_entropy(
    model: Model, hidden: Float[Tensor, "N D"], targets: Int[Tensor, " N"]
) -> Float[Tensor, ""]:
    """Negative log-likelihood in nats, summed over targets that are not IGNORE.

    Where logits are many, they are made and differentiated in chunks.
    """
    on_cpu = hidden.device.type == "cpu"
    chunk, limit = (CACHED_NUMBERS, 4 * CACHED_NUMBERS) if on_cpu else (CHUNK_NUMBERS,) * 2
    if len(targets) * model.config.vocab_size <= limit:
        return _summed(model, hidden, targets)
    rows = max(1, chunk // model.config.vocab_size)
    if not torch.is_grad_enabled():
        parts = zip(hidden.split(rows), targets.split(rows), strict=True)
        return torch.stack([_summed(model, *part) for part in parts]).sum()
    weights = [each for each in model.parameters() if each.requires_grad]
    return cast(Tensor, ChunkedCrossEntropy.apply(model, rows, hidden, targets, *weights))


class ChunkedCrossEntropy(torch.autograd.Function):
    """The summed loss, its gradients made on the way forward, while a chunk's logits are there.

    So no logits are kept or computed twice; the backward pass only multiplies by its gradient. As
    in Liger Kernel (Hsu et al. 2024, arXiv 2410.10989), for any model's logits().
    """

    @staticmethod
    def forward(
        ctx: Any, model: Model, rows: int, hidden: Tensor, targets: Tensor, *weights: Tensor
    ) -> Tensor:
        """The loss; kept are its gradients of the states and of the head's weights."""
        total = torch.zeros((), device=hidden.device)
        of_states = torch.empty_like(hidden)
        of_weights: list[Tensor | None] = [None] * len(weights)
        chunks = zip(hidden.split(rows), targets.split(rows), of_states.split(rows), strict=True)
        for states, wanted, place in chunks:
            with torch.enable_grad():
                states = states.detach().requires_grad_()
                loss = _summed(model, states, wanted)
            first, *found = torch.autograd.grad(loss, (states, *weights), allow_unused=True)
            place.copy_(first)
            for index, each in enumerate(found):
                kept = of_weights[index]
                of_weights[index] = each if kept is None or each is None else kept.add_(each)
            total += loss.detach()
        ctx.save_for_backward(of_states, *of_weights)
        return total

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients times `scale`."""
        found = [each if each is None else each * scale for each in ctx.saved_tensors]
        return None, None, found[0], None, *found[1:]


def next_token(model: Model, batch: Batch) -> Float[Tensor, ""]:
    """The objective of pretraining and supervised fine-tuning.

    On a CPU, places where nothing is learned are left out as soon as no other needs them
    (elsewhere, finding them would stall the device).
    """
    ctx = CausalContext.of(batch.tokens, batch.segments, PADDING)
    targets = batch.targets.flatten()
    if targets.device.type == "cpu" and batch.count < len(targets):
        places = learned_places(targets)
        return cross_entropy(model, model.hidden(batch.tokens, ctx, places), targets[places])
    return cross_entropy(model, model.hidden(batch.tokens, ctx).flatten(0, 1), targets)


def learned_places(targets: Int[Tensor, " N"]) -> Int[Tensor, " M"]:
    """The places where something is learned first, then on a CPU others up to a multiple of ROUND.

    For each new number of rows oneDNN would make its bfloat16 products anew: with as many rows as
    happen to be learned, a step of a small model took a third longer.
    """
    learned = targets != IGNORE
    if targets.device.type != "cpu":
        return learned.nonzero().squeeze(1)
    first = learned.to(torch.uint8).argsort(descending=True, stable=True)
    return first[: -(-int(learned.sum()) // ROUND) * ROUND]


def _each(model: Model, hidden: Tensor, targets: Tensor) -> Tensor:
    return -F.cross_entropy(model.logits(hidden).float(), targets, reduction="none")


def token_logprobs(model: Model, batch: Batch) -> Float[Tensor, "B T"]:
    """The log-probability of every target, in nats; 0 where nothing is learned.

    The head sees only the places that are learned, in chunks as cross_entropy's.
    """
    ctx = CausalContext.of(batch.tokens, batch.segments, PADDING)
    targets = batch.targets.flatten()
    places = learned_places(targets)
    states, wanted = model.hidden(batch.tokens, ctx, places), targets[places]
    rows = max(1, CHUNK_NUMBERS // model.config.vocab_size)
    if len(wanted) <= rows:
        found = _each(model, states, wanted)
    else:
        parts = zip(states.split(rows), wanted.split(rows), strict=True)
        found = torch.cat(
            [cast(Tensor, checkpoint(_each, model, *part, use_reentrant=False)) for part in parts]
        )
    return found.new_zeros(len(targets)).scatter(0, places, found).view(batch.targets.shape)
