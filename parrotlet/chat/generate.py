"""A text continued by the model, in pieces as they come, for models that do not chat."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing

from parrotlet.chat.answer import Answer, GenerateSettings, drive
from parrotlet.chat.pieces import Piece, fold
from parrotlet.engine.engine import Engine
from parrotlet.safety.filters import Filters
from parrotlet.text.tokenizer import Tokenizer

__all__ = ["GenerateSettings", "complete", "generate"]


def generate(
    engine: Engine,
    tokenizer: Tokenizer,
    prompt: Sequence[int],
    settings: GenerateSettings,
    *,
    filters: Filters | None = None,
) -> Generator[Piece, None, None]:
    """The continuation of `prompt`: Text pieces, then Finish. It ends where a document ends.

    The prompt of a text is `tokenizer.encode_document(text)`. Close the iterator to stop early.
    UsageError where prompt and max_tokens do not fit the context.
    """
    answer = Answer(engine, tokenizer, prompt, settings, end=tokenizer.bos_id, filters=filters)
    with closing(drive(engine, [answer])) as pieces:
        for _, piece in pieces:
            yield piece


def complete(engine: Engine, tokenizer: Tokenizer, text: str, settings: GenerateSettings) -> str:
    """The whole continuation of a text: the fold of the stream."""
    return fold(generate(engine, tokenizer, tokenizer.encode_document(text), settings)).text
