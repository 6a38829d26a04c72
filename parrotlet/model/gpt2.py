"""GPT-2 (Radford et al. 2019): the transformer that the others are variations of.

Learned positions, LayerNorm before each part, biases, a GELU of four widths, one matrix for
embedding and head. Equal to transformers' GPT2LMHeadModel with the same weights.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from parrotlet.model.config import ModelConfig
from parrotlet.model.context import Context
from parrotlet.model.layers import Dropout, Embedding, LayerNorm, Linear, fill_normal, only
from parrotlet.model.model import Model


class Attention(nn.Module):
    """Every token asks (query) all tokens up to itself (key) for what they hold (value)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.head_width = config.heads, config.head_width
        self.query = Linear(config.width, config.width, bias=True)
        self.key = Linear(config.width, config.width, bias=True)
        self.value = Linear(config.width, config.width, bias=True)
        self.output = Linear(config.width, config.width, bias=True)

    def forward(self, x: Float[Tensor, "B T D"], ctx: Context) -> Float[Tensor, "B T D"]:
        heads = (*x.shape[:2], self.heads, self.head_width)
        q, k, v = self.query(x).view(heads), self.key(x).view(heads), self.value(x).view(heads)
        return self.output(ctx.attend(self.layer, q, k, v, None).reshape(x.shape))


class MLP(nn.Module):
    """Two linear maps with a GELU (tanh form) between, for each token alone."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(config.width, config.mlp_width, bias=True)
        self.down = Linear(config.mlp_width, config.width, bias=True)

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and MLP, each on a normed copy and added to the stream."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attention_norm = LayerNorm(config.width, config.norm_eps)
        self.attention = Attention(config, layer)
        self.mlp_norm = LayerNorm(config.width, config.norm_eps)
        self.mlp = MLP(config)
        self.dropout = Dropout()

    def forward(
        self, x: Float[Tensor, "B T D"], ctx: Context, places: Int[Tensor, " P"] | None
    ) -> Float[Tensor, "*N D"]:
        x = x + self.dropout(self.attention(self.attention_norm(x), ctx))
        x = only(x, places)
        return x + self.dropout(self.mlp(self.mlp_norm(x)))


class GPT2(Model):
    """Token and position embeddings, L blocks, a norm, a head."""

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__(config, compute_dtype)
        self.embed = Embedding(config.vocab_size, config.width)
        self.position_embed = Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.depth))
        self.norm = LayerNorm(config.width, config.norm_eps)
        self.head = None if config.tied else Linear(config.width, config.vocab_size)

    def hidden(
        self, ids: Int[Tensor, "B T"], ctx: Context, places: Int[Tensor, " P"] | None = None
    ) -> Float[Tensor, "*N D"]:
        x = (self.embed(ids) + self.position_embed(ctx.positions)).to(self.compute_dtype)
        last = self.blocks[-1]
        for block in self.blocks:
            x = block(x, ctx, places if block is last else None)
        return self.norm(x)

    def logits(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        if self.head is not None:
            return self.head(hidden)
        return F.linear(hidden, self.embed.weight.to(hidden.dtype))

    def init_weights(self, generator: torch.Generator) -> None:
        """N(0, 0.02), biases 0; what is added to the stream by 1/sqrt(2L) less (GPT-2, 2.3)."""
        added = 0.02 / math.sqrt(2 * self.config.depth)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" in name:
                nn.init.ones_(parameter)
            else:
                to_stream = name.endswith(("output.weight", "down.weight"))
                fill_normal(parameter, added if to_stream else 0.02, generator)
