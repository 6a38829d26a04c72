"""The variants that bench/ablate.py compares: pieces of swift and of Muon taken out or put in.

Pieces says what a model is made of, Steps what Muon does; with their defaults both are ours, to the
bit (a test holds it). VARIANTS names what is compared.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parrotlet.model.config import ModelConfig
from parrotlet.model.context import Context
from parrotlet.model.layers import (
    Embedding,
    Linear,
    fill_uniform,
    joined,
    only,
    rms_norm,
    rotate,
    rotation,
)
from parrotlet.model.swift import SHARPNESS, Swift, has_value_table, pair_rows
from parrotlet.optim.muon import NEWTON_SCHULZ, POLAR_EXPRESS, Coefficients, Muon, orthogonalise
from parrotlet.optim.schedule import Rates

GATE_INPUTS = 12  # numbers of the stream that a gate sees, as in modded-nanogpt
BASE = "base"


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What a model is made of; the defaults are swift."""

    value_tables: bool = True  # every other layer's values have a row for each token added
    stream_scale: bool = True
    embedding_again: bool = True
    embedding_norm: bool = True
    activation: str = "relu2"
    qk_norm: bool = True
    sharpness: float = SHARPNESS
    zero_start: bool = True
    tied: bool = False
    pairs: bool = True  # a table of pairs of tokens is added before every block
    # swift has none of these; they are known from modded-nanogpt and nanochat
    factor_starts: bool = False  # stream 1.15 to 1.05, embedding 0.20 to 0.05, layer by layer
    cap: float | None = None  # logits are kept below it by a tanh (Gemma 2, 2024)
    up_start: float = 1.0  # of the MLP's first matrix, as a share of the others' spread
    smear: bool = False  # the embedding before is mixed in, by a gate
    backout: bool = False  # a share of the middle of the stream is taken off at the end
    skips: bool = False  # the first half's streams are added to the second half's (U-net)
    value_mixing: bool = False  # later layers mix the first one's values in (Zhou et al. 2024)
    value_gates: bool = False  # a head's share of its table's row is a gate's
    head_gates: bool = False  # each head's output is weighed by a gate
    orthogonal_values: bool = False  # what lies along a token's own value is taken off (XSA)


class Attention(nn.Module):
    """swift's attention, with pieces taken out or put in."""

    def __init__(self, config: ModelConfig, layer: int, pieces: Pieces) -> None:
        super().__init__()
        self.config, self.layer, self.pieces = config, layer, pieces
        self.query = Linear(config.width, config.width)
        self.key = Linear(config.width, config.width)
        self.value = Linear(config.width, config.width)
        self.output = Linear(config.width, config.width)
        mixes = pieces.value_mixing and layer > 0
        self.first_value_scale = nn.Parameter(torch.tensor(0.5)) if mixes else None
        table = pieces.value_tables and has_value_table(config, layer)
        self.value_embed = Embedding(config.vocab_size, config.width) if table else None
        scaled, gated = table and not pieces.value_gates, table and pieces.value_gates
        self.value_scale = nn.Parameter(torch.tensor(1.5)) if scaled else None
        self.table_gate = Linear(GATE_INPUTS, config.heads) if gated else None
        self.head_gate = Linear(GATE_INPUTS, config.heads) if pieces.head_gates else None

    def forward(
        self, x: Tensor, ids: Tensor, ctx: Context, turn: Any, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What to add to the stream, and the first layer's values."""
        shape = (*x.shape[:2], self.config.heads, self.config.head_width)
        qkv = joined(x, self.query, self.key, self.value).view(*shape[:2], -1, shape[3])
        qk, v = qkv.split((2 * shape[2], shape[2]), 2)
        qk = rotate(qk, turn)
        if self.pieces.qk_norm:
            qk = rms_norm(qk, self.config.norm_eps) * self.pieces.sharpness
        q, k = qk.chunk(2, 2)
        if self.value_embed is not None:
            share = self.value_scale
            if self.table_gate is not None:
                share = 3 * torch.sigmoid(self.table_gate(x[..., :GATE_INPUTS]))[..., None]
            assert share is not None
            v = v + share.to(v.dtype) * self.value_embed(ids).to(v.dtype).view(shape)
        if first is None or self.first_value_scale is None:
            first = v if first is None else first
        else:
            v = torch.lerp(v, first, self.first_value_scale.to(v.dtype))
        mixed = self._attend(ctx, q, k, v)
        if self.head_gate is not None:
            mixed = mixed * (2 * torch.sigmoid(self.head_gate(x[..., :GATE_INPUTS])))[..., None]
        return self.output(mixed.reshape(x.shape)), first

    def _attend(self, ctx: Context, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention, and what XSA takes off."""
        mixed = ctx.attend(self.layer, q, k, v, None)
        if not self.pieces.orthogonal_values:
            return mixed
        along = F.normalize(v, dim=-1)
        return mixed - (mixed * along).sum(-1, keepdim=True) * along


class MLP(nn.Module):
    """Two linear maps and an activation; SwiGLU has three of two thirds of the width."""

    def __init__(self, config: ModelConfig, activation: str) -> None:
        super().__init__()
        self.activation = activation
        width = config.mlp_width if activation != "swiglu" else -(-config.mlp_width * 2 // 48) * 16
        self.gate = Linear(config.width, width) if activation == "swiglu" else None
        self.up = Linear(config.width, width)
        self.down = Linear(width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """What to add to the stream."""
        if self.gate is not None:
            return self.down(F.silu(self.gate(x)) * self.up(x))
        up = self.up(x)
        return self.down(F.relu(up).square() if self.activation == "relu2" else F.gelu(up))


class Block(nn.Module):
    """swift's block."""

    def __init__(self, config: ModelConfig, layer: int, pieces: Pieces) -> None:
        super().__init__()
        self.eps = config.norm_eps
        self.stream_scale = nn.Parameter(torch.tensor(1.0)) if pieces.stream_scale else None
        self.embedding_scale = nn.Parameter(torch.tensor(0.0)) if pieces.embedding_again else None
        self.pair_scale = nn.Parameter(torch.tensor(0.1)) if pieces.pairs else None
        self.attention = Attention(config, layer, pieces)
        self.mlp = MLP(config, pieces.activation)

    def forward(
        self, x: Tensor, extra: dict[str, Tensor], ctx: Context, turn: Any, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The stream after this block, and the first layer's values."""
        if self.stream_scale is not None:
            x = self.stream_scale * x
        if self.embedding_scale is not None:
            x = x + self.embedding_scale * extra["embedded"]
        if self.pair_scale is not None:
            x = x + self.pair_scale * extra["pairs"]
        added, first = self.attention(rms_norm(x, self.eps), extra["ids"], ctx, turn, first)
        x = x + added
        return x + self.mlp(rms_norm(x, self.eps)), first


class Ablated(Swift):
    """swift with other pieces; with the default ones it is swift, to the bit (a test holds it)."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, pieces: Pieces) -> None:
        super().__init__(config if pieces.pairs else replace(config, bigrams=0), dtype)
        self.pieces = pieces
        self.blocks = nn.ModuleList(Block(config, i, pieces) for i in range(config.depth))
        if pieces.tied:
            self.head.weight = self.embed.weight
        self.smear = nn.Parameter(torch.zeros(GATE_INPUTS + 1)) if pieces.smear else None
        self.backout = nn.Parameter(torch.tensor(0.2)) if pieces.backout else None
        self.skips = nn.Parameter(torch.ones(config.depth // 2)) if pieces.skips else None

    def hidden(self, ids: Tensor, ctx: Context, places: Tensor | None = None) -> Tensor:
        """The states after the last norm."""
        embedded = self.embed(ids).to(self.compute_dtype)
        if self.pieces.embedding_norm:
            embedded = rms_norm(embedded, self.config.norm_eps)
        if self.smear is not None:
            before = F.pad(embedded[:, :-1], (0, 0, 1, 0))
            gate = torch.sigmoid(embedded[..., :GATE_INPUTS] @ self.smear[1:].to(embedded.dtype))
            embedded = embedded + self.smear[0] * gate[..., None] * before
        extra = {"ids": ids, "embedded": embedded}
        if self.pair_embed is not None:
            rows = pair_rows(ids, ctx.previous, self.config)
            extra["pairs"] = self.pair_embed(rows).to(embedded.dtype)
        turn = rotation(
            ctx.positions, self.config.head_width, self.config.rope_base, embedded.dtype
        )
        x, first, middle = embedded, None, self.config.depth // 2
        streams: list[Tensor] = []
        for layer, block in enumerate(self.blocks):
            if self.skips is not None and layer >= self.config.depth - middle:
                x = (
                    x
                    + self.skips[layer - self.config.depth] * streams[self.config.depth - 1 - layer]
                )
            x, first = block(x, extra, ctx, turn, first)
            streams.append(x)
        if self.backout is not None:
            x = x - self.backout * streams[middle - 1]
        return rms_norm(only(x, places), self.config.norm_eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """The head's, capped or not."""
        cap, logits = self.pieces.cap, self.head(hidden)
        return logits if cap is None else cap * torch.tanh(logits / cap)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        """swift's first weights where swift has them, whatever else is there; then the others'."""
        plain = Swift(self.config)
        plain.init_weights(generator)
        known = dict(plain.named_parameters())
        for name, parameter in self.named_parameters():
            if name in known and known[name].shape == parameter.shape:
                parameter.copy_(known[name])
            elif name.endswith(("up.weight", "mlp.gate.weight", "value_embed.weight")):
                fill_uniform(parameter, math.sqrt(3 / self.config.width), generator)
        for layer, block in enumerate(self.blocks):
            block.mlp.up.weight.mul_(self.pieces.up_start)
            for output in (block.attention.output, block.mlp.down):
                if not self.pieces.zero_start:
                    inputs = output.weight.shape[1] * 2 * self.config.depth  # as in GPT-2
                    fill_uniform(output.weight, math.sqrt(3 / inputs), generator)
            if self.pieces.factor_starts:
                share = layer / (self.config.depth - 1)
                block.stream_scale.fill_(1.15 - 0.10 * share)
                block.embedding_scale.fill_(0.20 - 0.15 * share)
        if self.pieces.tied:
            self.embed.weight.mul_(0.02 / self.embed.weight.std())


@dataclass(frozen=True, kw_only=True)
class Steps:
    """What Muon does to its momenta; the defaults are ours."""

    coefficients: Coefficients = POLAR_EXPRESS
    equal_rows: bool = False  # every row scaled to the mean norm first (MuonEq-R)
    rescaled: bool = False  # to the norm of an orthogonal matrix (Muon+)
    second_moment: float | None = None  # decay of rows' mean squares, divided by (NorMuon)
    cautious: bool = False  # decay only what the update makes smaller too


class OtherMuon(Muon):
    """Muon with other steps."""

    def __init__(self, parameters: Iterable[nn.Parameter], steps: Steps, **options: Any) -> None:
        super().__init__(parameters, coefficients=steps.coefficients, **options)
        self.steps = steps
        self.squares: dict[torch.Size, Tensor] = {}

    def _orthogonal(self, stack: Tensor) -> Tensor:
        if self.steps.equal_rows:
            norms = stack.norm(dim=-1, keepdim=True)
            whole = stack.norm(dim=(-2, -1), keepdim=True) / math.sqrt(stack.shape[-2])
            stack = stack * (whole / norms.clamp(min=1e-7))
        made = orthogonalise(stack, self.coefficients, self.dtype).float()
        if self.steps.rescaled:
            norm = made.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
            made = made * (math.sqrt(min(made.shape[-2:])) / norm)
        if self.steps.second_moment is None:
            return made
        along = -1 if made.shape[-2] >= made.shape[-1] else -2
        found = made.square().mean(along, keepdim=True)
        kept = self.squares.setdefault(stack.shape, torch.zeros_like(found))
        kept.lerp_(found, 1 - self.steps.second_moment)
        scaled = made * kept.clamp(min=1e-10).rsqrt()
        norms = [each.norm(dim=(-2, -1), keepdim=True) for each in (made, scaled)]
        return scaled * (norms[0] / norms[1].clamp(min=1e-7))

    def _update(
        self, parameters: list[nn.Parameter], shape: torch.Size, group: dict[str, Any]
    ) -> None:
        """The decay is put back where the update goes against it."""
        if not (self.steps.cautious and group["weight_decay"]):
            return super()._update(parameters, shape, group)
        before = [parameter.clone() for parameter in parameters]
        super()._update(parameters, shape, group)
        decay = group["lr"] * group["weight_decay"]
        for parameter, old in zip(parameters, before, strict=True):
            update = old * (1 - decay) - parameter
            parameter.add_(decay * old * (update * old < 0))
        return None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One line of the table."""

    kind: str  # of piece: "out" of swift, "in" to it, or "optimizer"
    pieces: Pieces = field(default_factory=Pieces)
    steps: Steps | None = None
    optim: dict[str, Any] = field(default_factory=dict)  # changes of our rates
    momentum: Callable[[float, Rates], float] | None = None  # of the share done and our schedule's
    average: float = 0.0  # share of the run, at its end, whose weights are averaged


def out(**pieces: Any) -> Variant:
    """A piece of swift is taken out."""
    return Variant(kind="out", pieces=Pieces(**pieces))


def put_in(**pieces: Any) -> Variant:
    """A piece is put into swift."""
    return Variant(kind="in", pieces=Pieces(**pieces))


def muon(**steps: Any) -> Variant:
    """Another Muon."""
    return Variant(kind="optimizer", steps=Steps(**steps))


def rates(**changes: Any) -> Variant:
    """Another OptimizerConfig."""
    return Variant(kind="optimizer", optim=changes)


VARIANTS: dict[str, Variant] = {
    BASE: Variant(kind="base"),
    "no tables of values": out(value_tables=False),
    "no factor of the stream": out(stream_scale=False),
    "embedding not added again": out(embedding_again=False),
    "neither of these two": out(stream_scale=False, embedding_again=False),
    "no norm after the embedding": out(embedding_norm=False),
    "GELU instead of squared ReLU": out(activation="gelu"),
    "SwiGLU instead of squared ReLU": out(activation="swiglu"),
    "no table of pairs": out(pairs=False),
    "no norm of queries and keys": out(qk_norm=False),
    "queries and keys not times 1.2": out(sharpness=1.0),
    "logits capped at 15": put_in(cap=15.0),
    "logits capped at 30": put_in(cap=30.0),
    "outputs not from zero": out(zero_start=False),
    "head tied, rate 0.01": replace(out(tied=True), optim={"embedding_lr": 0.01}),
    "head tied, rate 0.03": replace(out(tied=True), optim={"embedding_lr": 0.03}),
    "factors from 1.15 and 0.2, not 1 and 0": put_in(factor_starts=True),
    "MLP's first matrix from 0.4 of the spread": put_in(up_start=0.4),
    "smear": put_in(smear=True),
    "smear and SwiGLU": put_in(smear=True, activation="swiglu"),
    "backout": put_in(backout=True),
    "U-net skips": put_in(skips=True),
    "gates for the tables of values": put_in(value_gates=True),
    "mixing of first values": put_in(value_mixing=True),
    "the same, no tables of values": put_in(value_mixing=True, value_tables=False),
    "a gate for each head": put_in(head_gates=True),
    "own value taken off (XSA)": put_in(orthogonal_values=True),
    "Newton-Schulz instead of Polar Express": muon(coefficients=NEWTON_SCHULZ),
    "rows made equal (MuonEq-R)": muon(equal_rows=True),
    "rescaled after (Muon+)": muon(rescaled=True),
    "second moment (NorMuon)": muon(second_moment=0.9),
    "weight decay 0.2": rates(weight_decay=0.2),
    "weight decay 0.2, cautious": replace(muon(cautious=True), optim={"weight_decay": 0.2}),
    "momentum 0.95 from the start": replace(rates(), momentum=lambda done, ours: 0.95),
    "momentum down to 0.85 in the cool-down": replace(
        rates(), momentum=lambda done, ours: min(ours.momentum, 0.85 + 0.1 * ours.lr)
    ),
    "momentum 0.9": rates(momentum=0.9),
    "AdamW, rate 0.003": rates(optimizer="adamw", matrix_lr=0.003),
    "AdamW, rate 0.006": rates(optimizer="adamw", matrix_lr=0.006),
    "weights averaged over the last 5%": replace(rates(), average=0.05),
    "weights averaged over the last 20%": replace(rates(), average=0.2),
    "averaged over 20%, cool-down 0.4": replace(rates(cooldown=0.4), average=0.2),
    "cool-down 0.8": rates(cooldown=0.8),
    "cool-down 0.5": rates(cooldown=0.5),
    "matrices 0.014": rates(matrix_lr=0.014),
    "matrices 0.03": rates(matrix_lr=0.03),
    "forms of a word learn together": rates(share_forms=True),
    "head 0.01": rates(head_lr=0.01),
    "head 0.04": rates(head_lr=0.04),
    "embedding 0.03": rates(embedding_lr=0.03),
}
