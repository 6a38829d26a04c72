"""`parrotlet sample`: a text and its continuation, as it comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from dataclasses import replace

from parrotlet.chat.generate import generate
from parrotlet.chat.pieces import Finish, Piece
from parrotlet.chat.screen import screen_prompt
from parrotlet.core.errors import UsageError
from parrotlet.safety.filters import filters_for
from parrotlet.terminal.config import SampleConfig, SamplingConfig
from parrotlet.terminal.load import load, settings_for
from parrotlet.terminal.remote import Remote
from parrotlet.text.chat import Text
from parrotlet.train.checkpoint import find, load_tokenizer

Continue = Callable[[SamplingConfig], Generator[Piece, None, None]]


def sample(config: SampleConfig) -> int:
    """Stream continuations of a prompt to standard output."""
    if config.num < 1:
        raise UsageError(f"--num {config.num}: ask for at least one continuation")
    go_on = _here(config) if config.api_url is None else _there(config, config.api_url)
    sampling = replace(config.sampling, seed=settings_for(config.sampling).sampling.seed)
    for index in range(config.num):
        sys.stdout.write(config.prompt)
        for piece in go_on(replace(sampling, seed=(sampling.seed or 0) + index)):
            if isinstance(piece, Text):
                sys.stdout.write(piece.text)
                sys.stdout.flush()
            elif isinstance(piece, Finish) and piece.reason == "filtered" and piece.verdict:
                print(f" (a safety filter: {piece.verdict.reason})", file=sys.stderr)
        sys.stdout.write("\n" if config.num == 1 else "\n\n")
    return 0


def _here(config: SampleConfig) -> Continue:
    """By a model that is loaded; UsageError where the prompt is too long for it."""
    filters = filters_for(config.safety)
    prompt, screened = screen_prompt(config.prompt, filters)
    if screened.refusal:
        return lambda sampling: (piece for piece in (Text("\n"), *screened.refusal))
    checkpoint = find(config.model)
    ids = load_tokenizer(checkpoint).encode_document(prompt)
    most = len(ids) + settings_for(config.sampling).max_tokens
    loaded = load(checkpoint, config.machine, length=most)
    room = loaded.engine.length - len(ids)
    if room < 1:
        raise UsageError(
            f"the prompt has {len(ids)} tokens and the model's context is {loaded.engine.length}; "
            "shorten it"
        )

    def go_on(sampling: SamplingConfig) -> Generator[Piece, None, None]:
        settings = settings_for(sampling).within(room)
        return generate(loaded.engine, loaded.tokenizer, ids, settings, filters=filters)

    return go_on


def _there(config: SampleConfig, address: str) -> Continue:
    """By a server."""
    filters_for(config.safety, address)
    remote = Remote(address, str(config.model))
    return lambda sampling: remote.complete(config.prompt, sampling)
