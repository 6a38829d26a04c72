"""Which pieces of swift and of Muon earn their place: each taken out or put in, on real text.

    python bench/ablate.py train DATA... --seeds 0 1 2 [--only NAME...]    a run of each, by seed
    python bench/ablate.py cost [--only NAME...]                           what a step costs
    python bench/ablate.py table                                           all that is known so far
    python bench/ablate.py names                                           the variants there are

A run is a small model and a fixed number of tokens; what counts is the loss on held-out text after
the last step. Variants with one seed share their first weights and the order of the text, so they
are compared seed by seed. The cost of a step is processor time, taken in turn with the base (A B B
A) in one process. Every result is a line of --out, and nothing that is there is computed again.
Use OMP_NUM_THREADS=1: then processor time is fair on a busy machine.

The last column weighs both. The base's loss at other lengths says how many steps a difference in
loss is worth; that share of steps, times the cost of one, is the time to the base's loss.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from parrotlet.core.runtime import Runtime, has_fast_bfloat16, keep_memory, make_runtime
from parrotlet.data.sources import open_sources
from parrotlet.data.streams import RowStream, evaluation_batches
from parrotlet.data.tokens import TokenArray
from parrotlet.evals.bpb import mean_loss
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import Context
from parrotlet.model.layers import Embedding, Linear, fill_uniform, rms_norm, rotate, rotation
from parrotlet.model.swift import LOGIT_CAP, SHARPNESS, Swift
from parrotlet.optim.build import Optimizers, build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.muon import NEWTON_SCHULZ, POLAR_EXPRESS, Coefficients, Muon, orthogonalise
from parrotlet.optim.schedule import Rates, make_schedule
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token

CONTEXT, STEP_TOKENS = 256, 2048
DEPTH, WIDTH, HEADS = 4, 96, 3
STRETCH = 4_000  # characters of one piece of text; every HELD_OUT-th is for validation
HELD_OUT = 40
FOLDER_CHARACTERS = 4_000_000  # of each --data, so that the largest is not nearly all
GATE_INPUTS = 12  # numbers of the stream that a gate sees, as in modded-nanogpt
BASE = "base"


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What a model is made of; the defaults are swift."""

    value_mixing: bool = True
    stream_scale: bool = True
    embedding_again: bool = True
    embedding_norm: bool = True
    activation: str = "relu2"
    qk_norm: bool = True
    sharpness: float = SHARPNESS
    cap: float | None = LOGIT_CAP
    zero_start: bool = True
    tied: bool = False
    # swift has none of these; they are known from modded-nanogpt and nanochat
    factor_starts: bool = False  # stream 1.15 to 1.05, embedding 0.20 to 0.05, layer by layer
    up_start: float = 1.0  # of the MLP's first matrix, as a share of the others' spread
    smear: bool = False  # the embedding before is mixed in, by a gate
    backout: bool = False  # a share of the middle of the stream is taken off at the end
    skips: bool = False  # the first half's streams are added to the second half's (U-net)
    value_table: bool = False  # every other layer's values have a row for each token added
    head_gates: bool = False  # each head's output is weighed by a gate
    bigrams: bool = False  # a hashed table of pairs of tokens is added before every block
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
        with_table = pieces.value_table and layer % 2 == (config.depth - 1) % 2
        self.value_embed = Embedding(config.vocab_size, config.width) if with_table else None
        self.table_gate = Linear(GATE_INPUTS, config.heads) if with_table else None
        self.head_gate = Linear(GATE_INPUTS, config.heads) if pieces.head_gates else None

    def forward(
        self, x: Tensor, ids: Tensor, ctx: Context, turn: Any, first: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What to add to the stream, and the first layer's values."""
        shape = (*x.shape[:2], self.config.heads, self.config.head_width)
        q, k = rotate(self.query(x).view(shape), turn), rotate(self.key(x).view(shape), turn)
        v = self.value(x).view(shape)
        if self.pieces.qk_norm:
            q = rms_norm(q, self.config.norm_eps) * self.pieces.sharpness
            k = rms_norm(k, self.config.norm_eps) * self.pieces.sharpness
        if self.value_embed is not None and self.table_gate is not None:
            gate = 3 * torch.sigmoid(self.table_gate(x[..., :GATE_INPUTS]))
            v = v + gate[..., None] * self.value_embed(ids).to(v.dtype).view(shape)
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
        self.bigram_scale = nn.Parameter(torch.tensor(0.1)) if pieces.bigrams else None
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
        if self.bigram_scale is not None:
            x = x + self.bigram_scale * extra["bigrams"]
        added, first = self.attention(rms_norm(x, self.eps), extra["ids"], ctx, turn, first)
        x = x + added
        return x + self.mlp(rms_norm(x, self.eps)), first


class Ablated(Swift):
    """swift with other pieces; with the default ones it is swift, to the bit (a test holds it)."""

    def __init__(self, config: ModelConfig, dtype: torch.dtype, pieces: Pieces) -> None:
        super().__init__(config, dtype)
        self.pieces = pieces
        self.blocks = nn.ModuleList(Block(config, i, pieces) for i in range(config.depth))
        if pieces.tied:
            self.head.weight = self.embed.weight
        self.smear = nn.Parameter(torch.zeros(GATE_INPUTS + 1)) if pieces.smear else None
        self.backout = nn.Parameter(torch.tensor(0.2)) if pieces.backout else None
        self.skips = nn.Parameter(torch.ones(config.depth // 2)) if pieces.skips else None
        rows = 5 * config.vocab_size
        self.bigram_embed = Embedding(rows, config.width) if pieces.bigrams else None

    def hidden(self, ids: Tensor, ctx: Context) -> Tensor:
        """The states after the last norm."""
        embedded = self.embed(ids).to(self.compute_dtype)
        if self.pieces.embedding_norm:
            embedded = rms_norm(embedded, self.config.norm_eps)
        if self.smear is not None:
            before = F.pad(embedded[:, :-1], (0, 0, 1, 0))
            gate = torch.sigmoid(embedded[..., :GATE_INPUTS] @ self.smear[1:].to(embedded.dtype))
            embedded = embedded + self.smear[0] * gate[..., None] * before
        extra = {"ids": ids, "embedded": embedded}
        if self.bigram_embed is not None:
            hashed = (ctx.previous * 36_313 ^ ids * 27_191) % len(self.bigram_embed.weight)
            extra["bigrams"] = self.bigram_embed(hashed).to(embedded.dtype)
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
        return rms_norm(x, self.config.norm_eps)

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
    optim: dict[str, Any] = field(default_factory=dict)  # changes of OPTIM
    momentum: Callable[[float, Rates], float] | None = None  # of the share done and our schedule's
    average: float = 0.0  # share of the run, at its end, whose weights are averaged


OPTIM = OptimizerConfig(matrix_lr=0.02, head_lr=0.02)


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
    "no mixing of first values": out(value_mixing=False),
    "no factor of the stream": out(stream_scale=False),
    "embedding not added again": out(embedding_again=False),
    "neither of these two": out(stream_scale=False, embedding_again=False),
    "no norm after the embedding": out(embedding_norm=False),
    "GELU instead of squared ReLU": out(activation="gelu"),
    "SwiGLU instead of squared ReLU": out(activation="swiglu"),
    "no norm of queries and keys": out(qk_norm=False),
    "queries and keys not times 1.2": out(sharpness=1.0),
    "no cap of logits": out(cap=None),
    "cap of logits 30 instead of 15": out(cap=30.0),
    "outputs not from zero": out(zero_start=False),
    "head tied, rate 0.01": replace(out(tied=True), optim={"embedding_lr": 0.01}),
    "head tied, rate 0.03": replace(out(tied=True), optim={"embedding_lr": 0.03}),
    "factors from 1.15 and 0.2, not 1 and 0": put_in(factor_starts=True),
    "MLP's first matrix from 0.4 of the spread": put_in(up_start=0.4),
    "smear": put_in(smear=True),
    "backout": put_in(backout=True),
    "U-net skips": put_in(skips=True),
    "value embeddings in every other layer": put_in(value_table=True),
    "a gate for each head": put_in(head_gates=True),
    "hashed bigrams, 5 times the vocabulary": put_in(bigrams=True),
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
    "head 0.01": rates(head_lr=0.01),
    "head 0.04": rates(head_lr=0.04),
    "embedding 0.03": rates(embedding_lr=0.03),
}


@dataclass(frozen=True)
class Text:
    """Tokens to learn from and held-out ones."""

    train: TokenArray
    validation: TokenArray
    vocabulary: int


def read_text(paths: list[Path], vocabulary: int) -> Text:
    """Some of each path's text, cut into stretches, and a vocabulary of its own."""
    stretches: list[str] = []
    for path in paths:
        text, wanted = "", FOLDER_CHARACTERS
        for document in open_sources([path]).documents():
            text += document.text[: wanted - len(text)] + "\n"
            if len(text) >= wanted:
                break
        stretches += [text[at : at + STRETCH] for at in range(0, len(text), STRETCH)]
    learned = [text for index, text in enumerate(stretches) if index % HELD_OUT]
    tokenizer = train_bpe(learned, vocabulary)
    sides = [_tokens(side, tokenizer) for side in (learned, stretches[::HELD_OUT])]
    return Text(*sides, vocabulary)


def _tokens(texts: list[str], tokenizer: Tokenizer) -> TokenArray:
    ids = [torch.tensor(tokenizer.encode_document(text)).numpy() for text in texts]
    num_bytes = sum(len(text.encode()) for text in texts)
    return TokenArray(ids, num_bytes=num_bytes, num_documents=len(texts))


@dataclass(frozen=True)
class Trial:
    """A variant ready to learn: `steps` trains one more step at each pull."""

    variant: Variant
    state: TrainState
    steps: Iterator[Any]


def begin(variant: Variant, text: Text, seed: int, total: int, runtime: Runtime) -> Trial:
    """A fresh model of the variant and its endless training."""
    config = ModelConfig(
        arch="swift", vocab_size=text.vocabulary, context=CONTEXT, depth=DEPTH, width=WIDTH,
        heads=HEADS, kv_heads=HEADS, head_width=WIDTH // HEADS, mlp_width=4 * WIDTH, tied=False,
    )  # fmt: skip
    model = Ablated(config, runtime.compute_dtype, variant.pieces)
    model.init_weights(torch.Generator().manual_seed(seed))
    optim = replace(OPTIM, **variant.optim)
    optimizers = _optimizers(model, optim, variant, runtime)
    rows = STEP_TOKENS // CONTEXT
    stream = RowStream(
        tokens=text.train, context=CONTEXT, rows_per_step=rows, micro_rows=rows, seed=seed
    )
    ours = make_schedule(optim, total)

    def schedule(step: int) -> Rates:
        found = ours(step)
        if variant.momentum is None:
            return found
        return replace(found, momentum=variant.momentum(step / total, found))

    state = TrainState(model, Learner(model, next_token), optimizers, runtime)
    return Trial(variant, state, train(state, stream(0), schedule=schedule, clip=None))


def _optimizers(
    model: Swift, optim: OptimizerConfig, variant: Variant, runtime: Runtime
) -> Optimizers:
    fast = has_fast_bfloat16(runtime.device)
    made = build_optimizers(model.named_parameters(), optim, fast_bfloat16=fast)
    if variant.steps is None:
        return made
    plain = made.parts[0]
    assert isinstance(plain, Muon)
    options = {"lr": optim.matrix_lr, "weight_decay": optim.weight_decay, "dtype": plain.dtype}
    other = OtherMuon(plain.param_groups[0]["params"], variant.steps, **options)
    return Optimizers([other, *made.parts[1:]], made.names)


def run(variant: Variant, text: Text, seed: int, total: int, runtime: Runtime) -> float:
    """Nats a token on held-out text after `total` steps."""
    trial = begin(variant, text, seed, total, runtime)
    model = trial.state.model
    mean = {name: torch.zeros_like(each) for name, each in model.state_dict().items()}
    averaged = round(total * variant.average)
    for step in range(1, total + 1):
        next(trial.steps)
        if step > total - averaged:
            for name, each in model.state_dict().items():
                mean[name] += each / averaged
    if averaged:
        model.load_state_dict(mean)
    return mean_loss(model, evaluation_batches(text.validation, CONTEXT, 16), runtime.device)


def cost(variant: Variant, text: Text, rounds: int, runtime: Runtime) -> float:
    """The processor time of a step as a share of the base's: the fastest of each, taken in turn.

    What else runs on the machine only ever makes a step longer.
    """
    pair = [begin(each, text, 0, 10_000, runtime) for each in (VARIANTS[BASE], variant)]
    fastest = [math.inf, math.inf]
    for turn in range(rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            started = time.process_time()
            next(pair[which].steps)
            fastest[which] = min(fastest[which], time.process_time() - started)
    return fastest[1] / fastest[0]


Record = dict[str, Any]


def read_records(path: Path) -> list[Record]:
    """The lines of --out so far."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def of_text(records: list[Record], vocabulary: int) -> list[Record]:
    """Those of a vocabulary of this size."""
    return [each for each in records if each["vocabulary"] == vocabulary]


def losses(records: list[Record], name: str, steps: int) -> dict[int, float]:
    """Loss by seed."""
    return {
        each["seed"]: each["loss"]
        for each in records
        if each["variant"] == name and each.get("steps") == steps
    }


def slope(records: list[Record], steps: int) -> float | None:
    """By how much the base's loss falls when steps become e times as many, near `steps`.

    None where it was not run at another length.
    """
    base = losses(records, BASE, steps)
    found = []
    for each in records:
        if each["variant"] == BASE and each.get("steps", steps) != steps and each["seed"] in base:
            found.append((base[each["seed"]] - each["loss"]) / math.log(each["steps"] / steps))
    return statistics.mean(found) if found else None


def table(records: list[Record], steps: int) -> list[str]:
    """The table, in Markdown: differences from the base of the same seeds."""
    base, worth = losses(records, BASE, steps), slope(records, steps)
    differences: dict[str, list[float]] = {}
    for name in VARIANTS:
        found = losses(records, name, steps)
        differences[name] = [found[seed] - base[seed] for seed in found if seed in base]
    spread = pooled_deviation(list(differences.values()))
    lines = [
        "| | loss | difference | in deviations | cost of a step | time to the base's loss |",
        "|---|---|---|---|---|---|",
    ]
    for name, apart in differences.items():
        if not apart:
            continue
        values = list(losses(records, name, steps).values())
        mean, shown = statistics.mean(apart), f"{statistics.mean(values):.4f}"
        shown += f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else " (one seed)"
        share = f"{mean / spread:+.1f}" if spread else ""
        ratio = next((each["cost"] for each in records if _is_cost(each, name)), None)
        cells = [name, shown, f"{mean:+.4f}", share, f"{ratio:.3f}" if ratio else ""]
        cells.append(f"{math.exp(mean / worth) * ratio:.3f}" if worth and ratio else "")
        lines.append(f"| {' | '.join(cells)} |")
    return [
        *lines,
        "",
        f"{steps} steps of {STEP_TOKENS:,} tokens; seeds of the base {sorted(base)}; one deviation "
        f"of a difference, pooled over all variants of several seeds: {spread:.4f}; e times the "
        f"steps are worth {worth or math.nan:.3f}.",
    ]


def _is_cost(record: Record, name: str) -> bool:
    return record["variant"] == name and "cost" in record


def pooled_deviation(groups: list[list[float]]) -> float:
    """The deviation within groups, all taken together; the base's differences are all zero."""
    several = [each for each in groups if len(each) > 1 and any(each)]
    squares = sum(statistics.variance(each) * (len(each) - 1) for each in several)
    return math.sqrt(squares / max(1, sum(len(each) - 1 for each in several)))


def work(options: argparse.Namespace) -> None:
    """Make what is asked for and is not there yet, a line of --out each."""
    keep_memory()
    runtime, text = make_runtime("cpu"), read_text(options.data, options.vocabulary)
    done = of_text(read_records(options.out), options.vocabulary)
    names = options.only or list(VARIANTS)
    wanted = [(name, seed) for seed in options.seeds for name in names]
    if options.verb == "cost":
        wanted = [(name, 0) for name in names]
    for name, seed in wanted:
        key: Record = {"variant": name, "vocabulary": options.vocabulary}
        if options.verb == "cost":
            known = any(_is_cost(each, name) for each in done)
        else:
            key |= {"seed": seed, "steps": options.steps}
            known = any(all(each.get(k) == v for k, v in key.items()) for each in done)
        if known:
            continue
        started = time.process_time()
        if options.verb == "cost":
            key["cost"] = cost(VARIANTS[name], text, options.rounds, runtime)
        else:
            key["loss"] = run(VARIANTS[name], text, seed, options.steps, runtime)
        key["seconds"] = round(time.process_time() - started, 1)
        with options.out.open("a") as file:
            print(json.dumps(key), file=file)
        print(json.dumps(key), flush=True)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["train", "cost", "table", "names"])
    parser.add_argument("data", type=Path, nargs="*", help="folders of real text, or files")
    parser.add_argument("--out", type=Path, default=Path("ablations.jsonl"))
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), metavar="NAME")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--vocabulary", type=int, default=2048)
    parser.add_argument("--rounds", type=int, default=20, help="pairs of steps, for the cost")
    options = parser.parse_args()
    if options.verb == "names":
        print("\n".join(VARIANTS))
    elif options.verb == "table":
        records = of_text(read_records(options.out), options.vocabulary)
        print("\n".join(table(records, options.steps)))
    elif not options.data:
        parser.error("name some text")
    else:
        work(options)


if __name__ == "__main__":
    main()
