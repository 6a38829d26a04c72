"""The forward pass of every architecture in as few operations as PyTorch allows, for the engine.

A decoding step of a small model is mostly overhead: modules, casts, many small operations. Here the
weights are cast or packed once, maps of one input are one map, rotations come from a table, and
nothing is kept for a backward pass. What is computed is what model/ says: the engine's contract
tests compare both. Anybody who wants to understand a model reads it there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from parrotlet.engine.packed import Map, Weights, check_packing, make_map
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import Context
from parrotlet.model.gpt2 import GPT2
from parrotlet.model.layers import Linear, rotation
from parrotlet.model.model import Model
from parrotlet.model.qwen3 import Qwen3
from parrotlet.model.swift import SHARPNESS, Swift, pair_rows


class Lean(ABC):
    """A model's weights, ready to be multiplied with, and the pass that does it."""

    def __init__(self, model: Model, quantize: Weights | None) -> None:
        """With `quantize`, activations are float32. UsageError where this machine cannot."""
        self.config: ModelConfig = model.config
        self.device = next(model.parameters()).device
        if quantize is not None:
            check_packing(quantize, self.device)
        self.dtype = model.compute_dtype if quantize is None else torch.float32
        self._quantize = quantize
        self._eps = torch.tensor(model.config.norm_eps, dtype=self.dtype, device=self.device)
        self._embedding = self._rows(cast(Any, model).embed.weight)
        head = cast(Any, model).head
        weight = cast(Any, model).embed.weight if head is None else head.weight
        self._head = make_map([weight], [None], self.dtype, quantize)

    @abstractmethod
    def hidden(self, ids: Int[Tensor, "B T"], ctx: Context) -> Float[Tensor, "B T D"]:
        """As Model.hidden."""

    def logits(self, hidden: Float[Tensor, "*N D"]) -> Float[Tensor, "*N V"]:
        """As Model.logits."""
        return self._head(hidden)

    def _map(self, *parts: Linear) -> Map:
        weights, biases = [each.weight for each in parts], [each.bias for each in parts]
        return make_map(weights, biases, self.dtype, self._quantize)

    def _cast(self, parameter: Tensor) -> Tensor:
        return parameter.detach().to(self.dtype)

    def _rows(self, weight: Tensor) -> Tensor:
        """A table of which a row at a time is read."""
        return weight.detach() if self._quantize is None else weight.detach().to(torch.float16)

    def _embed(self, ids: Int[Tensor, "B T"]) -> Float[Tensor, "B T D"]:
        return F.embedding(ids, self._embedding).to(self.dtype)

    def _normed(self, x: Float[Tensor, "*N W"]) -> Float[Tensor, "*N W"]:
        """x / sqrt(mean(x^2) + eps); the mean in float32."""
        if x.dtype != torch.float32:
            return F.rms_norm(x, (x.shape[-1],), None, self.config.norm_eps)
        size = torch.linalg.vector_norm(x, 2, -1, keepdim=True)
        return x * torch.addcmul(self._eps, size, size, value=1 / x.shape[-1]).rsqrt_()


class Turns:
    """Rotary positions from a table."""

    def __init__(self, lean: Lean) -> None:
        config = lean.config
        places = torch.arange(config.context, device=lean.device)[None]
        turn = rotation(places, config.head_width, config.rope_base, lean.dtype)
        self._cosine, self._sine = turn[0][0], turn[1][0]

    def at(self, positions: Int[Tensor, "B T"]) -> tuple[Tensor, Tensor]:
        """Cosine and signed sine, [B T 1 C] each."""
        return self._cosine[positions], self._sine[positions]


def _rotate(x: Float[Tensor, "B T N C"], turn: tuple[Tensor, Tensor]) -> Float[Tensor, "B T N C"]:
    return torch.addcmul(x * turn[0], x.roll(x.shape[-1] // 2, -1), turn[1])


class LeanGPT2(Lean):
    """model/gpt2.py, a map for queries, keys and values together."""

    def __init__(self, model: GPT2, quantize: Weights | None) -> None:
        super().__init__(model, quantize)
        self._positions = model.position_embed.weight.detach()
        self._norm = self._gains(model.norm)
        self._blocks = [
            (
                self._gains(block.attention_norm),
                self._map(block.attention.query, block.attention.key, block.attention.value),
                self._map(block.attention.output),
                self._gains(block.mlp_norm),
                self._map(block.mlp.up),
                self._map(block.mlp.down),
            )
            for block in cast(Any, model.blocks)
        ]

    def _gains(self, norm: Any) -> tuple[Tensor, Tensor]:
        return self._cast(norm.weight), self._cast(norm.bias)

    def hidden(self, ids: Int[Tensor, "B T"], ctx: Context) -> Float[Tensor, "B T D"]:
        width, eps = (self.config.width,), self.config.norm_eps
        heads = (*ids.shape, 3, self.config.heads, self.config.head_width)
        places = F.embedding(ctx.positions, self._positions)
        x = (F.embedding(ids, self._embedding) + places).to(self.dtype)
        for layer, (norm, qkv, output, mlp_norm, up, down) in enumerate(self._blocks):
            q, k, v = qkv(F.layer_norm(x, width, *norm, eps)).view(heads).unbind(2)
            x = x + output(ctx.attend(layer, q, k, v, None).reshape(x.shape))
            wide = up(F.layer_norm(x, width, *mlp_norm, eps))
            x = x + down(F.gelu(wide, approximate="tanh"))
        return F.layer_norm(x, width, *self._norm, eps)


class LeanQwen3(Lean):
    """model/qwen3.py; queries and keys are normed and turned together."""

    def __init__(self, model: Qwen3, quantize: Weights | None) -> None:
        super().__init__(model, quantize)
        self._turns = Turns(self)
        self._norm = self._cast(model.norm.weight)
        self._blocks = [self._block(block) for block in cast(Any, model.blocks)]

    def _block(self, block: Any) -> tuple[Tensor, Map, Tensor, Map, Tensor, Map, Map]:
        attention, config = block.attention, self.config
        gains = torch.cat(
            (
                self._cast(attention.query_norm.weight).expand(config.heads, -1),
                self._cast(attention.key_norm.weight).expand(config.kv_heads, -1),
            )
        )
        return (
            self._cast(block.attention_norm.weight),
            self._map(attention.query, attention.key, attention.value),
            gains,
            self._map(attention.output),
            self._cast(block.mlp_norm.weight),
            self._map(block.mlp.gate, block.mlp.up),
            self._map(block.mlp.down),
        )

    def hidden(self, ids: Int[Tensor, "B T"], ctx: Context) -> Float[Tensor, "B T D"]:
        config = self.config
        parts = [config.heads + config.kv_heads, config.kv_heads]
        heads = (*ids.shape, sum(parts), config.head_width)
        x, turn = self._embed(ids), self._turns.at(ctx.positions)
        for layer, (norm, qkv, gains, output, mlp_norm, wide, down) in enumerate(self._blocks):
            qk, v = qkv(self._normed(x) * norm).view(heads).split(parts, 2)
            q, k = _rotate(self._normed(qk) * gains, turn).split([config.heads, config.kv_heads], 2)
            x = x + output(ctx.attend(layer, q, k, v, None).reshape(*ids.shape, -1))
            gate, up = wide(self._normed(x) * mlp_norm).chunk(2, -1)
            x = x + down(F.silu(gate) * up)
        return self._normed(x) * self._norm


class LeanSwift(Lean):
    """model/swift.py; queries and keys are turned and normed together."""

    def __init__(self, model: Swift, quantize: Weights | None) -> None:
        super().__init__(model, quantize)
        self._turns = Turns(self)
        self._blocks = [self._block(block) for block in cast(Any, model.blocks)]
        blocks = list(cast(Any, model.blocks))
        self._added = self._scales([block.embedding_scale for block in blocks])
        self._pairs: Tensor | None = None
        if model.pair_embed is not None:
            self._pairs = self._rows(model.pair_embed.weight)
            self._paired = self._scales([block.pair_scale for block in blocks])

    def _scales(self, scales: list[Tensor]) -> Float[Tensor, "L 1 1 1"]:
        return self._cast(torch.stack(scales)).view(-1, 1, 1, 1)

    def _block(self, block: Any) -> tuple[Tensor, Map, tuple[Tensor, Tensor] | None, Map, Map, Map]:
        attention = block.attention
        values = None
        if attention.value_embed is not None:
            values = self._rows(attention.value_embed.weight), self._cast(attention.value_scale)
        return (
            self._cast(block.stream_scale),
            self._map(attention.query, attention.key, attention.value),
            values,
            self._map(attention.output),
            self._map(block.mlp.up),
            self._map(block.mlp.down),
        )

    def hidden(self, ids: Int[Tensor, "B T"], ctx: Context) -> Float[Tensor, "B T D"]:
        config = self.config
        parts = [config.heads + config.kv_heads, config.kv_heads]
        heads = (*ids.shape, sum(parts), config.head_width)
        x = self._normed(self._embed(ids))
        added = self._added * x  # to each layer, [L B T D]
        if self._pairs is not None:
            pairs = F.embedding(pair_rows(ids, ctx.previous, config), self._pairs).to(self.dtype)
            torch.addcmul(added, self._paired, pairs, out=added)
        turn = self._turns.at(ctx.positions)
        for layer, (kept, qkv, values, output, up, down) in enumerate(self._blocks):
            x = torch.addcmul(added[layer], kept, x)
            qk, v = qkv(self._normed(x)).view(heads).split(parts, 2)
            qk = self._normed(_rotate(qk, turn)) * SHARPNESS
            q, k = qk.split([config.heads, config.kv_heads], 2)
            if values is not None:
                rows = F.embedding(ids, values[0]).to(self.dtype)
                v = torch.addcmul(v, values[1], rows.view(v.shape))
            x = x + output(ctx.attend(layer, q, k, v, None).reshape(*ids.shape, -1))
            x = x + down(F.relu_(up(self._normed(x))).square_())
        return self._normed(x)


LEAN: dict[str, type[Any]] = {"gpt2": LeanGPT2, "qwen3": LeanQwen3, "swift": LeanSwift}


def make_lean(model: Model, quantize: Weights | None) -> Lean:
    """The lean form of a model; its weights are shared where they need no cast."""
    lean: Lean = LEAN[model.config.arch](model, quantize)
    return lean
