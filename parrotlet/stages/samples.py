"""What a model says while it learns: a few tokens after fixed prompts, always with one seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from parrotlet.chat.generate import GenerateSettings, complete
from parrotlet.chat.reply import replies
from parrotlet.core.errors import DataError
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.model.model import Model
from parrotlet.stages.plan import row_length
from parrotlet.text.chat import Conversation
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS

TOKENS = 40


def continuations(
    model: Model, tokenizer: Tokenizer, prompts: Sequence[str], sampling: SamplingSettings
) -> Mapping[str, str]:
    """Each prompt with its continuation.

    Prompts that do not fit the context, or that the tokenizer cannot write (an alphabet of other
    characters), are left out; where all are, the model begins a text of its own.
    """
    engine = Engine(model, slots=1, length=row_length(None, model.config))
    settings = GenerateSettings(max_tokens=TOKENS, sampling=sampling)
    rooms = {prompt: engine.length - _length(tokenizer, prompt) for prompt in prompts}
    fitting = {prompt: int(room) for prompt, room in rooms.items() if room > 0}
    fitting = fitting or {"": engine.length - 1}
    return {
        prompt: complete(engine, tokenizer, prompt, settings.within(room))
        for prompt, room in fitting.items()
    }


def _length(tokenizer: Tokenizer, text: str) -> float:
    """Tokens of a document; infinite where the tokenizer cannot write it."""
    try:
        return len(tokenizer.encode_document(text))
    except DataError:
        return math.inf


def answers(model: Model, tokenizer: Tokenizer, prompts: Sequence[str]) -> Mapping[str, str]:
    """Each user message with the model's greedy answer."""
    slots, length = max(1, len(prompts)), row_length(None, model.config)
    engine = Engine(model, slots=slots, length=length)
    settings = GenerateSettings(max_tokens=TOKENS, sampling=SamplingSettings(temperature=0.0))
    conversations = [Conversation.of(("user", prompt)) for prompt in prompts]
    said = replies(engine, tokenizer, conversations, settings, TOOLS)
    return {prompt: message.text for prompt, message in zip(prompts, said, strict=True)}
