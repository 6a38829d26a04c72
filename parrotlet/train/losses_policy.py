"""Policy gradient: sampled tokens become likelier by how much better than its group a reply was.

    loss of a token = -w min(r A, clip(r, 1 - low, 1 + high) A) + beta (exp(d) - d - 1)

A is the reply's advantage; r = p / p_old, p_old being what the model said when it sampled; w is the
correction where sampling was not from the model's own distribution (model / sampling, cut at a
limit); d = log p_ref - log p, whose term is an estimate of the KL divergence to the reference that
is never negative (Schulman 2020). Clipping: Schulman et al. 2017 (arXiv 1707.06347); groups: Shao
et al. 2024 (arXiv 2402.03300). Each token counts alike, in long replies too (Yu et al. 2025, arXiv
2503.14476).

Right after sampling r is 1, and the gradient is the plain -A grad log p.

Batch.extra, each (B, T) and 0 where nothing is learned: "advantage", "old" (log p_old), "weight"
(w), and "reference" (log p_ref) where there is a KL term.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.model.model import Model
from parrotlet.train.losses import token_logprobs
from parrotlet.train.tally import Tally


@dataclass(frozen=True, kw_only=True)
class PolicyObjective:
    """Summed over the sampled tokens of a batch. `clip` None: no clipping; `kl` 0: no KL term."""

    clip: float | None
    clip_high: float | None  # None: as `clip`
    kl: float
    tally: Tally

    def __call__(self, model: Model, batch: Batch) -> Float[Tensor, ""]:
        """The loss."""
        learned = batch.targets != IGNORE
        logprobs = token_logprobs(model, batch)[learned]
        advantage, old = batch.extra["advantage"][learned], batch.extra["old"][learned]
        ratio = (logprobs - old).exp()
        gain = ratio * advantage
        if self.clip is not None:
            high = self.clip if self.clip_high is None else self.clip_high
            clipped = ratio.clamp(1 - self.clip, 1 + high)
            self.tally.add("clipped", (clipped != ratio).float())
            gain = torch.minimum(gain, clipped * advantage)
        loss = -(batch.extra["weight"][learned] * gain)
        if self.kl:
            distance = batch.extra["reference"][learned] - logprobs
            divergence = distance.exp() - distance - 1
            self.tally.add("kl", divergence)
            loss = loss + self.kl * divergence
        self.tally.add("mismatch", (logprobs - old).abs())
        return loss.sum()
