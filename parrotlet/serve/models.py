"""The models that are served: names, checkpoints, what they need, and what they are ready for."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from parrotlet import __version__
from parrotlet.chat.load import load_several, packing_of
from parrotlet.core.errors import UsageError
from parrotlet.core.machine import MachineConfig
from parrotlet.core.rundir import NAME, RECIPE, STAGES
from parrotlet.core.runtime import make_runtime
from parrotlet.engine.engine import Engine
from parrotlet.model.model import Model
from parrotlet.serve.errors import ApiError
from parrotlet.serve.worker import Lane
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, find, newest
from parrotlet.train.manifest import MANIFEST


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model under its name."""

    name: str
    tokenizer: Tokenizer
    lane: Lane
    stage: str  # "base" has only read
    fingerprint: str  # changes with weights, number format, packing and version
    created: int  # seconds since 1970: when it was loaded
    model: Model | None = None  # for looking inside

    @property
    def engine(self) -> Engine:
        """The engine of its lane."""
        return self.lane.engine

    @property
    def chats(self) -> bool:
        """Whether it was ever taught to answer."""
        return self.stage != "base"

    def card(self) -> dict[str, Any]:
        """As /v1/models has it."""
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "parrotlet",
            "max_model_len": self.engine.length,
            "stage": self.stage,
            "chat": self.chats,
        }


class Models:
    """Served models by name; the first one answers where no name is given."""

    def __init__(self, served: Sequence[Served]) -> None:
        self.all = tuple(served)
        self._by_name = {each.name: each for each in served}

    def get(self, name: str | None) -> Served:
        """The model of a name, which is never a path; ApiError 404 where there is none."""
        if name is None:
            return self.all[0]
        if name not in self._by_name:
            there = ", ".join(self._by_name)
            raise ApiError(
                404,
                f"the model {name[:128]!r} is not served here; there is {there}",
                "model_not_found",
                "model",
            )
        return self._by_name[name]

    def chatting(self, name: str | None) -> Served:
        """A model that can answer messages; ApiError 400 for one that has only read."""
        found = self.get(name)
        if found.chats:
            return found
        others = [each.name for each in self.all if each.chats]
        instead = f"ask {', '.join(others)}" if others else "teach it with parrotlet sft"
        raise ApiError(
            400,
            f"the model {found.name!r} has only read and was never taught to answer; {instead}, "
            "or let it continue a text with /v1/completions",
            "not_a_chat_model",
            "model",
        )


def find_all(runs: Sequence[str]) -> dict[str, Checkpoint]:
    """Checkpoints by name, of PATH or NAME=PATH; of a run of several stages each of them.

    Names are those of folders: demo-sft, mine. Raises CheckpointError where there is none and
    UsageError where two share a name or one is unusable.
    """
    found: dict[str, Checkpoint] = {}
    for run in runs:
        given, separator, rest = run.partition("=")
        path = Path(rest if separator else run)
        for name, checkpoint in _stages(path, given if separator else _name(path)).items():
            if name in found or not NAME.fullmatch(name):
                why = "is taken already" if name in found else "is unusable in an address"
                raise UsageError(f"the name {name!r} {why}; choose one with NAME={path}")
            found[name] = checkpoint
    return found


def _name(path: Path) -> str:
    resolved = path.resolve()
    is_step = (resolved / MANIFEST).exists()
    return f"{resolved.parent.name}-{resolved.name}" if is_step else resolved.name


def _stages(path: Path, name: str) -> Mapping[str, Checkpoint]:
    """The one checkpoint of a path, or the newest of each stage of a run that has several."""
    stages: dict[str, Checkpoint] = {}
    if (path / RECIPE).exists():
        for stage in reversed(STAGES):  # the last answers where no name is given
            checkpoint = newest(path / stage)
            if checkpoint is not None:
                stages[f"{name}-{stage}"] = checkpoint
    return stages or {name: find(path)}


def load_all(
    checkpoints: Mapping[str, Checkpoint], machine: MachineConfig, *, slots: int, keep: bool
) -> Models:
    """Load every checkpoint; UsageError, before any is, where memory is too small for all.

    `keep`: the models stay at hand beside their engines, for looking inside.
    """
    runtime = make_runtime(machine.device, machine.dtype)
    how = f"{runtime.compute_dtype} {packing_of(machine, runtime, slots)} {__version__}".encode()
    served = []
    ready = load_several(list(checkpoints.values()), machine, slots=slots)
    for name, loaded in zip(checkpoints, ready, strict=True):
        made = hashlib.sha256((loaded.checkpoint.path / MANIFEST).read_bytes())
        made.update(how)
        served.append(
            Served(
                name=name,
                tokenizer=loaded.tokenizer,
                lane=Lane(loaded.engine, slots),
                stage=loaded.checkpoint.stage,
                fingerprint=f"fp_{made.hexdigest()[:12]}",
                created=int(time.time()),
                model=loaded.model if keep else None,
            )
        )
    return Models(served)
