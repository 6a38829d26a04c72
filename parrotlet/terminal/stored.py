"""The settings a run was started with, from its recipe.json. Torch-free.

Not checked here: whether numbers make sense, which the verb itself says when it starts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from parrotlet.core.errors import CheckpointError, RunError, UsageError
from parrotlet.core.rundir import RECIPE, STEP, read_json
from parrotlet.model.config import ModelConfig
from parrotlet.stages.config_dpo import DpoConfig
from parrotlet.stages.config_json import from_json
from parrotlet.stages.config_pretrain import PretrainConfig
from parrotlet.stages.config_rl import RlConfig
from parrotlet.stages.config_sft import SftConfig
from parrotlet.terminal.config import DemoConfig

STORED: Mapping[str, type[Any]] = {
    "pretrain": PretrainConfig,
    "sft": SftConfig,
    "dpo": DpoConfig,
    "rl": RlConfig,
    "demo": DemoConfig,
}


def stored_config(run: Path) -> tuple[str, Any]:
    """The verb that made a run, and its configuration, with the run where it lies now.

    Raises RunError, with advice, where there is no recipe.json or it says nothing of the kind.
    """
    path = run / RECIPE
    if not path.is_file():
        raise RunError(f"{run} is no run that can go on: it has no {RECIPE}; {_advice(run)}")
    recipe = read_json(path)
    verb = recipe.get("verb") if isinstance(recipe, dict) else None
    if not isinstance(verb, str) or verb not in STORED:
        raise RunError(
            f"{path} was made by {verb!r}, which cannot be resumed; {', '.join(STORED)} can"
        )
    try:
        stored = from_json(STORED[verb], recipe["config"])
        here = run if run.name not in ("", "..") else run.resolve()
        if isinstance(stored, DemoConfig):
            return verb, replace(stored, runs=here.parent, name=here.name)
        return verb, replace(stored, run=replace(stored.run, runs=here.parent, name=here.name))
    except (UsageError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{path} does not hold the settings of `parrotlet {verb}` ({error}); it was edited or "
            "is from another version: start anew with another --name"
        ) from error


def stored_model(path: Path) -> ModelConfig:
    """The shape of the model that a checkpoint or a run holds, of several stages the last."""
    candidates = [path, *sorted(path.glob("step_*")), *sorted(path.glob("*/step_*"))]
    for directory in reversed(candidates):
        about = directory / "parrotlet.json"
        if about.exists() and (directory == path or STEP.fullmatch(directory.name)):
            return ModelConfig.from_json(read_json(about)["model"])
    raise CheckpointError(f"{path} holds no checkpoint; train one there first")


def _advice(run: Path) -> str:
    """What was probably meant."""
    if STEP.fullmatch(run.name):
        return f"a run goes on from its newest checkpoint: parrotlet resume {run.parent}"
    if not run.exists() and (Path("runs") / run / RECIPE).is_file():
        return f"did you mean {Path('runs') / run}?"
    return "name the run's own directory, such as runs/demo"
