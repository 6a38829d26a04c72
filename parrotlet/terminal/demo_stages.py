"""What a demo runs: the recipe's stages, on the world or on a person's own files. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from parrotlet.core.errors import UsageError
from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, STAGES, read_json, write_json
from parrotlet.recipes import recipe
from parrotlet.stages.config import BudgetConfig, RunConfig, run_name
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.config_pretrain import PretrainConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.terminal.config import DemoConfig

TIMES = "times.json"  # seconds by stage
MAKING = 2.0  # conversations take so many times as long to make as documents and their tokenizer
LEAST_SHARE = 0.5  # of the recipe's minutes of fine-tuning, however slow the machine is
TALKS_FOR_WORDS = 2_000  # conversations that the tokenizer of a person's own text sees too
BASE, TUNED, PREFERRED, PRACTISED = STAGES  # folders of the stages

StageConfig = PretrainConfig | SftConfig | DpoConfig | RlConfig


def directory_of(config: DemoConfig) -> Path:
    """Where the demo's run lies."""
    return config.runs / run_name(config.name)


def stages_of(config: DemoConfig) -> Mapping[str, StageConfig]:
    """The stages in order, by their folders. UsageError where --minutes cannot be shared out.

    Preferences and practice are of the world's own talk: a demo on a person's files ends before.
    """
    chosen = recipe(config.recipe)
    directory = directory_of(config)
    run = RunConfig(runs=directory, seed=config.seed, device=config.device)
    base = replace(chosen.pretrain, run=replace(run, name=BASE))
    tuned = replace(chosen.sft, start=directory / BASE, run=replace(run, name=TUNED))
    if config.data:
        base = replace(
            base,
            data=replace(base.data, data=config.data, column=config.column),
            text=replace(
                base.text,
                vocab_size=config.vocab_size or base.text.vocab_size,
                world_talk=TALKS_FOR_WORDS,
            ),
            prompts=(),  # how the text begins is known when it is read
        )
        tuned = replace(tuned, data=replace(tuned.data, world_talk="general"))
        base, tuned = _half_each(base, tuned)
        return _budgeted(config, {BASE: base, TUNED: tuned})
    if config.vocab_size is not None:
        base = replace(base, text=replace(base.text, vocab_size=config.vocab_size))
    preferred = replace(chosen.dpo, start=directory / TUNED, run=replace(run, name=PREFERRED))
    practised = replace(chosen.rl, start=directory / PREFERRED, run=replace(run, name=PRACTISED))
    return _budgeted(config, {BASE: base, TUNED: tuned, PREFERRED: preferred, PRACTISED: practised})


def with_opening(
    directory: Path, stages: Mapping[str, StageConfig], opening: str
) -> Mapping[str, StageConfig]:
    """The stages, pretraining asked on its way to go on from the opening of a person's text.

    A demo that has begun keeps asking what it asked.
    """
    base, begun = stages[BASE], directory / BASE / RECIPE
    assert isinstance(base, PretrainConfig)
    kept = read_json(begun)["config"]["prompts"] if begun.exists() else (opening, "")
    return {**stages, BASE: replace(base, prompts=tuple(kept))}


def follow_a_move(directory: Path) -> None:
    """Where a demo was copied or moved, let each stage start from the one that lies here."""
    for before, name in pairwise(STAGES):
        path, start = directory / name / RECIPE, str((directory / before).absolute())
        recipe = read_json(path) if path.exists() else None
        if recipe and recipe["config"].get("start") != start:
            write_json(path, {**recipe, "config": {**recipe["config"], "start": start}})


def kept_in_time(config: DemoConfig, tuned: SftConfig) -> SftConfig:
    """Fine-tuning for the minutes that the demo's time leaves it: at most the recipe's.

    What is to come is reckoned by pretraining here: by a step of it, and by all of it that was no
    step. A demo that is gone on with keeps what was decided. RunError for a file of the run that
    cannot be read.
    """
    directory, chosen, asked = directory_of(config), recipe(config.recipe), tuned.budget.minutes
    if config.data or config.minutes or not (chosen.demo_minutes and asked):
        return tuned
    begun = directory / TUNED / RECIPE
    if begun.exists():
        left = read_json(begun)["config"]["budget"]["minutes"] or asked
    else:
        laps = [line for line in JsonLines(directory / BASE / METRICS) if "seconds" in line]
        stepped = laps[-1]["seconds"] if laps else 0.0
        times = read_json(directory / TIMES)
        made = min(max(times["pretraining"] - stepped, 0.0), stepped)  # more: it was interrupted
        later = chosen.later_steps * stepped / laps[-1]["step"] if laps else 0.0
        spent = sum(times.values()) + MAKING * made + later
        left = max(chosen.demo_minutes - spent / 60, LEAST_SHARE * asked)
    return replace(tuned, budget=_of_minutes(tuned.budget, min(asked, left)))


def _budgeted(config: DemoConfig, stages: Mapping[str, StageConfig]) -> Mapping[str, StageConfig]:
    """The stages; --minutes is shared out as in the recipe, among those that it gives minutes."""
    if config.minutes is None:
        return stages
    if not config.minutes > 0:
        raise UsageError(f"--minutes {config.minutes:g}: a budget must be more than nothing")
    timed = {name: each for name, each in stages.items() if each.budget.minutes} or stages
    parts = {name: each.budget.minutes or 1.0 for name, each in timed.items()}
    shared = {name: config.minutes * part / sum(parts.values()) for name, part in parts.items()}
    return {
        name: replace(each, budget=_of_minutes(each.budget, shared[name]))
        if name in timed
        else each
        for name, each in stages.items()
    }


def _half_each(base: PretrainConfig, tuned: SftConfig) -> tuple[PretrainConfig, SftConfig]:
    """The recipe's minutes in halves: a person's text has more to learn than the small world's."""
    if not (base.budget.minutes and tuned.budget.minutes):
        return base, tuned
    half = (base.budget.minutes + tuned.budget.minutes) / 2
    return (
        replace(base, budget=_of_minutes(base.budget, half)),
        replace(tuned, budget=_of_minutes(tuned.budget, half)),
    )


def _of_minutes(budget: BudgetConfig, minutes: float) -> BudgetConfig:
    return replace(budget, minutes=round(minutes, 4), steps=None, tokens=None)
