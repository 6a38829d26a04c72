"""The knobs of the tokenizer and of pretraining: the text, its tokens, the model's shape.

Torch-free, as every configuration.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from parrotlet.model.config import Architecture
from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages.config import BudgetConfig, Checked, Paths, PlaceConfig, RunConfig


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The text to learn from."""

    data: Paths = ()
    """Files, folders or globs: txt, md, jsonl, json, csv, parquet, also .gz and .zst. None: the
    embedded world."""
    column: str | None = None
    """Name of the column or key that holds the text."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not UTF-8: stop there, or put U+FFFD in their place."""
    validation_fraction: float = 0.1
    """Share of the documents (of one long text: its end) kept for validation. The model never
    learns from them; a tokenizer trained on the data has counted their words too."""
    world_documents: int = 30_000
    """How many documents of the embedded world to write, where --data is left out."""


@dataclass(frozen=True, kw_only=True)
class WholeDataConfig(DataConfig):
    """The text to learn from, of which nothing is kept for validation."""

    validation_fraction: tyro.conf.Suppress[tyro.conf.Fixed[float]] = 0.0


@dataclass(frozen=True, kw_only=True)
class TokenizerConfig:
    """How text becomes tokens."""

    tokenizer: Path | None = None
    """A run, checkpoint or folder with a tokenizer to use (ours, or GPT-2's encoder.json and
    vocab.bpe); left out, one is trained on the data."""
    kind: Literal["bpe", "char"] = "bpe"
    """Byte-level BPE, or one token per character."""
    vocab_size: int = 4096
    """Size of the BPE vocabulary that is trained, control tokens included; what --tokenizer names
    keeps its own."""
    mirror: bool = False
    """Let the BPE that is trained cut a word alike in small letters and in capitals, where the text
    has both."""
    world_talk: int = 0
    """Conversations of the embedded world that a BPE tokenizer is trained on besides --data, so
    that it splits them well when they are learned later."""


@dataclass(frozen=True, kw_only=True)
class ShapeConfig:
    """The shape of the model. --depth alone is enough: the rest follows from it."""

    arch: Architecture = "qwen3"
    """gpt2 (2019), qwen3 (exports everywhere) or swift (trains fastest)."""
    depth: int = 4
    """Number of blocks."""
    width: int | None = None
    """Size of the hidden state; left out, 64 times the depth."""
    heads: int | None = None
    """Attention heads; left out, one for every 64 of the width (of 32 where it is narrow)."""
    kv_heads: int | None = None
    """Key-value heads; left out, as many as heads."""
    mlp_width: int | None = None
    """Hidden size of the MLP; left out, 4 times the width (qwen3: 8/3 times)."""
    tied: bool | None = None
    """One matrix for embedding and head; left out, yes (swift always has two)."""
    bigrams: int | None = None
    """Rows of swift's table of pairs of tokens, 0 for none; left out, 5 for each token, more where
    the vocabulary is small."""
    context: int = 256
    """The longest sequence, in tokens."""


@dataclass(frozen=True, kw_only=True)
class TokenizeConfig(Checked):
    """Train a tokenizer on text, and say how well it splits it."""

    run: PlaceConfig = field(default_factory=PlaceConfig)
    data: WholeDataConfig = field(default_factory=WholeDataConfig)
    text: TokenizerConfig = field(default_factory=TokenizerConfig)


@dataclass(frozen=True, kw_only=True)
class PretrainConfig(Checked):
    """Train a model on raw text, from scratch or from --start; the tokenizer too, unless one is
    given."""

    start: Path | None = None
    """A run or checkpoint, own or imported, whose weights and tokenizer to go on with. The shape is
    then its own; --context may make the rows shorter. Left out: fresh weights."""
    recipe: str = "default"
    """The recipe whose values are the defaults of all other flags."""
    run: RunConfig = field(default_factory=RunConfig)
    data: DataConfig = field(default_factory=DataConfig)
    text: TokenizerConfig = field(default_factory=TokenizerConfig)
    shape: ShapeConfig = field(default_factory=ShapeConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    prompts: tuple[str, ...] = ("The", "Once upon a time")
    """Texts to continue while training, to watch it learn."""
