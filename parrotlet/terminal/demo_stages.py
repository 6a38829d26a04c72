"""What a demo runs: the recipe's stages, on the world or on a person's own files. Torch-free."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from parrotlet.core.errors import UsageError
from parrotlet.recipes import recipe
from parrotlet.stages.config import BudgetConfig, RunConfig, run_name
from parrotlet.stages.config_pretrain import PretrainConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.terminal.config import DemoConfig

TALKS_FOR_WORDS = 2_000  # conversations that the tokenizer of a person's own text sees too
BASE, TUNED = "base", "sft"  # folders of the stages


def directory_of(config: DemoConfig) -> Path:
    """Where the demo's run lies."""
    return config.runs / run_name(config.name)


def stages_of(config: DemoConfig) -> tuple[PretrainConfig, SftConfig]:
    """Both stages with their settings. UsageError where --minutes cannot be shared out."""
    chosen = recipe(config.recipe)
    directory = directory_of(config)
    run = RunConfig(runs=directory, seed=config.seed, device=config.device)
    reading, talking = _budgets(config, chosen.pretrain.budget, chosen.sft.budget)
    base = replace(chosen.pretrain, run=replace(run, name=BASE), budget=reading)
    tuned = replace(
        chosen.sft, start=directory / BASE, run=replace(run, name=TUNED), budget=talking
    )
    if config.data:
        base = replace(
            base,
            data=replace(base.data, data=config.data),
            text=replace(
                base.text,
                vocab_size=config.vocab_size or base.text.vocab_size,
                world_talk=TALKS_FOR_WORDS,
            ),
            prompts=(),  # the model begins documents of its own: nobody knows what they are about
        )
        tuned = replace(tuned, data=replace(tuned.data, world_talk="general"))
    elif config.vocab_size is not None:
        base = replace(base, text=replace(base.text, vocab_size=config.vocab_size))
    return base, tuned


def _budgets(
    config: DemoConfig, reading: BudgetConfig, talking: BudgetConfig
) -> tuple[BudgetConfig, BudgetConfig]:
    """The recipe's budgets; --minutes shares its time out as the recipe does."""
    if config.minutes is None:
        return reading, talking
    if not config.minutes > 0:
        raise UsageError(f"--minutes {config.minutes:g}: a budget must be more than nothing")
    parts = [each.minutes or 1.0 for each in (reading, talking)]
    shared = [round(config.minutes * part / sum(parts), 4) for part in parts]
    return (
        replace(reading, minutes=shared[0], steps=None, tokens=None),
        replace(talking, minutes=shared[1], steps=None, tokens=None),
    )
