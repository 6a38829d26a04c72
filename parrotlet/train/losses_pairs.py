"""Learning from pairs: of two replies to one prompt the chosen one is to become likelier.

With the margin h = [log p(chosen) - log p_ref(chosen)] - [log p(rejected) - log p_ref(rejected)],
whole replies in nats:

    dpo     -log sigmoid(beta h)                   Rafailov et al. 2023, arXiv 2305.18290
            with smoothing e: (1 - e) times that, and e times the same of -h: conservative DPO
            (Mitchell 2023), for labels of which a share e is wrong
    ipo     (h - 1 / (2 beta))^2                   Azar et al. 2023, arXiv 2310.12036

anchor adds the chosen reply's own loss, per token (Pang et al. 2024, arXiv 2404.19733), so that it
does not become less likely together with the rejected one.

A row holds whole pairs: the chosen reply of pair k is its segment 2 k + 1, the rejected one
2 k + 2 (k from 0). Batch.extra: "reference" (B, 2 P), log p_ref of every segment; "pairs" (B, P),
which of them there are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.model.model import Model
from parrotlet.train.losses import token_logprobs
from parrotlet.train.tally import Tally


def pair_losses(
    margins: Float[Tensor, " N"], *, kind: Literal["dpo", "ipo"], beta: float, smoothing: float
) -> Float[Tensor, " N"]:
    """The loss of each margin, in the module's formulas."""
    if kind == "ipo":
        return (margins - 1 / (2 * beta)) ** 2
    right, wrong = F.logsigmoid(beta * margins), F.logsigmoid(-beta * margins)
    return -(1 - smoothing) * right - smoothing * wrong


def reply_logprobs(
    model: Model, batch: Batch, segments: int
) -> tuple[Float[Tensor, "B S"], Float[Tensor, "B S"]]:
    """Of each segment 1 to `segments`: the log-probability of its reply in nats, and its tokens."""
    assert batch.segments is not None, "pairs are packed in segments"
    empty = torch.zeros(len(batch.tokens), segments + 1, device=batch.tokens.device)
    learned = (batch.targets != IGNORE).float()
    sums = empty.scatter_add(1, batch.segments, token_logprobs(model, batch))
    lengths = empty.scatter_add(1, batch.segments, learned)
    return sums[:, 1:], lengths[:, 1:]


@dataclass(frozen=True, kw_only=True)
class PairObjective:
    """Summed over the pairs of a batch. The tally gets what says how it goes."""

    kind: Literal["dpo", "ipo"]
    beta: float
    smoothing: float
    anchor: float
    tally: Tally

    def __call__(self, model: Model, batch: Batch) -> Float[Tensor, ""]:
        """The loss; rewards are beta times how much likelier a reply is than it was."""
        reference, there = batch.extra["reference"], batch.extra["pairs"]
        found, lengths = reply_logprobs(model, batch, reference.shape[1])
        gained = found - reference
        chosen, rejected = gained[:, 0::2][there], gained[:, 1::2][there]
        margins = chosen - rejected
        losses = pair_losses(margins, kind=self.kind, beta=self.beta, smoothing=self.smoothing)
        chosen_nats = -(found / lengths.clamp(min=1))[:, 0::2][there]
        preferred = (found[:, 0::2] > found[:, 1::2])[there]
        replies = there.repeat_interleave(2, dim=1)
        for name, values in {
            "reward_chosen": self.beta * chosen,
            "reward_rejected": self.beta * rejected,
            "margin": self.beta * margins,
            "accuracy": (margins > 0).float() + 0.5 * (margins == 0).float(),
            "preferred": preferred.float(),
            "chosen_loss": chosen_nats,
        }.items():
            self.tally.add(name, values)
        # nats a token that replies moved from the reference, whichever way
        self.tally.add("drift", gained.abs()[replies], float(lengths[replies].sum()))
        return (losses + self.anchor * chosen_nats).sum()
