"""Tensor names, both ways: which of transformers' tensors holds which of ours.

GPT-2 keeps its matrices as [inputs, outputs] and query, key and value side by side in one; Qwen3
keeps ours under other names; swift's modelling file is our own and uses our names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig


@dataclass(frozen=True)
class Entry:
    """One of their tensors: some of ours stacked along the outputs, turned round if need be."""

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False  # a matrix of theirs is [inputs, outputs]

    def join(self, parts: list[Tensor]) -> Tensor:
        """Their tensor of ours."""
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole.t().contiguous() if self.transposed else whole

    def cut(self, whole: Tensor) -> list[Tensor]:
        """Ours of their tensor; a vector stays as it is."""
        turned = whole.t() if self.transposed else whole
        parts = (turned,) if len(self.ours) == 1 else turned.chunk(len(self.ours))
        return [part.clone(memory_format=torch.contiguous_format) for part in parts]


GPT2_TOP = {
    "transformer.wte": "embed",
    "transformer.wpe": "position_embed",
    "transformer.ln_f": "norm",
    "lm_head": "head",
}
GPT2_BLOCK = {
    "ln_1": ("attention_norm",),
    "attn.c_attn": ("attention.query", "attention.key", "attention.value"),
    "attn.c_proj": ("attention.output",),
    "ln_2": ("mlp_norm",),
    "mlp.c_fc": ("mlp.up",),
    "mlp.c_proj": ("mlp.down",),
}
QWEN3_TOP = {"model.embed_tokens": "embed", "model.norm": "norm", "lm_head": "head"}
QWEN3_BLOCK = {
    "input_layernorm": ("attention_norm",),
    "self_attn.q_proj": ("attention.query",),
    "self_attn.k_proj": ("attention.key",),
    "self_attn.v_proj": ("attention.value",),
    "self_attn.o_proj": ("attention.output",),
    "self_attn.q_norm": ("attention.query_norm",),
    "self_attn.k_norm": ("attention.key_norm",),
    "post_attention_layernorm": ("mlp_norm",),
    "mlp.gate_proj": ("mlp.gate",),
    "mlp.up_proj": ("mlp.up",),
    "mlp.down_proj": ("mlp.down",),
}


def shapes(config: ModelConfig) -> dict[str, torch.Size]:
    """The shape of every tensor of ours, by name, without making any."""
    with torch.device("meta"):
        model = build_model(config)
    return {name: parameter.shape for name, parameter in model.named_parameters()}


def entries(config: ModelConfig) -> list[Entry]:
    """Every tensor of theirs for a model of this shape, in the order of layers."""
    return list(_entries(config, shapes(config)))


def _entries(config: ModelConfig, known: Mapping[str, torch.Size]) -> Iterator[Entry]:
    if config.arch == "swift":
        yield from (Entry(name, (name,)) for name in known)
        return
    gpt2 = config.arch == "gpt2"
    names: dict[str, tuple[str, ...]] = {
        theirs: (ours,) for theirs, ours in (GPT2_TOP if gpt2 else QWEN3_TOP).items()
    }
    for layer in range(config.depth):
        prefix = f"transformer.h.{layer}" if gpt2 else f"model.layers.{layer}"
        for theirs, ours in (GPT2_BLOCK if gpt2 else QWEN3_BLOCK).items():
            names[f"{prefix}.{theirs}"] = tuple(f"blocks.{layer}.{each}" for each in ours)
    for theirs, ours in names.items():
        for kind in ("weight", "bias"):
            parts = tuple(f"{each}.{kind}" for each in ours)
            if parts[0] in known:  # a tied model has no head, qwen3 no biases
                turned = ".h." in theirs and len(known[parts[0]]) == 2
                yield Entry(f"{theirs}.{kind}", parts, transposed=turned)


def their_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of theirs, by name."""
    known = shapes(config)
    found = {}
    for entry in _entries(config, known):
        shape = tuple(known[entry.ours[0]])
        if len(entry.ours) > 1:
            shape = (sum(known[name][0] for name in entry.ours), *shape[1:])
        found[entry.theirs] = shape[::-1] if entry.transposed else shape
    return found


def to_theirs(config: ModelConfig, ours: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our tensors under their names and in their form."""
    return {each.theirs: each.join([ours[name] for name in each.ours]) for each in entries(config)}


def to_ours(config: ModelConfig, theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Their tensors under our names and in our form: the inverse of to_theirs."""
    return {
        name: part
        for entry in entries(config)
        for name, part in zip(entry.ours, entry.cut(theirs[entry.theirs]), strict=True)
    }
