"""Names of tensors in GGUF files (llama.cpp, gguf-py constants.py), and ours they are made of.

Matrices are [outputs, inputs] as ours are; GPT-2's query, key and value are stacked.
"""

from __future__ import annotations

from parrotlet.exchange.names import Entry, shapes
from parrotlet.model.config import ModelConfig

TOP = {
    "token_embd": "embed",
    "position_embd": "position_embed",
    "output_norm": "norm",
    "output": "head",
}
LAYER = {
    "attn_norm": ("attention_norm",),
    "attn_q": ("attention.query",),
    "attn_k": ("attention.key",),
    "attn_v": ("attention.value",),
    "attn_q_norm": ("attention.query_norm",),
    "attn_k_norm": ("attention.key_norm",),
    "attn_output": ("attention.output",),
    "ffn_norm": ("mlp_norm",),
    "ffn_gate": ("mlp.gate",),
    "ffn_up": ("mlp.up",),
    "ffn_down": ("mlp.down",),
}
GPT2_QKV = {"attn_qkv": ("attention.query", "attention.key", "attention.value")}


def entries(config: ModelConfig) -> list[Entry]:
    """Every tensor of the file with those of ours it is made of, in the order of layers."""
    known = shapes(config)
    names: dict[str, tuple[str, ...]] = {theirs: (ours,) for theirs, ours in TOP.items()}
    layer_names = GPT2_QKV | LAYER if config.arch == "gpt2" else LAYER
    taken = {part for parts in GPT2_QKV.values() for part in parts if config.arch == "gpt2"}
    for layer in range(config.depth):
        for theirs, parts in layer_names.items():
            if len(parts) > 1 or parts[0] not in taken:
                names[f"blk.{layer}.{theirs}"] = tuple(f"blocks.{layer}.{each}" for each in parts)
    found = []
    for theirs, ours in names.items():
        for kind in ("weight", "bias"):
            parts = tuple(f"{each}.{kind}" for each in ours)
            if parts[0] in known:  # each architecture has some of them
                found.append(Entry(f"{theirs}.{kind}", parts))
    return found
