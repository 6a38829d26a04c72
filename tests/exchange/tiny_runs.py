"""Checkpoints of tiny random models with tokenizers of their own, to export."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.text import bpe
from parrotlet.text.gpt2_vocab import GPT2_CHAT, GPT2_PATTERN
from parrotlet.text.template import NATIVE
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, save_weights, verify

TEXT = """The quick brown fox jumps over the lazy dog. It's what they'd say: 1, 23, 456 and 7890!
    def f(x):\n\treturn x ** 2  # café naïve 漢字 한국어 عربى 🙂
She'LL say 'S\r\n\r\nMore   words, more. Hello to the world, and the world said hello to her.
"""
PADDING = 3  # ids of the models that no tokenizer has


@cache
def own_tokenizer(arch: str) -> Tokenizer:
    """Ours for qwen3, one in the manner of GPT-2 for gpt2."""
    pattern = GPT2_PATTERN if arch == "gpt2" else bpe.QWEN2_PATTERN
    tokens = tuple(bpe.vocabulary(bpe.train([TEXT * 9], 200, pattern)))
    return Tokenizer("bpe", tokens, GPT2_CHAT if arch == "gpt2" else NATIVE, pattern)


def shape(arch: str, tied: bool = True, **changes: Any) -> ModelConfig:
    vocab_size = own_tokenizer(arch).vocab_size + PADDING
    config = ModelConfig(
        arch="gpt2" if arch == "gpt2" else "qwen3", vocab_size=vocab_size, context=96, depth=2,
        width=64, heads=4, kv_heads=4 if arch == "gpt2" else 2,
        head_width=16 if arch == "gpt2" else 24, mlp_width=96, tied=tied, rope_base=5000.0,
        norm_eps=2e-5,
    )  # fmt: skip
    return replace(config, **changes)


def random_weights(config: ModelConfig) -> dict[str, torch.Tensor]:
    """Large enough that the next token is not always the last one; gains and biases too."""
    generator = torch.Generator().manual_seed(3)
    model = build_model(config)
    model.init_weights(generator)
    found = {}
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.1 if parameter.ndim == 1 else 0.5 if "embed" in name else 0.15
        found[name] = parameter.detach() + scale * noise
    return found


def checkpoint(
    directory: Path,
    config: ModelConfig,
    tokenizer: Tokenizer | None = None,
    weights: dict[str, torch.Tensor] | None = None,
    stage: str = "sft",
) -> Checkpoint:
    """A checkpoint in `directory`, random unless `weights` are given."""
    tokenizer = tokenizer or own_tokenizer(config.arch)
    weights = random_weights(config) if weights is None else weights
    return verify(save_weights(directory, config, weights, tokenizer, stage=stage))
