"""What a GGUF file says besides its tensors: the model's shape, its tokenizer, its chat template.

Keys as in the GGUF specification (ggml-org/ggml, docs/gguf.md) and as llama.cpp reads them.
"""

from __future__ import annotations

from parrotlet.core.errors import CheckpointError, UsageError
from parrotlet.exchange.dialects import chat_template
from parrotlet.exchange.merges import merges_of, pair_names, token_names
from parrotlet.model.config import ModelConfig
from parrotlet.text.bpe import QWEN2_PATTERN
from parrotlet.text.gpt2_vocab import GPT2_PATTERN
from parrotlet.text.template import Control
from parrotlet.text.tokenizer import Tokenizer

Value = str | bool | int | float | list[str] | list[int]
# llama.cpp has these patterns built in, by name; a file cannot bring one of its own.
PATTERNS = {QWEN2_PATTERN: "qwen2", GPT2_PATTERN: "gpt-2"}
NORMAL, CONTROL, UNUSED = 1, 3, 5  # types of tokens


def shape_fields(config: ModelConfig) -> dict[str, Value]:
    """The hyperparameters of a gpt2 or qwen3; rotary positions turn (i, i + C/2), as in Qwen."""
    fields: dict[str, Value] = {
        "context_length": config.context,
        "embedding_length": config.width,
        "block_count": config.depth,
        "feed_forward_length": config.mlp_width,
        "attention.head_count": config.heads,
        "vocab_size": config.vocab_size,
    }
    if config.arch == "gpt2":
        fields["attention.layer_norm_epsilon"] = config.norm_eps
    else:
        fields |= {
            "attention.head_count_kv": config.kv_heads,
            "attention.key_length": config.head_width,
            "attention.value_length": config.head_width,
            "attention.layer_norm_rms_epsilon": config.norm_eps,
            "rope.freq_base": config.rope_base,
        }
    return {f"{config.arch}.{name}": value for name, value in fields.items()}


def tokenizer_fields(tokenizer: Tokenizer, vocab_size: int) -> dict[str, Value]:
    """Tokens, merges, control tokens, and the chat template where it has a form.

    Ids beyond the tokenizer's are unused ones.

    UsageError for tokenizers that llama.cpp has no form for, CheckpointError for one that has
    more ids than the model.
    """
    _check(tokenizer, vocab_size)
    pairs = merges_of(tokenizer.tokens)
    if not pairs:
        raise UsageError(
            "the tokenizer's tokens are not merges of pairs in the order of their ids, which is "
            "all that llama.cpp reads; export with --to hf"
        )
    tokens = token_names(tokenizer.tokens)
    specials = list(tokenizer.template.specials)
    padding = range(tokenizer.vocab_size, vocab_size)
    types = [NORMAL] * len(tokens) + [CONTROL] * len(specials) + [UNUSED] * len(padding)
    fields: dict[str, Value] = {
        "tokenizer.ggml.model": "gpt2",  # byte-level BPE
        "tokenizer.ggml.pre": PATTERNS[tokenizer.pattern],
        "tokenizer.ggml.tokens": tokens + specials + [f"[PAD{index}]" for index in padding],
        "tokenizer.ggml.token_type": types,
        "tokenizer.ggml.merges": [" ".join(pair) for pair in pair_names(pairs)],
        "tokenizer.ggml.bos_token_id": tokenizer.bos_id,
        "tokenizer.ggml.eos_token_id": tokenizer.stop_id,
        "tokenizer.ggml.add_bos_token": adds_bos(tokenizer),
        "tokenizer.ggml.add_space_prefix": False,
    }
    template = chat_template(tokenizer.template)
    return fields if template is None else fields | {"tokenizer.chat_template": template}


def adds_bos(tokenizer: Tokenizer) -> bool:
    """Whether programs should put the bos token before every text: conversations begin with it."""
    return tokenizer.template.begin[:1] == (Control(tokenizer.template.bos),)


def _check(tokenizer: Tokenizer, vocab_size: int) -> None:
    if tokenizer.kind != "bpe":
        raise UsageError(
            f"a tokenizer of kind {tokenizer.kind!r} has no form in GGUF; train the model with a "
            "bpe tokenizer, or export with --to hf"
        )
    if tokenizer.pattern not in PATTERNS:
        raise UsageError(
            f"the tokenizer cuts text by {tokenizer.pattern!r}, which llama.cpp does not know; it "
            f"knows those of {' and '.join(PATTERNS.values())}: export with --to hf"
        )
    if tokenizer.vocab_size > vocab_size:
        raise CheckpointError(
            f"the tokenizer has {tokenizer.vocab_size} ids and the model {vocab_size}; "
            "they do not belong together"
        )
