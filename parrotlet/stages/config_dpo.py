"""The knobs of preference learning. Torch-free, as every configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages.config import BudgetConfig, Checked, LoraConfig, Paths, RunConfig


@dataclass(frozen=True, kw_only=True)
class PairDataConfig:
    """The preferences to learn from."""

    data: Paths = ()
    """Files, folders or globs of pairs: jsonl, json, csv or parquet with chosen and rejected,
    ranked trees, messages with a label (thumbs), also .gz and .zst. None: the embedded world."""
    errors: Literal["strict", "replace"] = "strict"
    """What to do with bytes that are not UTF-8: stop there, or put U+FFFD in their place."""
    bad_records: Literal["refuse", "skip"] = "skip"
    """What to do with a record that is no pair (equal replies, prompts that differ): leave it out
    and count it, or stop there."""
    same_role: Literal["refuse", "merge"] = "refuse"
    """What to do with two messages of one role in a row: a bad record, or join them."""
    validation_fraction: float = 0.1
    """Share of the pairs kept for validation; of the embedded world they are of its test side."""
    world_pairs: int = 20_000
    """How many pairs of the embedded world to write, where --data is left out."""


@dataclass(frozen=True, kw_only=True)
class PairLossConfig:
    """What is made of a pair."""

    loss: Literal["dpo", "ipo"] = "dpo"
    """dpo: the chosen reply is to be likelier than the rejected one, ever less urgently. ipo: by a
    fixed margin and no more."""
    beta: float = 0.1
    """How near to stay to the model that is started from: the larger, the nearer."""
    smoothing: float = 0.0
    """Conservative DPO: the share of pairs that are taken to be the wrong way round."""
    anchor: float = 0.0
    """Weight of the chosen replies' own loss a token, which keeps them likely."""


@dataclass(frozen=True, kw_only=True)
class DpoConfig(Checked):
    """Teach a chat model which of two replies is preferred (DPO, conservative DPO, IPO)."""

    start: tyro.conf.Positional[Path]
    """The run or checkpoint to start from; it is the reference too."""
    recipe: str = "default"
    """The recipe whose values are the defaults of all other flags."""
    run: RunConfig = field(default_factory=RunConfig)
    data: PairDataConfig = field(default_factory=PairDataConfig)
    pairs: PairLossConfig = field(default_factory=PairLossConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
    context: int | None = None
    """The longest prompt with its reply, in tokens; left out, the model's context, at most
    1,024. A row holds both replies, so it is up to twice as long."""
    prompts: tuple[str, ...] = ("Hello!", "Who are you?")
    """What the user says in the samples taken while training."""
