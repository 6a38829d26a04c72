"""Which of transformers' weights is which of ours, for tests that compare with its models."""

from __future__ import annotations

from torch import Tensor

GPT2_TOP = {
    "embed.weight": "transformer.wte.weight",
    "position_embed.weight": "transformer.wpe.weight",
    "norm.weight": "transformer.ln_f.weight",
    "norm.bias": "transformer.ln_f.bias",
    "head.weight": "lm_head.weight",
}
GPT2_BLOCK = {
    "attention_norm": "ln_1",
    "attention.output": "attn.c_proj",
    "mlp_norm": "ln_2",
    "mlp.up": "mlp.c_fc",
    "mlp.down": "mlp.c_proj",
}
QWEN3_TOP = {
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
QWEN3_BLOCK = {
    "attention_norm": "input_layernorm",
    "attention.query": "self_attn.q_proj",
    "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj",
    "attention.output": "self_attn.o_proj",
    "attention.query_norm": "self_attn.q_norm",
    "attention.key_norm": "self_attn.k_norm",
    "mlp_norm": "post_attention_layernorm",
    "mlp.gate": "mlp.gate_proj",
    "mlp.up": "mlp.up_proj",
    "mlp.down": "mlp.down_proj",
}


def gpt2_weights(theirs: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    """Their Conv1D keeps [inputs, outputs], and query, key and value side by side."""
    ours = {name: theirs[other] for name, other in GPT2_TOP.items()}
    for layer in range(depth):
        prefix = f"transformer.h.{layer}."
        for name, other in GPT2_BLOCK.items():
            for kind in ("weight", "bias"):
                value = theirs[f"{prefix}{other}.{kind}"]
                ours[f"blocks.{layer}.{name}.{kind}"] = value.t()  # a vector stays as it is
        for kind in ("weight", "bias"):
            thirds = theirs[f"{prefix}attn.c_attn.{kind}"].t().chunk(3)
            for name, part in zip(("query", "key", "value"), thirds, strict=True):
                ours[f"blocks.{layer}.attention.{name}.{kind}"] = part
    return ours


def qwen3_weights(theirs: dict[str, Tensor], depth: int) -> dict[str, Tensor]:
    ours = {name: theirs[other] for name, other in QWEN3_TOP.items()}
    for layer in range(depth):
        for name, other in QWEN3_BLOCK.items():
            ours[f"blocks.{layer}.{name}.weight"] = theirs[f"model.layers.{layer}.{other}.weight"]
    return ours
