"""The policy gradient: right after sampling it is -A grad log p; clipping and KL by hand."""

from __future__ import annotations

import math

import pytest
import torch
from test_losses_pairs import ALONE, model_of

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.train.losses import token_logprobs
from parrotlet.train.losses_policy import PolicyObjective
from parrotlet.train.tally import Tally


def batch_of(shift: float = 0.0, reference: float = 0.0) -> Batch:
    """Two rows; `shift`: how much likelier tokens are now than they were, in nats."""
    ids = torch.randint(0, 20, (2, 9), generator=torch.Generator().manual_seed(0))
    targets = ids[:, 1:].clone()
    targets[0, :3], targets[1, :5] = IGNORE, IGNORE
    plain = Batch(tokens=ids[:, :-1], targets=targets, count=int((targets != IGNORE).sum()))
    learned = targets != IGNORE
    with torch.no_grad():
        now = token_logprobs(model_of(1), plain)
    advantage = torch.tensor([[0.5], [-0.25]]).expand(targets.shape) * learned
    extra = {
        "old": (now - shift) * learned,
        "advantage": advantage,
        "weight": learned.float(),
        "reference": (now + reference) * learned,
    }
    return Batch(tokens=plain.tokens, targets=targets, count=plain.count, extra=extra)


def objective(clip: float | None = None, kl: float = 0.0) -> PolicyObjective:
    return PolicyObjective(clip=clip, clip_high=None, kl=kl, tally=Tally())


def test_right_after_sampling_it_is_the_plain_policy_gradient() -> None:
    model, batch = model_of(1), batch_of()
    objective()(model, batch).backward()  # type: ignore[no-untyped-call]
    gradients = [each.grad.clone() for each in model.parameters() if each.grad is not None]
    model.zero_grad()
    (-(batch.extra["advantage"] * token_logprobs(model, batch)).sum()).backward()  # type: ignore[no-untyped-call]
    for gradient, parameter in zip(gradients, model.parameters(), strict=True):
        assert parameter.grad is not None
        assert torch.allclose(gradient, parameter.grad, atol=1e-6)


def test_clipping_by_hand() -> None:
    """r = 1.5 everywhere: 5 tokens with A = 0.5 are held at 1.2, 3 with A = -0.25 are not."""
    batch = batch_of(shift=math.log(1.5))
    found = objective(clip=0.2)(model_of(1), batch).item()
    assert found == pytest.approx(-(5 * 1.2 * 0.5) + 3 * 1.5 * 0.25, rel=1e-4)
    low = objective(clip=0.2)(model_of(1), batch_of(shift=math.log(0.5))).item()
    assert low == pytest.approx(-(5 * 0.5 * 0.5) + 3 * 0.8 * 0.25, rel=1e-4)


def test_kl_by_hand() -> None:
    found = objective(kl=2.0)
    plain = objective()(model_of(1), batch_of()).item()
    with_kl = found(model_of(1), batch_of(reference=0.1)).item()
    each = math.exp(0.1) - 0.1 - 1
    assert with_kl - plain == pytest.approx(2.0 * 8 * each, rel=1e-3)
    assert found.tally.means(ALONE)["kl"] == pytest.approx(each, rel=1e-3)
