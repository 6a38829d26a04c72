"""What terminals load: a model from a path, to talk or to be measured, and settings from flags."""

from __future__ import annotations

import secrets
from pathlib import Path

from parrotlet.chat.generate import GenerateSettings
from parrotlet.chat.load import Loaded as Loaded
from parrotlet.chat.load import load as load
from parrotlet.core.machine import MachineConfig, free_memory
from parrotlet.engine.request import SamplingSettings
from parrotlet.model.cost import kv_cache_bytes
from parrotlet.terminal.config import SamplingConfig
from parrotlet.train.checkpoint import Checkpoint, find

LENGTH = 2048  # tokens of a conversation that measures; those of the world are some hundreds
SLOTS = (32, 128)  # conversations answered together: at least, and at most
CACHE_BYTES = 2**30  # that more than the least may take
FREE_SHARE = 8  # and one part in so many of the memory that is free
CHUNK = 4096  # tokens of prompts read in a step: nobody waits for a first word


def load_to_measure(source: Path | Checkpoint, machine: MachineConfig) -> Loaded:
    """Loaded for many short conversations, of which nobody waits for one. Errors as of `load`.

    Where more are answered together than `chat` or `serve` do, matrices are not packed as float16
    but in bfloat16, where that is the machine's dtype.
    """
    checkpoint = find(source) if isinstance(source, Path) else source
    config, (least, most) = checkpoint.config, SLOTS
    free = free_memory()
    room = CACHE_BYTES if free is None else min(CACHE_BYTES, free // FREE_SHARE)
    slots = room // kv_cache_bytes(config, min(LENGTH, config.context), 4)
    slots = max(least, min(most, slots))
    return load(checkpoint, machine, slots=slots, length=LENGTH, chunk=CHUNK)


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
