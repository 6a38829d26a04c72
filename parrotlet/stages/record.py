"""recipe.json: what a run was asked for, and what was settled when it began and on its way.

What is settled (steps, rows in a step, dtype, threads) is part of the result's bits, so a resumed
run takes it from here, whatever the machine, the number of ranks or the environment would give.
"""

from __future__ import annotations

import glob
import hashlib
import json
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from parrotlet import __version__
from parrotlet.core.errors import RunError, UsageError
from parrotlet.core.rundir import METRICS, RECIPE, read_json, write_json
from parrotlet.data.arrays import MANIFEST
from parrotlet.data.conversations import conversation_files
from parrotlet.stages.config_dpo import PairDataConfig
from parrotlet.stages.config_json import from_json, to_json
from parrotlet.stages.config_sft import SftDataConfig
from parrotlet.text.tokenizer import FILE_NAME
from parrotlet.train.checkpoint import steps_in

TOKENIZER = Path("tokenizer", FILE_NAME)
# what makes tokenizer and data count; files beside them are never touched, whose ever they are
MADE = (
    TOKENIZER,
    *(Path("data", each, MANIFEST) for each in ("", "train", "validation")),
)


def remember(directory: Path, verb: str, config: Any) -> dict[str, Any]:
    """The run's recipe.json: read where it is there, written where it is not.

    An attempt that failed before it learned anything leaves its name free: its settings are
    replaced, and what was made with settings that differ is made again. Raises RunError where more
    was done with other settings, naming those that differ.
    """
    path = directory / RECIPE
    wanted = to_json(config)
    if path.exists():
        recipe = dict(read_json(path))
        before = _completed(recipe.get("config", {}), type(config))
        differing = sorted(_differences(before, wanted))
        if recipe.get("verb") == verb and not differing:
            return recipe
        if _is_begun(directory, recipe.get("verb")):
            go_on = f", or go on with it by `parrotlet resume {directory}`"
            raise RunError(
                f"{directory} was made by `parrotlet {recipe.get('verb')}` with other values of "
                f"{', '.join(differing) or 'nothing else'}; choose another --name"
                f"{'' if recipe.get('verb') == 'tokenizer' else go_on}"
            )
        if _made_from(before) != _made_from(wanted):
            for name in MADE:
                (directory / name).unlink(missing_ok=True)
    elif (directory / TOKENIZER).exists():
        raise RunError(
            f"{directory} holds a tokenizer, and no {RECIPE} says how it was made; choose another "
            "--name (--tokenizer takes one that exists)"
        )
    recipe = {
        "verb": verb,
        "config": wanted,
        "parrotlet": __version__,
        "commit": _commit(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "processor": torch.backends.cpu.get_cpu_capability(),
    }
    write_json(path, recipe)
    return recipe


def _completed(config: Mapping[str, Any], kind: type[Any]) -> Mapping[str, Any]:
    """A stored configuration with the defaults of settings that came after it."""
    try:
        completed: Mapping[str, Any] = to_json(from_json(kind, config))
    except (TypeError, UsageError):  # another verb's
        return config
    return completed


def _made_from(config: Mapping[str, Any]) -> list[Any]:
    """The settings that tokenizer and data depend on."""
    seed = config.get("run", {}).get("seed")
    return [seed, *(config.get(name) for name in ("data", "text", "start", "context"))]


def settled(directory: Path) -> Mapping[str, Any]:
    """What the run settled when it began; {} where it has not taken a step yet."""
    return dict(read_json(directory / RECIPE)) if _has_steps(directory) else {}


def gone(paths: Sequence[Path]) -> list[Path]:
    """Those of files, folders and globs that stand for nothing any more."""
    return [path for path in paths if not path.exists() and not glob.glob(str(path))]


def key_of(
    made: Path,
    facts: Sequence[Any],
    data: SftDataConfig | PairDataConfig,
    start: Sequence[Path] = (),
    more: bytes = b"",
) -> str:
    """What prepared data is made from, as one hash: facts, settings, `more`, and the files' bytes.

    Where `start` or a file is gone: what it was when the manifest `made` was written.
    """
    if made.exists() and gone([*start, *data.data]):
        return str(read_json(made)["key"])
    digest = hashlib.sha256(json.dumps([*facts, to_json(data)], sort_keys=True).encode() + more)
    for path in conversation_files(data.data) if data.data else ():
        digest.update(path.read_bytes())
    return digest.hexdigest()


def settle(directory: Path, facts: Mapping[str, Any]) -> None:
    """Add to recipe.json what a run settles: before its first step, and where steps are counted
    again."""
    path = directory / RECIPE
    write_json(path, {**read_json(path), **facts})


def _is_begun(directory: Path, verb: Any) -> bool:
    """Whether a verb did more than prepare; of those unknown here it is taken for granted."""
    if verb == "tokenizer":
        return (directory / TOKENIZER).exists()
    return verb not in ("pretrain", "sft", "dpo", "rl") or _has_steps(directory)


def _has_steps(directory: Path) -> bool:
    """Whether a training step was ever taken here."""
    metrics = directory / METRICS
    written = metrics.exists() and metrics.stat().st_size > 0
    return (directory / RECIPE).exists() and (written or bool(steps_in(directory)))


def _commit() -> str | None:
    """The commit of the code, where it runs from a git checkout."""
    root = Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Names of settings that differ; how a run is watched and where it lies may."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            if key not in ("show_batch", "runs", "name"):
                yield from _differences(old.get(key), new.get(key), key)
    elif old != new:
        yield path
