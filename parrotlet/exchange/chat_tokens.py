"""Control tokens for a model that has none for turns: more ids, and a row of weights for each.

A new row is the mean of all rows plus a little noise: a token that says nothing yet, and not the
same as its neighbours. (Hewitt 2021, "Initializing new word embeddings for pretrained language
models": the mean keeps the probabilities of all other tokens almost as they were.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from parrotlet.core.errors import UsageError
from parrotlet.exchange.dialects import chat_template
from parrotlet.model.config import ModelConfig
from parrotlet.text.template import NATIVE_UNSPACED, Control
from parrotlet.text.tokenizer import Tokenizer

NOISE = 0.1  # of the spread that rows have around their mean
ROWS = ("embed.weight", "head.weight", "value_embed.weight")  # how names of tables of tokens end


def add_chat_tokens(
    config: ModelConfig, tensors: Mapping[str, Tensor], tokenizer: Tokenizer, *, seed: int = 0
) -> tuple[ModelConfig, dict[str, Tensor], Tokenizer]:
    """Shape, tensors and tokenizer with parrotlet's control tokens after the ones there are.

    Rows that a padded vocabulary has beyond its tokenizer are used first. UsageError where the
    tokenizer has a chat template already, or the model a row for every pair of tokens.
    """
    if config.bigrams >= config.vocab_size**2:
        raise UsageError(
            "its table has a row for every pair of tokens, so that it cannot take more; no "
            "--chat-tokens"
        )
    template = tokenizer.template
    if chat_template(template) is not None:
        raise UsageError("the tokenizer has control tokens for turns already; no --chat-tokens")
    others = NATIVE_UNSPACED.specials[1:]  # the first is bos
    fresh = tuple(name for name in others if name not in template.specials)
    chat = replace(
        NATIVE_UNSPACED,
        specials=template.specials + fresh,
        bos=template.bos,
        begin=(Control(template.bos),),
    )
    made = replace(tokenizer, template=chat)
    generator = torch.Generator().manual_seed(seed)
    size = max(config.vocab_size, made.vocab_size)
    first = tokenizer.vocab_size
    grown = {
        name: _grow(tensor, first, made.vocab_size, size, generator) if _is_table(name) else tensor
        for name, tensor in tensors.items()
    }
    return replace(config, vocab_size=size), grown, made


def _is_table(name: str) -> bool:
    return name in ROWS or name.endswith(f".{ROWS[-1]}")


def _grow(rows: Tensor, first: int, last: int, size: int, generator: torch.Generator) -> Tensor:
    """`size` rows, of which `first` to `last` are new."""
    known = rows[:first]
    spread, mean = torch.std_mean(known, dim=0)
    fresh = torch.randn(last - first, rows.shape[1], generator=generator) * spread * NOISE + mean
    return torch.cat([known, fresh, rows[last:size]])
