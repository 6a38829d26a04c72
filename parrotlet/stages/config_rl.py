"""The knobs of reinforcement learning. Torch-free, as every configuration."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages.config import BudgetConfig, Checked, LoraConfig, RunConfig


@dataclass(frozen=True, kw_only=True)
class TaskConfig:
    """What is asked, and what is a good reply."""

    task: str = "world/counting"
    """Name of a graded task: spelling, letter_count, arithmetic, gsm8k, world/counting and every
    other ability of the embedded world, or practice: half letters, half manner, facts, orders and
    who it is. Its training side is asked, its test side held out."""
    task_data: Path | None = None
    """Of gsm8k: its folder, with train.jsonl and test.jsonl."""
    cases: int = 100_000
    """How many different cases may be asked, where the task makes them up."""
    held_out: int = 100
    """Cases of the test side answered at every evaluation, by the likeliest tokens."""
    format_reward: float = 0.0
    """Added to the grade of a reply that has the form its task wants and ends by itself."""


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    """How replies are sampled."""

    questions: int = 16
    """Cases asked before each update."""
    samples: int = 8
    """Replies to each: a group, whose mean reward is the baseline of its members."""
    max_tokens: int = 96
    """Sampled tokens of a reply, at most."""
    temperature: float = 1.0
    """Of sampling; another than 1 needs --correction, since the model itself has temperature 1."""
    top_k: int | None = None
    """Sample from the k likeliest tokens; needs --correction."""
    top_p: float = 1.0
    """Sample from the likeliest tokens that reach this probability; needs --correction."""
    correction: bool = False
    """Weigh every token by how much likelier the model was to say it than the sampling was."""
    slots: int = 128
    """Replies written at once."""


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """What is made of the rewards."""

    baseline: Literal["group", "none"] = "group"
    """What is taken from a reward: the mean of its group, or nothing."""
    scale: Literal["none", "deviation"] = "none"
    """What the difference is divided by: nothing, or the standard deviation of its group."""
    updates: int = 1
    """Optimizer steps that share the replies of one round. More than one needs --clip-ratio."""
    clip_ratio: float | None = None
    """Ignore what would make a token's probability change by more than this share in a round."""
    clip_ratio_high: float | None = None
    """The same for probabilities that rise; left out, as --clip-ratio."""
    kl: float = 0.0
    """Weight of the distance a token from the model that is started from."""
    patience: int = 20
    """It stops where in so many steps the rewards have fallen to half of what they began with, or
    hardly a reply ends by itself, or all are the same and wrong."""


@dataclass(frozen=True, kw_only=True)
class RlConfig(Checked):
    """Let a chat model practise a graded task: replies better than their group become likelier."""

    start: tyro.conf.Positional[Path]
    """The run or checkpoint to start from."""
    recipe: str = "default"
    """The recipe whose values are the defaults of all other flags."""
    run: RunConfig = field(default_factory=RunConfig)
    goal: TaskConfig = field(default_factory=TaskConfig)
    rollout: RolloutConfig = field(default_factory=RolloutConfig)
    policy: PolicyConfig = field(default_factory=PolicyConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    optim: OptimizerConfig = field(default_factory=OptimizerConfig)
    lora: LoraConfig = field(default_factory=LoraConfig)
