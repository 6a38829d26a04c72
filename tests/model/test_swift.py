"""swift against its description written out token by token, with complex numbers for rotation."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.layers import Dropout

CONFIG = ModelConfig(
    arch="swift",
    vocab_size=43,
    context=16,
    depth=3,
    width=24,
    heads=4,
    kv_heads=2,
    head_width=6,
    mlp_width=40,
    rope_base=500.0,
    tied=False,
    bigrams=97,
)


def normed(x: Tensor) -> Tensor:
    return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-6)


def turned(x: Tensor, position: int) -> Tensor:
    """[heads, 6]: numbers i and i + 3 are one complex number."""
    angles = position * 500.0 ** (-torch.arange(3, dtype=torch.float64) / 3)
    pairs = torch.complex(x[:, :3], x[:, 3:]) * torch.polar(torch.ones(3).double(), angles)
    return torch.cat((pairs.real, pairs.imag), -1)


def described(weights: dict[str, Tensor], ids: list[int]) -> Tensor:
    """Logits of one sequence, in float64; the first token has itself before it."""
    embedded = [normed(weights["embed.weight"][token]) for token in ids]
    table = weights["pair_embed.weight"]
    pairs = [
        table[(a * 36_313 ^ b * 27_191) % 97 if len(table) == 97 else a * 43 + b]
        for a, b in pairwise([ids[0], *ids])
    ]
    stream = list(embedded)
    for layer in range(3):
        part = {
            name.removeprefix(f"blocks.{layer}."): value
            for name, value in weights.items()
            if name.startswith(f"blocks.{layer}.")
        }
        stream = [
            part["stream_scale"] * x + part["embedding_scale"] * x0 + part["pair_scale"] * pair
            for x, x0, pair in zip(stream, embedded, pairs, strict=True)
        ]
        queries, keys, values = [], [], []
        for t, x in enumerate(stream):
            q, k, v = (
                (part[f"attention.{name}.weight"] @ normed(x)).view(-1, 6)
                for name in ("query", "key", "value")
            )
            queries.append(1.2 * normed(turned(q, t)))
            keys.append(1.2 * normed(turned(k, t)))
            values.append(v)
        if layer in (0, 2):  # every other one, the last among them
            rows = part["attention.value_scale"] * part["attention.value_embed.weight"][ids]
            values = [v + row.view(-1, 6) for v, row in zip(values, rows, strict=True)]
        for t, q in enumerate(queries):
            heads = []
            for head in range(4):
                shared = head // 2
                scores = torch.stack([q[head] @ keys[s][shared] for s in range(t + 1)])
                shares = torch.softmax(scores / math.sqrt(6), 0)
                heads.append(sum(shares[s] * values[s][shared] for s in range(t + 1)))
            stream[t] = stream[t] + part["attention.output.weight"] @ torch.cat(heads)
        for t, x in enumerate(stream):
            up = torch.relu(part["mlp.up.weight"] @ normed(x)) ** 2
            stream[t] = x + part["mlp.down.weight"] @ up
    return torch.stack([weights["head.weight"] @ normed(x) for x in stream])


@pytest.mark.parametrize("rows", [97, 43 * 43], ids=["hashed", "every pair"])
def test_swift_is_its_description(rows: int) -> None:
    """In float64, so that what is left is the float32 of the angles."""
    model = build_model(replace(CONFIG, bigrams=rows), torch.float64).double()
    generator = torch.Generator().manual_seed(0)
    model.init_weights(generator)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
        ids = torch.randint(43, (1, 11), generator=generator)
        found = model(ids, CausalContext.of(ids))[0]
    expected = described(dict(model.state_dict()), ids[0].tolist())
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_first_values() -> None:
    """Nothing is added to the stream at first, and the scales start where they should."""
    model = build_model(CONFIG)
    model.init_weights(torch.Generator().manual_seed(0))
    state = model.state_dict()
    for name, value in state.items():
        if name.endswith(("output.weight", "down.weight", "embedding_scale", "pair_embed.weight")):
            assert not value.any(), name
        elif name.endswith(
            ("query.weight", "key.weight", "value.weight", "up.weight", "value_embed.weight")
        ):
            bound = math.sqrt(3 / 24)
            assert 0.9 * bound < value.abs().max() <= bound, name
    assert abs(state["embed.weight"].std() - 0.8) < 0.05
    assert abs(state["head.weight"].std() - 0.001) < 1e-4
    assert state["blocks.2.attention.value_scale"] == 1.5
    assert state["blocks.1.stream_scale"] == 1.0
    assert abs(state["blocks.1.pair_scale"] - 0.1) < 1e-6
    assert "blocks.1.attention.value_scale" not in state


@pytest.mark.parametrize("arch", ["gpt2", "qwen3", "swift"])
def test_dropout_is_of_training_alone_and_of_every_block(arch: str) -> None:
    others = {} if arch == "swift" else {"tied": True, "bigrams": 0}
    config = replace(CONFIG, arch=arch, kv_heads=4, **others)
    model = build_model(config)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    ids = torch.arange(10)[None]
    whole = model(ids, CausalContext.of(ids))
    model.set_dropout(0.5)
    assert not torch.equal(model(ids, CausalContext.of(ids)), whole)
    model.eval()
    assert torch.equal(model(ids, CausalContext.of(ids)), whole)
    thinned = [each for each in model.modules() if isinstance(each, Dropout)]
    assert len(thinned) == config.depth


def test_dropout_keeps_the_mean_and_repeats_with_a_seed() -> None:
    dropout, x = Dropout(), torch.ones(1000, 37)
    dropout.share = 0.1
    torch.manual_seed(0)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(0)
    assert torch.equal(dropout(x), first)
    assert not torch.equal(first, second)
    assert abs(float((first == 0).float().mean()) - 26 / 256) < 0.01
    assert abs(float(first.mean()) - 1) < 0.01
    assert len(first.unique()) == 2
