"""swift: whatever learns fastest per second on the same hardware.

What differs from qwen3: norms without weights, also after the embedding; rotary positions before
the norm of queries and keys; squared ReLU; every other layer's values have a row for the token
itself added; the stream is scaled and the embedding added again before every block, with a row for
each token and the one before it. Most of it is known from modded-nanogpt and nanochat; pieces from
elsewhere say so below. LOG.md has what each piece is worth, and what did not earn its place.
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
    Rotation,
    fill_normal,
    fill_uniform,
    joined,
    only,
    rms_norm,
    rotate,
    rotation,
)
from parrotlet.model.model import Model

SHARPNESS = 1.2  # of queries and of keys: normed ones could only give soft attention
HASHES = (36_313, 27_191)  # of the token before and of the token, for a table of pairs


def has_value_table(config: ModelConfig, layer: int) -> bool:
    """Whether the values of this layer have a row for the token itself added."""
    return (config.depth - 1 - layer) % 2 == 0


class Attention(nn.Module):
    """Attention; in every other layer, the last among them, values have a table's row added."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads = config.heads, config.kv_heads
        self.head_width, self.eps = config.head_width, config.norm_eps
        self.query = Linear(config.width, config.heads * config.head_width)
        self.key = Linear(config.width, config.kv_heads * config.head_width)
        self.value = Linear(config.width, config.kv_heads * config.head_width)
        self.output = Linear(config.heads * config.head_width, config.width)
        table = has_value_table(config, layer)
        rows = config.kv_heads * config.head_width
        self.value_embed = Embedding(config.vocab_size, rows) if table else None
        self.value_scale = nn.Parameter(torch.tensor(1.5)) if table else None

    def forward(
        self, x: Float[Tensor, "B T D"], ids: Int[Tensor, "B T"], ctx: Context, turn: Rotation
    ) -> Float[Tensor, "B T D"]:
        """What to add to the stream."""
        rows, time, _ = x.shape
        qkv = joined(x, self.query, self.key, self.value).view(rows, time, -1, self.head_width)
        qk, v = qkv.split((self.heads + self.kv_heads, self.kv_heads), 2)
        q, k = (rms_norm(rotate(qk, turn), self.eps) * SHARPNESS).split(
            (self.heads, self.kv_heads), 2
        )
        if self.value_embed is not None and self.value_scale is not None:
            v = v + self.value_scale.to(v.dtype) * self.value_embed(ids).to(v.dtype).view(v.shape)
        mixed = ctx.attend(self.layer, q, k, v, None)
        return self.output(mixed.reshape(rows, time, -1))


class MLP(nn.Module):
    """Two linear maps with a squared ReLU between (Primer, So et al. 2021)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = Linear(config.width, config.mlp_width)
        self.down = Linear(config.mlp_width, config.width)

    def forward(self, x: Float[Tensor, "*N D"]) -> Float[Tensor, "*N D"]:
        return self.down(F.relu(self.up(x)).square())


def pair_rows(
    ids: Int[Tensor, "B T"], previous: Int[Tensor, "B T"], config: ModelConfig
) -> Int[Tensor, "B T"]:
    """The row of the table of pairs for each token and the one before it.

    Every pair has its own where there are so many rows; else a hash decides which pairs share one.
    """
    if config.bigrams >= config.vocab_size**2:
        return previous * config.vocab_size + ids
    return (previous * HASHES[0] ^ ids * HASHES[1]) % config.bigrams


class Block(nn.Module):
    """The stream scaled, the embedding added again, then attention and MLP as elsewhere."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.stream_scale = nn.Parameter(torch.tensor(1.0))
        self.embedding_scale = nn.Parameter(torch.tensor(0.0))
        self.pair_scale = nn.Parameter(torch.tensor(0.1)) if config.bigrams else None
        self.attention = Attention(config, layer)
        self.mlp = MLP(config)
        self.dropout = Dropout()

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        embedded: Float[Tensor, "B T D"],
        pairs: Float[Tensor, "B T D"] | None,
        ids: Int[Tensor, "B T"],
        ctx: Context,
        turn: Rotation,
        places: Int[Tensor, " P"] | None,
    ) -> Float[Tensor, "*N D"]:
        """The stream after this block, or of it these places."""
        x = self.stream_scale * x + self.embedding_scale * embedded
        if pairs is not None and self.pair_scale is not None:
            x = x + self.pair_scale * pairs
        x = x + self.dropout(self.attention(rms_norm(x, self.eps), ids, ctx, turn))
        x = only(x, places)
        return x + self.dropout(self.mlp(rms_norm(x, self.eps)))


class Swift(Model):
    """A normed embedding, a table of pairs, L blocks, a norm, a head of its own."""

    def __init__(self, config: ModelConfig, compute_dtype: torch.dtype = torch.float32) -> None:
        super().__init__(config, compute_dtype)
        self.embed = Embedding(config.vocab_size, config.width)
        self.pair_embed = Embedding(config.bigrams, config.width) if config.bigrams else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.depth))
        self.head = Linear(config.width, config.vocab_size)

    def hidden(
        self, ids: Int[Tensor, "B T"], ctx: Context, places: Int[Tensor, " P"] | None = None
    ) -> Float[Tensor, "*N D"]:
        embedded = rms_norm(self.embed(ids).to(self.compute_dtype), self.config.norm_eps)
        turn = rotation(
            ctx.positions, self.config.head_width, self.config.rope_base, embedded.dtype
        )
        pairs = None
        if self.pair_embed is not None:
            rows = pair_rows(ids, ctx.previous, self.config)
            pairs = self.pair_embed(rows).to(self.compute_dtype)
        x, last = embedded, self.blocks[-1]
        for block in self.blocks:
            x = block(x, embedded, pairs, ids, ctx, turn, places if block is last else None)
        return rms_norm(x, self.config.norm_eps)

    def logits(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        return self.head(hidden)

    def init_weights(self, generator: torch.Generator) -> None:
        """What a block adds starts from 0, so the first step sees the embedding alone; other
        matrices are uniform with the spread 1/sqrt(width), as in nanochat; the head is small, the
        table of pairs zero.
        """
        fill_normal(self.embed.weight, 0.8, generator)
        fill_normal(self.head.weight, 0.001, generator)
        if self.pair_embed is not None:
            nn.init.zeros_(self.pair_embed.weight)
        for name, parameter in self.blocks.named_parameters():
            if name.endswith(("output.weight", "down.weight", "embedding_scale")):
                nn.init.zeros_(parameter)
            elif name.endswith("value_scale"):
                nn.init.constant_(parameter, 1.5)
            elif name.endswith("stream_scale"):
                nn.init.ones_(parameter)
            elif name.endswith("pair_scale"):
                nn.init.constant_(parameter, 0.1)
            else:
                fill_uniform(parameter, math.sqrt(3 / self.config.width), generator)
