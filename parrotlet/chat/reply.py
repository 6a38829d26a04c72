"""The assistant's next message in a conversation: streamed, or many at once for evaluation.

A conversation that has grown too long for the context loses its oldest turns, never its system
message, and the first piece says so. One reply and hundreds take the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

from parrotlet.chat.answer import Answer, GenerateSettings, drive
from parrotlet.chat.call_runner import CallRunner
from parrotlet.chat.pieces import Dropped, Piece, fold
from parrotlet.chat.screen import Screened, screen
from parrotlet.core.errors import UsageError
from parrotlet.engine.engine import Engine
from parrotlet.safety.filters import Filters
from parrotlet.text.chat import Conversation, Message, render_prompt
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.table import Tool

MOST_CALLS = 8
ROOM = 4  # turns are dropped until a quarter of the context is free for the answer


def reply(
    engine: Engine,
    tokenizer: Tokenizer,
    conversation: Conversation,
    settings: GenerateSettings,
    tools: Mapping[str, Tool],
    *,
    filters: Filters | None = None,
) -> Generator[Piece, None, None]:
    """The answer to the last (user's) message: Dropped if need be, pieces, Finish.

    `settings.max_tokens` is a bound; the answer gets what the context has left. Close the
    iterator to stop it. Raises UsageError where the last message alone is too long, DataError
    where the conversation cannot be rendered. Without tools the model cannot call any, nor where
    the template has no calls. A message that the filters refuse is not answered by the model.
    """
    screened = screen(conversation, filters)
    if screened.refusal:
        yield from screened.refusal
        return
    answer, dropped = _prepare(engine, tokenizer, screened, settings, tools, filters)
    if dropped:
        yield Dropped(dropped)
    with closing(drive(engine, [answer])) as pieces:
        for _, piece in pieces:
            yield piece


def replies(
    engine: Engine,
    tokenizer: Tokenizer,
    conversations: Sequence[Conversation],
    settings: GenerateSettings,
    tools: Mapping[str, Tool],
    *,
    filters: Filters | None = None,
    apart: bool = False,
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> list[Message]:
    """The answer to each conversation, as many at once as the engine has slots.

    apart: the seed of the n-th (from 0) is n more than that given, so that they are independent.
    watch: what the pieces go through, which may end it by an exception.
    """
    screened = [screen(each, filters) for each in conversations]
    said: list[list[Piece]] = [list(each.refusal) for each in screened]
    places = [index for index, each in enumerate(screened) if not each.refusal]
    drawn = [_drawn(settings, place * apart) for place in places]
    answers = [
        _prepare(engine, tokenizer, screened[place], each, tools, filters)[0]
        for place, each in zip(places, drawn, strict=True)
    ]
    with closing(drive(engine, answers)) as pieces:
        for index, piece in watch(pieces):
            said[places[index]].append(piece)
    return [fold(each) for each in said]


def _drawn(settings: GenerateSettings, place: int) -> GenerateSettings:
    """The settings, with a seed that is so much more."""
    sampling = settings.sampling
    return replace(settings, sampling=replace(sampling, seed=sampling.seed + place))


def fit(
    tokenizer: Tokenizer, conversation: Conversation, *, length: int, max_tokens: int
) -> tuple[list[int], tuple[Message, ...]]:
    """The prompt of a conversation and the messages that were left out to make it fit `length`.

    Room is kept for max_tokens, at most for a quarter of `length`. The system and the last message
    stay. UsageError where these alone leave no room at all.
    """
    room = min(max_tokens, max(1, length // ROOM))
    messages = conversation.messages
    start = 1 if messages and messages[0].role == "system" else 0
    system, turns = messages[:start], messages[start:]
    prompt = render_prompt(conversation, tokenizer)
    kept = turns
    while len(prompt) + room > length and len(kept) > 1:
        kept = kept[2:]  # the user's message and its answer
        prompt = render_prompt(Conversation(system + kept), tokenizer)
    if len(prompt) >= length:
        raise UsageError(
            f"the last message (with the system message, if any) makes a prompt of {len(prompt)} "
            f"tokens, which leaves no room for an answer in a context of {length}; shorten it"
        )
    return prompt, turns[: len(turns) - len(kept)]


def answer_to(
    engine: Engine,
    tokenizer: Tokenizer,
    conversation: Conversation,
    prompt: Sequence[int],
    settings: GenerateSettings,
    tools: Mapping[str, Tool],
    *,
    filters: Filters | None = None,
    screened: Screened | None = None,
    choice: int = 0,
) -> Answer:
    """An answer to a conversation, ready to join a loop; `prompt` is what of it fits the context.

    It gets what the context has left, at most `settings.max_tokens`. `choice` is its number among
    several answers to the same prompt. `screened`: what the filters said of the conversation.
    """
    around = tokenizer.template.call
    return Answer(
        engine,
        tokenizer,
        prompt,
        settings.within(engine.length - len(prompt)),
        end=tokenizer.stop_id,
        calls=CallRunner(tokenizer, around, tools, MOST_CALLS) if tools and around else None,
        filters=filters,
        context=conversation.messages,
        screened=screened,
        choice=choice,
    )


def _prepare(
    engine: Engine,
    tokenizer: Tokenizer,
    screened: Screened,
    settings: GenerateSettings,
    tools: Mapping[str, Tool],
    filters: Filters | None,
) -> tuple[Answer, tuple[Message, ...]]:
    """An answer that is ready to be driven, and the messages it does not see."""
    conversation = screened.conversation
    prompt, dropped = fit(
        tokenizer, conversation, length=engine.length, max_tokens=settings.max_tokens
    )
    answer = answer_to(
        engine,
        tokenizer,
        conversation,
        prompt,
        settings,
        tools,
        filters=filters,
        screened=screened,
    )
    return answer, dropped
