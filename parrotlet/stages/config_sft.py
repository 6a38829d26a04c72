"""The knobs of supervised fine-tuning. Torch-free, as every configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages.config import (
    NOTHING_GIVEN,
    BudgetConfig,
    Checked,
    LoraConfig,
    Paths,
    RunConfig,
)


@dataclass(frozen=True, kw_only=True)
class SftDataConfig:
    """The conversations to learn from."""

    data: Paths = ()
    """Files, folders or globs of conversations: jsonl, json, csv or parquet of OpenAI messages,
    ShareGPT, instructions, trees or tool calls, also .gz and .zst. None: the embedded world."""
    weights: Annotated[tuple[float, ...], NOTHING_GIVEN] = ()
    """How often each of --data is read in an epoch: 2 is twice, 0.5 a fixed half of it. None: each
    once. What is read 0 times is not validated on either."""
    bad_records: Literal["refuse", "skip"] = "refuse"
    """What to do with a record that is no conversation: stop there, or leave it out and say so."""
    same_role: Literal["refuse", "merge"] = "refuse"
    """What to do with two messages of one role in a row: a bad record, or join them."""
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
    """The run or checkpoint to start from: a base model, or one that chats."""
    recipe: str = "default"
    """The recipe whose values are the defaults of all other flags."""
    run: RunConfig = field(default_factory=RunConfig)
    data: SftDataConfig = field(default_factory=SftDataConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    context: int | None = None
    """Tokens in a row of packed conversations; left out, the model's context, at
    most 1,024."""
    prompts: tuple[str, ...] = ("Hello!", "Who are you?")
    """What the user says in the samples taken while training."""
