"""Names of tensors in GGUF files (llama.cpp, gguf-py constants.py), and ours they are made of.

Matrices are [outputs, inputs] as ours are; GPT-2's query, key and value are stacked.
"""

from __future__ import annotations

from parrotlet.exchange.names import Entry, shapes
from parrotlet.model.config import ModelConfig

Parts = tuple[str, ...]
TOP: dict[str, Parts] = {
    "token_embd": ("embed",),
    "position_embd": ("position_embed",),
    "output_norm": ("norm",),
    "output": ("head",),
}
LAYER: dict[str, Parts] = {
    "attn_norm": ("attention_norm",),
    "attn_output": ("attention.output",),
    "ffn_norm": ("mlp_norm",),
    "ffn_gate": ("mlp.gate",),
    "ffn_up": ("mlp.up",),
    "ffn_down": ("mlp.down",),
}
ATTENTION: dict[str, dict[str, Parts]] = {
    "gpt2": {"attn_qkv": ("attention.query", "attention.key", "attention.value")},
    "qwen3": {
        "attn_q": ("attention.query",),
        "attn_k": ("attention.key",),
        "attn_v": ("attention.value",),
        "attn_q_norm": ("attention.query_norm",),
        "attn_k_norm": ("attention.key_norm",),
    },
}


def entries(config: ModelConfig) -> list[Entry]:
    """Every tensor of the file with those of ours it is made of."""
    known = shapes(config)
    names = dict(TOP)
    for layer in range(config.depth):
        for theirs, parts in (LAYER | ATTENTION[config.arch]).items():
            names[f"blk.{layer}.{theirs}"] = tuple(f"blocks.{layer}.{each}" for each in parts)
    found = []
    for theirs, ours in names.items():
        for kind in ("weight", "bias"):
            parts = tuple(f"{each}.{kind}" for each in ours)
            if parts[0] in known:  # each architecture has some of them
                found.append(Entry(f"{theirs}.{kind}", parts))
    return found
