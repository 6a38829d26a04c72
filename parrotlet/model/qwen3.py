"""Qwen3 (Yang et al. 2025): what open models settled on after GPT-2.

RMSNorm, rotary positions, normed queries and keys, a gated MLP (SwiGLU), several query heads
for one key-value head, no biases. Equal to transformers' Qwen3ForCausalLM with the same weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from parrotlet.model.config import ModelConfig
from parrotlet.model.context import Context
from parrotlet.model.layers import (
    Dropout,
    Embedding,
    Linear,
    RMSNorm,
    Rotation,
    fill_normal,
    joined,
    only,
    rms_norm,
    rotate,
    rotation,
)
from parrotlet.model.model import Model


class Attention(nn.Module):
    """Queries and keys are normed per head, then turned by their position."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_width = config.head_width
        self.query = Linear(config.width, config.heads * config.head_width)
        self.key = Linear(config.width, config.kv_heads * config.head_width)
        self.value = Linear(config.width, config.kv_heads * config.head_width)
        self.output = Linear(config.heads * config.head_width, config.width)
        self.query_norm = RMSNorm(config.head_width, config.norm_eps)
        self.key_norm = RMSNorm(config.head_width, config.norm_eps)

    def forward(
        self, x: Float[Tensor, "B T D"], ctx: Context, turn: Rotation
    ) -> Float[Tensor, "B T D"]:
        rows, time, _ = x.shape
        heads, kv_heads = self.heads, self.kv_heads
        qkv = joined(x, self.query, self.key, self.value).view(rows, time, -1, self.head_width)
        qk, v = qkv.split((heads + kv_heads, kv_heads), 2)
        gains = self.query_norm.weight.expand(heads, -1), self.key_norm.weight.expand(kv_heads, -1)
        qk = rotate(rms_norm(qk, self.query_norm.eps) * torch.cat(gains).to(x.dtype), turn)
        q, k = qk.split((heads, kv_heads), 2)
        return self.output(ctx.attend(self.layer, q, k, v, None).reshape(rows, time, -1))


class MLP(nn.Module):
    """SwiGLU (Shazeer 2020): one map, passed through by the swish of another."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate = Linear(config.width, config.mlp_width)
        self.up = Linear(config.width, config.mlp_width)
        self.down = Linear(config.mlp_width, config.width)

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Block(nn.Module):
    """Attention and MLP, each on a normed copy and added to the stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.width, config.norm_eps)
        self.attention = Attention(config, layer)
        self.mlp_norm = RMSNorm(config.width, config.norm_eps)
        self.mlp = MLP(config)
        self.dropout = Dropout()

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        ctx: Context,
        turn: Rotation,
        places: Int[Tensor, " P"] | None,
    ) -> Float[Tensor, "*N D"]:
        x = x + self.dropout(self.attention(self.attention_norm(x), ctx, turn))
        x = only(x, places)
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class Qwen3(Model):
    """An embedding, L blocks, a norm, a head (the embedding itself where tied)."""

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__(config, compute_dtype)
        self.embed = Embedding(config.vocab_size, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.depth))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = None if config.tied else Linear(config.width, config.vocab_size)

    def hidden(
        self, ids: Int[Tensor, "B T"], ctx: Context, places: Int[Tensor, " P"] | None = None
    ) -> Float[Tensor, "*N D"]:
        x = self.embed(ids).to(self.compute_dtype)
        turn = rotation(ctx.positions, self.config.head_width, self.config.rope_base, x.dtype)
        last = self.blocks[-1]
        for block in self.blocks:
            x = block(x, ctx, turn, places if block is last else None)
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        if self.head is not None:
            return self.head(hidden)
        return F.linear(hidden, self.embed.weight.to(hidden.dtype))

    def init_weights(self, generator: torch.Generator) -> None:
        """Embedding and head N(0, 0.02); a matrix N(0, 1/sqrt(inputs)), so that any width keeps
        the size of its input; what is added to the stream by 1/sqrt(2L) less; gains 1.

        The scheme of OLMo (Groeneveld et al. 2024, "Mitchell" initialisation).
        """
        for name, parameter in self.named_parameters():
            if "norm" in name:
                nn.init.ones_(parameter)
                continue
            std = 1 / math.sqrt(parameter.shape[1])
            if name in ("embed.weight", "head.weight"):
                std = 0.02
            elif name.endswith(("output.weight", "down.weight")):
                std /= math.sqrt(2 * self.config.depth)
            fill_normal(parameter, std, generator)
