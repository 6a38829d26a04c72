"""The map of tensor names: against transformers' own shapes, and against the tests' own map."""

from __future__ import annotations

from typing import Any

import foreign
import pytest
import torch
import transformers
from transformers_weights import gpt2_weights, qwen3_weights

from parrotlet.exchange.names import shapes, their_shapes, to_ours, to_theirs
from parrotlet.model.config import ModelConfig

GPT2_SIZES = [(768, 12, 12), (1024, 24, 16), (1280, 36, 20), (1600, 48, 25)]
QWEN3_SIZES = [(1024, 28, 16, 3072, True), (4096, 36, 32, 12288, False)]  # 0.6B and 8B


def shapes_of(model: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in model.named_parameters()}


@pytest.mark.parametrize(("width", "depth", "heads"), GPT2_SIZES)
def test_shapes_of_all_sizes_of_gpt2(width: int, depth: int, heads: int) -> None:
    with torch.device("meta"):
        theirs = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(n_embd=width, n_layer=depth, n_head=heads)
        )
    config = ModelConfig(
        arch="gpt2", vocab_size=50_257, context=1024, depth=depth, width=width, heads=heads,
        kv_heads=heads, head_width=width // heads, mlp_width=4 * width, norm_eps=1e-5,
    )  # fmt: skip
    assert their_shapes(config) == shapes_of(theirs)


@pytest.mark.parametrize(("width", "depth", "heads", "mlp", "tied"), QWEN3_SIZES)
def test_shapes_of_qwen3(width: int, depth: int, heads: int, mlp: int, tied: bool) -> None:
    with torch.device("meta"):
        theirs = transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(
                vocab_size=151_936, hidden_size=width, num_hidden_layers=depth,
                num_attention_heads=heads, num_key_value_heads=8, head_dim=128,
                intermediate_size=mlp, tie_word_embeddings=tied,
            )
        )  # fmt: skip
    config = ModelConfig(
        arch="qwen3", vocab_size=151_936, context=64, depth=depth, width=width, heads=heads,
        kv_heads=8, head_width=128, mlp_width=mlp, tied=tied,
    )  # fmt: skip
    assert their_shapes(config) == shapes_of(theirs)


def test_tensors_are_those_of_an_independent_map() -> None:
    gpt2, qwen3 = foreign.gpt2_model(tied=False), foreign.qwen3_model(tied=False)
    cases = [
        (gpt2, gpt2_weights(gpt2.state_dict(), 2), ModelConfig(
            arch="gpt2", vocab_size=gpt2.config.vocab_size, context=64, depth=2, width=48, heads=4,
            kv_heads=4, head_width=12, mlp_width=192, tied=False)),
        (qwen3, qwen3_weights(qwen3.state_dict(), 2), ModelConfig(
            arch="qwen3", vocab_size=qwen3.config.vocab_size, context=64, depth=2, width=40,
            heads=4, kv_heads=2, head_width=16, mlp_width=112, tied=False)),
    ]  # fmt: skip
    for model, expected, config in cases:
        found = to_ours(config, model.state_dict())
        assert found.keys() == expected.keys() == shapes(config).keys()
        for name, tensor in found.items():
            assert torch.equal(tensor, expected[name]), name
        back = to_theirs(config, found)
        assert back.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(back[name], tensor), name
