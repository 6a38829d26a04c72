"""gpt2 and qwen3 are transformers' own models, given the same weights."""

from __future__ import annotations

import pytest
import torch
import transformers
from torch import Tensor
from transformers_weights import gpt2_weights, qwen3_weights

from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext
from parrotlet.model.model import Model


def assert_same_logits(model: Model, theirs: torch.nn.Module, state: dict[str, Tensor]) -> None:
    if model.config.tied:
        del state["head.weight"]
    model.load_state_dict(state)
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(model.config.vocab_size, (3, 24), generator=generator)
    with torch.no_grad():
        expected = theirs(input_ids=ids).logits
        found = model(ids, CausalContext.of(ids))
    assert expected.std() > 0.1, "the reference says nothing"
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def scramble(theirs: torch.nn.Module) -> None:
    """Gains and biases too: at their first values they would prove little."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in theirs.parameters():
            if parameter.ndim == 1:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)


@pytest.mark.parametrize("tied", [True, False])
def test_gpt2(tied: bool) -> None:
    config = ModelConfig(
        arch="gpt2",
        vocab_size=97,
        context=32,
        depth=3,
        width=48,
        heads=4,
        kv_heads=4,
        head_width=12,
        mlp_width=192,
        norm_eps=1e-5,
        tied=tied,
    )
    torch.manual_seed(1)
    theirs = transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=97,
            n_positions=32,
            n_embd=48,
            n_layer=3,
            n_head=4,
            tie_word_embeddings=tied,
            initializer_range=0.1,
            bos_token_id=None,
            eos_token_id=None,
        )
    ).eval()
    scramble(theirs)
    assert_same_logits(build_model(config), theirs, gpt2_weights(theirs.state_dict(), 3))


@pytest.mark.parametrize(("tied", "kv_heads"), [(True, 2), (False, 4), (False, 1)])
def test_qwen3(tied: bool, kv_heads: int) -> None:
    config = ModelConfig(
        arch="qwen3",
        vocab_size=97,
        context=32,
        depth=3,
        width=40,
        heads=4,
        kv_heads=kv_heads,
        head_width=16,
        mlp_width=112,
        rope_base=5_000.0,
        norm_eps=1e-6,
        tied=tied,
    )
    torch.manual_seed(2)
    theirs = transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(
            vocab_size=97,
            max_position_embeddings=32,
            hidden_size=40,
            intermediate_size=112,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=kv_heads,
            head_dim=16,
            rope_parameters={"rope_type": "default", "rope_theta": 5_000.0},
            rms_norm_eps=1e-6,
            tie_word_embeddings=tied,
            initializer_range=0.1,
        )
    ).eval()
    scramble(theirs)
    assert_same_logits(build_model(config), theirs, qwen3_weights(theirs.state_dict(), 3))
