"""Recipes: values that were tried together, one per recipe, covering all stages. Torch-free.

Each stands on runs in LOG.md. A flag on the command line changes one value of a recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from parrotlet.core.errors import UsageError
from parrotlet.optim.config import OptimizerConfig
from parrotlet.stages.config import BudgetConfig
from parrotlet.stages.config_dpo import DpoConfig, PairDataConfig, PairLossConfig
from parrotlet.stages.config_pretrain import (
    DataConfig,
    PretrainConfig,
    ShapeConfig,
    TokenizerConfig,
)
from parrotlet.stages.config_rl import PolicyConfig, RlConfig, RolloutConfig, TaskConfig
from parrotlet.stages.config_sft import SftConfig, SftDataConfig


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Defaults of every stage."""

    summary: str
    pretrain: PretrainConfig = field(default_factory=PretrainConfig)
    sft: SftConfig = field(default_factory=lambda: SftConfig(start=Path("runs")))
    dpo: DpoConfig = field(default_factory=lambda: DpoConfig(start=Path("runs")))
    rl: RlConfig = field(default_factory=lambda: RlConfig(start=Path("runs")))
    eval_cases: int = 200  # of each ability, at the end of a demo
    # a whole demo's, set-up aside: fine-tuning gets less where steps are slow (LOG.md)
    demo_minutes: float | None = None
    later_steps: int = 0  # of pretraining that take as long as all that is not timed after it


BY_RULES = OptimizerConfig(
    matrix_lr=None, embedding_lr=None, head_lr=None, scalar_lr=None, weight_decay=None
)
# a model of about a million parameters, two thousand tokens a step
SMALL = OptimizerConfig(
    matrix_lr=0.03, head_lr=0.01, share_forms=True, warmup_steps=5, cooldown=0.6
)
# what is there already is to be moved, not learned anew: far below fine-tuning's rates
GENTLE = OptimizerConfig(
    matrix_lr=0.001, embedding_lr=0.001, head_lr=0.0002, scalar_lr=0.0005, warmup_steps=5
)
# a policy samples its own lessons, so that it must never move far in one step
CAREFUL = OptimizerConfig(
    matrix_lr=0.002,
    embedding_lr=0.002,
    head_lr=0.0004,
    scalar_lr=0.001,
    warmup_steps=3,
    cooldown=0.3,
    clip=1.0,
)
# for GPUs, with steps of some hundred thousand tokens: rates that nanochat takes, not tried here
LARGE = OptimizerConfig(matrix_lr=0.02, embedding_lr=0.2, head_lr=0.004, warmup_steps=40)
LARGE_TALK = OptimizerConfig(matrix_lr=0.005, embedding_lr=0.02, head_lr=0.001, cooldown=0.8)
BIG_TALK = BudgetConfig(tokens=100_000_000, batch_tokens=131_072)

RECIPES = {
    "default": Recipe(
        summary="your own text, sized by --depth and --minutes",
        pretrain=PretrainConfig(
            budget=BudgetConfig(minutes=5, batch_tokens=None),
            optim=BY_RULES,
        ),
        sft=SftConfig(
            start=Path("runs"),
            budget=BudgetConfig(minutes=3, batch_tokens=4096),
            optim=OptimizerConfig(matrix_lr=0.01, embedding_lr=0.01),
        ),
        dpo=DpoConfig(
            start=Path("runs"),
            budget=BudgetConfig(minutes=3, batch_tokens=8192),
            optim=GENTLE,
        ),
        rl=RlConfig(start=Path("runs"), budget=BudgetConfig(minutes=10), optim=CAREFUL),
    ),
    "demo": Recipe(
        summary="the embedded world: from nothing to a chat in minutes, on two cores",
        pretrain=PretrainConfig(
            recipe="demo",
            data=DataConfig(validation_fraction=0.02),
            text=TokenizerConfig(vocab_size=1984, mirror=True),
            shape=ShapeConfig(arch="qwen3", depth=4, width=128, heads=4, tied=False, context=256),
            budget=BudgetConfig(minutes=1.3, batch_tokens=2048),
            optim=SMALL,
            prompts=("Once upon a time", "The "),
        ),
        sft=SftConfig(
            start=Path("runs"),
            recipe="demo",
            data=SftDataConfig(
                world_conversations=80_000, world_documents=12_000, validation_fraction=0.01
            ),
            budget=BudgetConfig(minutes=5.6, batch_tokens=2048),
            optim=SMALL,
            prompts=(
                "Who are you?",
                "What is 17 + 25?",
                "How many letters are in lantern?",
            ),
        ),
        dpo=DpoConfig(
            start=Path("runs"),
            recipe="demo",
            data=PairDataConfig(world_pairs=4_000, validation_fraction=0.15),
            pairs=PairLossConfig(beta=0.3, anchor=8.0),
            budget=BudgetConfig(steps=120, batch_tokens=4096, evaluate_every=1_000),
            optim=replace(GENTLE, matrix_lr=0.0004),
            prompts=("Who are you?", "Thank you!", "How do I steal a bike?"),
        ),
        rl=RlConfig(
            start=Path("runs"),
            recipe="demo",
            goal=TaskConfig(task="practice", held_out=100),
            rollout=RolloutConfig(questions=24, max_tokens=48),
            policy=PolicyConfig(scale="deviation", patience=10),
            budget=BudgetConfig(steps=40, evaluate_every=1_000),
            optim=CAREFUL,
        ),
        demo_minutes=9.0,
        later_steps=950,
    ),
    "smoke": Recipe(
        summary="every stage in seconds, to test that all of it runs; learns next to nothing",
        pretrain=PretrainConfig(
            recipe="smoke",
            data=DataConfig(world_documents=300),
            text=TokenizerConfig(vocab_size=512, mirror=True),
            shape=ShapeConfig(arch="qwen3", depth=1, width=32, heads=2, tied=False, context=128),
            budget=BudgetConfig(steps=6, batch_tokens=1024),
            optim=OptimizerConfig(share_forms=True),
        ),
        sft=SftConfig(
            start=Path("runs"),
            recipe="smoke",
            data=SftDataConfig(world_conversations=200, world_documents=20),
            budget=BudgetConfig(steps=6, batch_tokens=1024),
            optim=OptimizerConfig(share_forms=True),
        ),
        dpo=DpoConfig(
            start=Path("runs"),
            recipe="smoke",
            data=PairDataConfig(world_pairs=120),
            budget=BudgetConfig(steps=6, batch_tokens=1024),
            optim=GENTLE,
        ),
        rl=RlConfig(
            start=Path("runs"),
            recipe="smoke",
            goal=TaskConfig(held_out=4),
            rollout=RolloutConfig(questions=4, samples=3, max_tokens=12),
            budget=BudgetConfig(steps=6),
            optim=CAREFUL,
        ),
        eval_cases=2,
    ),
    "shakespeare": Recipe(
        summary="characters of Shakespeare in half a minute; nanoGPT's CPU recipe, faster",
        pretrain=PretrainConfig(
            recipe="shakespeare",
            text=TokenizerConfig(kind="char"),
            shape=ShapeConfig(arch="swift", depth=3, width=128, heads=4, context=64),
            budget=BudgetConfig(steps=110, batch_tokens=2048, evaluate_every=1_000),
            optim=OptimizerConfig(matrix_lr=0.04, head_lr=0.01, warmup_steps=5, cooldown=0.5),
            prompts=("ROMEO:", "To be"),
        ),
    ),
    "shakespeare-long": Recipe(
        summary="characters of Shakespeare for about 15 minutes; nanoGPT's GPU recipe, on a CPU",
        pretrain=PretrainConfig(
            recipe="shakespeare-long",
            text=TokenizerConfig(kind="char"),
            # without the table of pairs: read five times, it learns the text by heart
            shape=ShapeConfig(arch="swift", depth=6, width=256, heads=4, context=256, bigrams=0),
            budget=BudgetConfig(steps=640, batch_tokens=8192, micro_tokens=4096),
            optim=OptimizerConfig(
                matrix_lr=0.025, head_lr=0.006, weight_decay=0.2, dropout=0.1, warmup_steps=20
            ),
            prompts=("ROMEO:", "To be"),
        ),
    ),
    "cpu": Recipe(
        summary="your own text in an hour on a laptop (not run yet at full length)",
        pretrain=PretrainConfig(
            recipe="cpu",
            text=TokenizerConfig(vocab_size=8192),
            shape=ShapeConfig(depth=4, context=512),
            budget=BudgetConfig(minutes=60, batch_tokens=8192, micro_tokens=4096),
            optim=replace(SMALL, share_forms=False),
        ),
    ),
    "gpu": Recipe(
        summary="GPT-2's 124M class on one GPU, an hour of an H100 by forecast (not run yet)",
        pretrain=PretrainConfig(
            recipe="gpu",
            text=TokenizerConfig(vocab_size=32_768),
            shape=ShapeConfig(depth=12, context=1024),
            budget=BudgetConfig(tokens=1_300_000_000, batch_tokens=262_144, save_seconds=600),
            optim=LARGE,
        ),
        sft=SftConfig(start=Path("runs"), recipe="gpu", budget=BIG_TALK, optim=LARGE_TALK),
    ),
    "speedrun": Recipe(
        summary="a chat model beyond GPT-2 for under 100 dollars on 8 H100s (not run yet)",
        pretrain=PretrainConfig(
            recipe="speedrun",
            text=TokenizerConfig(vocab_size=32_768),
            shape=ShapeConfig(depth=22, context=2048),
            budget=BudgetConfig(tokens=7_000_000_000, batch_tokens=524_288, save_seconds=900),
            optim=LARGE,
        ),
        sft=SftConfig(start=Path("runs"), recipe="speedrun", budget=BIG_TALK, optim=LARGE_TALK),
    ),
}


def recipe(name: str) -> Recipe:
    """The recipe called `name`; UsageError listing those there are."""
    if name not in RECIPES:
        raise UsageError(f"--recipe {name!r} is not known; there are {', '.join(sorted(RECIPES))}")
    return RECIPES[name]
