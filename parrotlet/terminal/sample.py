"""`parrotlet sample`: a text and its continuation, as it comes."""

from __future__ import annotations

import sys
from dataclasses import replace

from parrotlet.chat.generate import generate
from parrotlet.core.errors import UsageError
from parrotlet.terminal.config import SampleConfig
from parrotlet.terminal.load import load, settings_for
from parrotlet.text.chat import Text


def sample(config: SampleConfig) -> int:
    """Stream continuations of a prompt to standard output."""
    if config.num < 1:
        raise UsageError(f"--num {config.num}: ask for at least one continuation")
    loaded = load(config.model, config.machine)
    ids = loaded.tokenizer.encode_document(config.prompt)
    room = loaded.engine.length - len(ids)
    if room < 1:
        raise UsageError(
            f"the prompt has {len(ids)} tokens and the model's context is {loaded.engine.length}; "
            "shorten it"
        )
    settings = settings_for(config.sampling).within(room)
    for index in range(config.num):
        sampling = replace(settings.sampling, seed=settings.sampling.seed + index)
        sys.stdout.write(config.prompt)
        pieces = generate(
            loaded.engine, loaded.tokenizer, ids, replace(settings, sampling=sampling)
        )
        for piece in pieces:
            if isinstance(piece, Text):
                sys.stdout.write(piece.text)
                sys.stdout.flush()
        sys.stdout.write("\n" if config.num == 1 else "\n\n")
    return 0
