"""A model, ready to answer: from a path to an engine and a tokenizer."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

from parrotlet.chat.generate import GenerateSettings
from parrotlet.core.runtime import make_runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.terminal.config import MachineConfig, SamplingConfig
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.train.checkpoint import Checkpoint, find, load_model, load_tokenizer


@dataclass(frozen=True)
class Loaded:
    """What generation needs."""

    checkpoint: Checkpoint
    engine: Engine
    tokenizer: Tokenizer


def load(path: Path, machine: MachineConfig, *, slots: int = 1) -> Loaded:
    """The newest checkpoint of a run (or the one named), verified and loaded."""
    checkpoint = find(path)
    runtime = make_runtime(machine.device, machine.dtype)
    engine = Engine(load_model(checkpoint, runtime), slots=slots)
    return Loaded(checkpoint, engine, load_tokenizer(checkpoint))


def settings_for(config: SamplingConfig) -> GenerateSettings:
    """Generation settings of the flags; a fresh seed where none is given."""
    sampling = SamplingSettings(
        temperature=config.temperature,
        top_k=config.top_k,
        top_p=config.top_p,
        min_p=config.min_p,
        repetition_penalty=config.repetition_penalty,
        seed=secrets.randbelow(2**31) if config.seed is None else config.seed,
    )
    return GenerateSettings(max_tokens=config.max_tokens, sampling=sampling, stop=config.stop)
