"""The knobs of supervised fine-tuning. Torch-free, as every configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages.config import BudgetConfig, Checked, Paths, RunConfig


@dataclass(frozen=True, kw_only=True)
class SftDataConfig:
    """The conversations to learn from."""

    data: Paths = ()
    """Files, folders or globs of conversations: jsonl, json, csv or parquet of OpenAI messages or
    instruction records, also .gz and .zst. None: the embedded world."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not UTF-8: stop there, or put U+FFFD in their place."""
    validation_fraction: float = 0.05
    """Share of the conversations kept for validation."""
    world_conversations: int = 20_000
    """How many conversations of the embedded world to write, where --data is left out."""
    world_talk: Literal["all", "general"] = "all"
    """Of the embedded world's conversations: all, or only those that state none of its facts (for
    a model that learned from other text; no documents of the world are mixed in then)."""
    world_documents: int = 4_000
    """Documents of the embedded world to mix in, so that its facts are not forgotten."""


@dataclass(frozen=True, kw_only=True)
class SftConfig(Checked):
    """Fine-tune a base model on conversations, so that it answers."""

    start: tyro.conf.Positional[Path]
    """The run or checkpoint to start from."""
    recipe: str = "default"
    """The recipe whose values are the defaults of all other flags."""
    run: RunConfig = field(default_factory=RunConfig)
    data: SftDataConfig = field(default_factory=SftDataConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    context: int | None = None
    """Tokens in a row of packed conversations; left out, the model's context."""
    prompts: tuple[str, ...] = ("Hello!", "Who are you?")
    """What the user says in the samples taken while training."""
