"""The engine's greedy answers are those of transformers' generate, with the same weights."""

from __future__ import annotations

import random

import pytest
import torch
import transformers
from transformers_weights import gpt2_weights, qwen3_weights

from parrotlet.engine.engine import Engine
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig

NEW = 24


def pair(arch: str) -> tuple[torch.nn.Module, Engine]:
    """Their model and an engine with its weights, which are large enough to matter."""
    torch.manual_seed(5)
    theirs: torch.nn.Module
    if arch == "gpt2":
        theirs = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                vocab_size=97,
                n_positions=64,
                n_embd=32,
                n_layer=2,
                n_head=4,
                initializer_range=0.3,
                bos_token_id=None,
                eos_token_id=None,
            )
        )
    else:
        theirs = transformers.Qwen3ForCausalLM(
            transformers.Qwen3Config(
                vocab_size=97,
                max_position_embeddings=64,
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                num_key_value_heads=2,
                head_dim=8,
                rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
                rms_norm_eps=1e-6,
                tie_word_embeddings=True,
                initializer_range=0.3,
            )
        )
    config = ModelConfig.from_json(
        {
            "arch": arch,
            "vocab_size": 97,
            "context": 64,
            "depth": 2,
            "width": 32,
            "heads": 4,
            "kv_heads": 4 if arch == "gpt2" else 2,
            "head_width": 8,
            "mlp_width": 128 if arch == "gpt2" else 64,
            "norm_eps": 1e-5 if arch == "gpt2" else 1e-6,
        }
    )
    weights = gpt2_weights if arch == "gpt2" else qwen3_weights
    state = weights(theirs.state_dict(), 2)
    del state["head.weight"]
    model = build_model(config)
    model.load_state_dict(state)
    return theirs.eval(), Engine(model, slots=3, prefill_chunk=5)


@pytest.mark.parametrize("arch", ["gpt2", "qwen3"])
def test_greedy_answers_are_theirs(arch: str) -> None:
    theirs, engine = pair(arch)
    chooser = random.Random(6)
    prompts = [[chooser.randrange(97) for _ in range(chooser.randint(2, 30))] for _ in range(8)]
    greedy = SamplingSettings(temperature=0.0)
    ids = [
        engine.add(Request(prompt=tuple(each), max_tokens=NEW, sampling=greedy)) for each in prompts
    ]
    found: dict[int, list[int | None]] = {id: [] for id in ids}
    while not engine.idle:
        for event in engine.step():
            found[event.request].append(event.token)
    for id, prompt in zip(ids, prompts, strict=True):
        row = torch.tensor([prompt])
        whole = theirs.generate(
            row,
            attention_mask=torch.ones_like(row),
            max_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
        )
        assert found[id] == whole[0, len(prompt) :].tolist()
    assert len({tuple(each) for each in found.values()}) > 4, "the model says always the same"
