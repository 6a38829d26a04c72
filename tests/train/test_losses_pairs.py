"""DPO and its kin: cases by hand, and a plain implementation that packs nothing."""

from __future__ import annotations

import math
import random
from typing import Literal

import numpy as np
import pytest
import torch

from parrotlet.core.runtime import Runtime
from parrotlet.data.pairs import PairRows, pack_pairs
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model
from parrotlet.text.chat import Rendered
from parrotlet.train.losses_pairs import PairObjective, pair_losses, reply_logprobs
from parrotlet.train.tally import Tally

ALONE = Runtime(device=torch.device("cpu"), compute_dtype=torch.float32)
BETA, ANCHOR = 0.3, 0.2


def model_of(seed: int) -> Model:
    config = ModelConfig(
        arch="qwen3", vocab_size=20, context=16, depth=2, width=16, heads=2, kv_heads=1,
        head_width=8, mlp_width=16,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(seed))
    return model


@pytest.mark.parametrize(
    ("kind", "margin", "beta", "smoothing", "loss"),
    [
        ("dpo", 0.0, 0.1, 0.0, math.log(2)),
        ("dpo", 2.0, 0.5, 0.0, 0.313261687518),  # log(1 + exp(-1))
        ("dpo", -2.0, 0.5, 0.0, 1.313261687518),
        ("dpo", 2.0, 0.5, 0.1, 0.413261687518),  # 0.9 of the first and 0.1 of the second
        ("ipo", 2.0, 0.5, 0.0, 1.0),  # (2 - 1)^2
        ("ipo", 0.0, 0.1, 0.0, 25.0),
    ],
)
def test_cases_by_hand(
    kind: str, margin: float, beta: float, smoothing: float, loss: float
) -> None:
    found = pair_losses(torch.tensor([margin]), kind=kind, beta=beta, smoothing=smoothing)  # type: ignore[arg-type]
    assert found.item() == pytest.approx(loss, rel=1e-6)


def some_pairs(count: int) -> list[tuple[Rendered, Rendered]]:
    chance = random.Random(3)

    def side(prompt: list[int]) -> Rendered:
        reply = [chance.randrange(20) for _ in range(chance.randrange(1, 6))]
        return Rendered(prompt + reply, [False] * len(prompt) + [True] * len(reply))

    made = []
    for _ in range(count):
        prompt = [chance.randrange(20) for _ in range(chance.randrange(1, 8))]
        made.append((side(prompt), side(prompt)))
    return made


def plain(model: Model, side: Rendered) -> torch.Tensor:
    """The log-probability of a reply: one row, all logits, one addition a token."""
    ids = torch.tensor([side.ids])
    logprobs = model(ids, CausalContext.of(ids)).log_softmax(-1)[0]
    learned = [place for place, said in enumerate(side.mask) if said and place]
    return torch.stack([logprobs[place - 1, side.ids[place]] for place in learned]).sum()


def packed(reference: Model, pairs: list[tuple[Rendered, Rendered]]) -> PairRows:
    rows = pack_pairs(pairs, 16)
    batch = rows.batch(np.arange(len(rows)))
    with torch.no_grad():
        found, _ = reply_logprobs(reference, batch, int(rows.segments.max()))
    return PairRows(rows=rows, reference=found.numpy())


def test_rows_are_as_long_as_the_longest_pair() -> None:
    def places(context: int, *lengths: int) -> int:
        half = [Rendered([1] * (length // 2 + 1), [True] * (length // 2 + 1)) for length in lengths]
        return int(pack_pairs([(side, side) for side in half], context).tokens.shape[1])

    assert places(256, 60, 120) == 256  # never less than the context
    assert places(256, 60, 320) == 320
    assert places(256, 60, 322) == 384
    assert places(168, 60, 330) == 336  # never more than two whole contexts


@pytest.mark.parametrize(("kind", "smoothing"), [("dpo", 0.0), ("dpo", 0.2), ("ipo", 0.0)])
def test_against_a_plain_implementation(kind: Literal["dpo", "ipo"], smoothing: float) -> None:
    policy, reference = model_of(1), model_of(2)
    pairs = some_pairs(7)
    rows = packed(reference, pairs)
    assert len(rows) < len(pairs)  # several pairs in a row
    tally = Tally()
    objective = PairObjective(kind=kind, beta=BETA, smoothing=smoothing, anchor=ANCHOR, tally=tally)
    batch = rows.batch(np.arange(len(rows)))
    assert batch.count == len(pairs)
    loss = objective(policy, batch)
    loss.backward()  # type: ignore[no-untyped-call]
    gradients = [each.grad.clone() for each in policy.parameters() if each.grad is not None]
    policy.zero_grad()
    wanted, right = torch.zeros(()), 0
    for chosen, rejected in pairs:
        gains = []
        for side in (chosen, rejected):
            with torch.no_grad():
                before = plain(reference, side)
            gains.append(plain(policy, side) - before)
        likely = torch.sigmoid(BETA * (gains[0] - gains[1]))
        if kind == "ipo":
            wanted = wanted + (gains[0] - gains[1] - 0.5 / BETA) ** 2
        else:
            wanted = wanted - (1 - smoothing) * likely.log() - smoothing * (1 - likely).log()
        wanted = wanted - ANCHOR * plain(policy, chosen) / sum(chosen.mask)
        right += int(gains[0] > gains[1])
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)
    assert tally.means(ALONE)["accuracy"] == pytest.approx(right / len(pairs))
    wanted.backward()  # type: ignore[no-untyped-call]
    for gradient, parameter in zip(gradients, policy.parameters(), strict=True):
        assert parameter.grad is not None
        largest = float(parameter.grad.abs().max())  # tens for IPO: rounding goes with it
        assert torch.allclose(gradient, parameter.grad, atol=1e-5 * max(largest, 1.0))


def test_a_split_step_is_the_whole_and_starts_at_chance() -> None:
    policy = model_of(1)
    rows = packed(policy, some_pairs(9))
    tally = Tally()
    objective = PairObjective(kind="dpo", beta=BETA, smoothing=0.0, anchor=0.0, tally=tally)
    whole = objective(policy, rows.batch(np.arange(len(rows))))
    assert whole.item() / 9 == pytest.approx(math.log(2), abs=1e-5)
    means = tally.means(ALONE)
    assert means["drift"] == pytest.approx(0.0, abs=1e-5)
    parts = [objective(policy, each) for each in rows.batches(1)]
    assert sum(each.item() for each in parts) == pytest.approx(whole.item(), rel=1e-6)
    assert sum(each.count for each in rows.batches(1)) == 9
