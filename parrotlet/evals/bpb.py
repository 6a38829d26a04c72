"""Loss on text that was not trained on, in nats per token and in bits per byte.

Bits per byte do not depend on the tokenizer, so models with different ones can be compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch

from parrotlet.data.batch import Batch
from parrotlet.model.model import Model
from parrotlet.train.losses import Objective, next_token


@torch.no_grad()
def summed_loss(
    model: Model,
    batches: Iterable[Batch],
    device: torch.device,
    objective: Objective = next_token,
) -> tuple[float, int]:
    """The objective without dropout, summed over all batches, and their count.

    By default: negative log-likelihood in nats, and the number of targets.
    """
    training = model.training
    model.eval()
    total, count = 0.0, 0  # a Python float has 64 bits
    try:
        for batch in batches:
            total += float(objective(model, batch.to(device)))
            count += batch.count
    finally:
        model.train(training)
    return total, count


def mean_loss(model: Model, batches: Iterable[Batch], device: torch.device) -> float:
    """Nats per target; 0 where there is none."""
    total, count = summed_loss(model, batches, device)
    return total / max(1, count)


def bits_per_byte(
    model: Model, batches: Iterable[Batch], num_bytes: int, device: torch.device
) -> dict[str, float]:
    """{"validation_loss": nats per token, "bits_per_byte"} of text that has `num_bytes` of UTF-8.

    The batches must hold every token of that text once (data.streams.evaluation_batches).
    """
    total, count = summed_loss(model, batches, device)
    return {
        "validation_loss": total / max(1, count),
        "bits_per_byte": total / math.log(2) / max(1, num_bytes),
    }
