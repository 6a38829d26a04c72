"""`parrotlet resume`: go on with a run, whatever made it, with the settings it was made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from parrotlet.core.errors import RunError
from parrotlet.core.rundir import RECIPE, read_json
from parrotlet.stages.config import PretrainConfig, SftConfig, from_json
from parrotlet.terminal.config import DemoConfig, ResumeConfig
from parrotlet.terminal.demo import demo
from parrotlet.terminal.train import pretrain, sft


def resume(config: ResumeConfig) -> int:
    """Go on with a run, whatever made it."""
    recipe = read_json(config.run / RECIPE)
    verbs: dict[str, Callable[[Any], int]] = {"pretrain": pretrain, "sft": sft, "demo": demo}
    kinds: dict[str, type[Any]] = {"pretrain": PretrainConfig, "sft": SftConfig, "demo": DemoConfig}
    verb = recipe.get("verb") if isinstance(recipe, dict) else None
    if verb not in verbs:
        raise RunError(f"{config.run / RECIPE} was made by {verb!r}, which cannot be resumed")
    stored = from_json(kinds[verb], recipe["config"])
    runs, name = config.run.parent, config.run.name
    if isinstance(stored, DemoConfig):
        return demo(replace(stored, runs=runs, name=name))
    return verbs[verb](replace(stored, run=replace(stored.run, runs=runs, name=name)))
