"""Cross-entropy in chunks against torch's own, value and gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.train import losses


@pytest.mark.parametrize("chunk_numbers", [10**9, 50 * 7, 1])
def test_cross_entropy(chunk_numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CACHED_NUMBERS", chunk_numbers)
    config = ModelConfig(
        arch="qwen3", vocab_size=50, context=8, depth=1, width=16, heads=2, kv_heads=2,
        head_width=8, mlp_width=32,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    hidden = torch.randn(30, 16, generator=torch.Generator().manual_seed(1), requires_grad=True)
    targets = torch.arange(30) % 50
    targets[::4] = IGNORE
    ours = losses.cross_entropy(model, hidden, targets)
    (gradient,) = torch.autograd.grad(ours, hidden)
    logits = hidden @ model.get_parameter("embed.weight").T
    theirs = F.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
    (expected,) = torch.autograd.grad(theirs, hidden)
    assert torch.allclose(ours, theirs, rtol=1e-5)
    assert torch.allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("arch", ["gpt2", "qwen3", "swift"])
def test_chunks_give_every_weight_the_gradient_of_the_whole(
    arch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ModelConfig(
        arch=arch, vocab_size=50, context=8, depth=1, width=16, heads=2, kv_heads=2,
        head_width=8, mlp_width=32, tied=arch != "swift",
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, 50, (4, 8), generator=generator)
    batch = Batch(tokens=tokens, targets=tokens.roll(-1, 1), count=32)
    found = []
    for numbers in (10**9, 50 * 5):
        monkeypatch.setattr(losses, "CACHED_NUMBERS", numbers)
        loss = losses.next_token(model, batch)
        with torch.no_grad():
            assert torch.allclose(loss, losses.next_token(model, batch), rtol=1e-5)
        names = [name for name, _ in model.named_parameters()]
        gradients = torch.autograd.grad(loss / 32, list(model.parameters()))
        found.append((loss, dict(zip(names, gradients, strict=True))))
    (whole, expected), (chunked, ours) = found
    assert torch.allclose(whole, chunked, rtol=1e-5)
    for name, gradient in expected.items():
        assert torch.allclose(ours[name], gradient, atol=1e-5), name


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 200, 300])
def test_places_learned_come_in_round_numbers(count: int) -> None:
    """Every place that is learned once, and no more others than round the number up."""
    targets = torch.full((300,), IGNORE)
    targets[torch.randperm(300, generator=torch.Generator().manual_seed(2))[:count]] = 7
    places = losses.learned_places(targets)
    assert len(set(places.tolist())) == len(places)
    assert (targets[places] != IGNORE).sum() == count
    assert len(places) == min(300, -(-count // losses.ROUND) * losses.ROUND)


@pytest.mark.parametrize("arch", ["gpt2", "qwen3", "swift"])
@pytest.mark.parametrize("count", [0, 3, 8, 31])
def test_what_is_learned_of_a_batch(arch: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loss, log-probabilities and gradients are those of all places computed."""
    monkeypatch.setattr(losses, "ROUND", 4)
    config = ModelConfig(
        arch=arch, vocab_size=50, context=8, depth=2, width=16, heads=2, kv_heads=2,
        head_width=8, mlp_width=32, tied=arch != "swift",
    )  # fmt: skip
    model = build_model(config)
    generator = torch.Generator().manual_seed(1)
    model.init_weights(generator)
    tokens = torch.randint(0, 50, (4, 8), generator=generator)
    targets = tokens.roll(-1, 1)
    targets.view(-1)[torch.randperm(32, generator=generator)[count:]] = IGNORE
    batch = Batch(tokens=tokens, targets=targets, count=count)
    logits = model(tokens, CausalContext.of(tokens)).flatten(0, 1)
    each = F.cross_entropy(logits, targets.flatten(), ignore_index=IGNORE, reduction="none")
    ours, apart = losses.next_token(model, batch), losses.token_logprobs(model, batch)
    assert torch.allclose(ours, each.sum(), rtol=1e-5, atol=1e-6)
    assert torch.allclose(apart.flatten(), -each, atol=1e-5)
    members = list(model.parameters())
    expected = torch.autograd.grad(each.square().sum() + each.sum(), members, retain_graph=True)
    found = torch.autograd.grad(apart.square().sum() + ours, members)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4)
