"""Loss and bits per byte against a direct computation over every token, one row at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.data.streams import evaluation_batches
from parrotlet.data.tokens import TokenArray
from parrotlet.evals.bpb import bits_per_byte, mean_loss
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model

CPU = torch.device("cpu")
CONTEXT = 16


@pytest.fixture(scope="module")
def model() -> Model:
    config = ModelConfig(
        arch="qwen3", vocab_size=61, context=CONTEXT, depth=1, width=16, heads=2, kv_heads=1,
        head_width=8, mlp_width=32,
    )  # fmt: skip
    made = build_model(config)
    made.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(3.0)  # so that tokens differ in likelihood
    return made


def tokens(count: int) -> TokenArray:
    ids = np.random.default_rng(1).integers(0, 61, count)
    return TokenArray([ids[: count // 3], ids[count // 3 :]], num_bytes=3 * count, num_documents=1)


def direct_nats(model: Model, ids: list[int]) -> float:
    """Each row alone, in float64: the sum of -log p of every token but the first."""
    total = 0.0
    for start in range(0, len(ids) - 1, CONTEXT):
        row = torch.tensor([ids[start : start + CONTEXT + 1]])
        with torch.no_grad():
            logits = model(row[:, :-1], CausalContext.of(row[:, :-1])).double()
        likelihoods = torch.softmax(logits, -1)[0]
        for place, target in enumerate(row[0, 1:].tolist()):
            total -= math.log(likelihoods[place, target].item())
    return total


@pytest.mark.parametrize("count", [2, 17, 18, 100])
@pytest.mark.parametrize("micro_rows", [1, 4])
def test_against_a_direct_computation(model: Model, count: int, micro_rows: int) -> None:
    text = tokens(count)
    nats = direct_nats(model, text.read(0, count).tolist())
    found = bits_per_byte(model, evaluation_batches(text, CONTEXT, micro_rows), text.num_bytes, CPU)
    assert found["validation_loss"] == pytest.approx(nats / (count - 1), rel=1e-5)
    assert found["bits_per_byte"] == pytest.approx(nats / math.log(2) / (3 * count), rel=1e-5)


def test_uniform_model_costs_the_logarithm_of_its_vocabulary(model: Model) -> None:
    config = model.config
    flat = build_model(config)
    flat.init_weights(torch.Generator().manual_seed(0))
    with torch.no_grad():
        flat.get_parameter("embed.weight").zero_()
    loss = mean_loss(flat, evaluation_batches(tokens(50), CONTEXT, 2), CPU)
    assert loss == pytest.approx(math.log(61), rel=1e-6)


def test_unequal_batches_are_weighted_by_their_targets(model: Model) -> None:
    row = torch.arange(CONTEXT)[None]
    masked = torch.full_like(row, IGNORE)
    masked[0, 3] = 7
    whole = Batch(tokens=row, targets=row.roll(-1), count=CONTEXT)
    part = Batch(tokens=row, targets=masked, count=1)
    nothing = Batch(tokens=row, targets=torch.full_like(row, IGNORE), count=0)
    expected = (CONTEXT * mean_loss(model, [whole], CPU) + mean_loss(model, [part], CPU)) / (
        CONTEXT + 1
    )
    assert mean_loss(model, [whole, part, nothing], CPU) == pytest.approx(expected, rel=1e-6)
    assert mean_loss(model, [nothing], CPU) == 0.0


def test_mode_of_the_model_is_put_back_and_nothing_is_remembered(model: Model) -> None:
    model.train()
    mean_loss(model, evaluation_batches(tokens(20), CONTEXT, 1), CPU)
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    with pytest.raises(ZeroDivisionError):
        mean_loss(model, (1 // 0 for _ in range(1)), CPU)
    assert model.training
    model.eval()
    mean_loss(model, evaluation_batches(tokens(20), CONTEXT, 1), CPU)
    assert not model.training
