"""What terminals load: a model from a path, and settings from flags."""

from __future__ import annotations

import secrets

from parrotlet.chat.generate import GenerateSettings
from parrotlet.chat.load import Loaded as Loaded
from parrotlet.chat.load import load as load
from parrotlet.engine.request import SamplingSettings
from parrotlet.terminal.config import SamplingConfig


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
