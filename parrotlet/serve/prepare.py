"""From a request's body to answers that can join the engine: everything that may take a while.

It runs in a thread of its own, since a long text takes time to become tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from parrotlet.chat.answer import Answer
from parrotlet.chat.reply import answer_to, fit
from parrotlet.chat.screen import Screened, screen, screen_prompt
from parrotlet.core.errors import UsageError
from parrotlet.safety.filters import Filters
from parrotlet.serve.config import LimitsConfig
from parrotlet.serve.errors import ApiError
from parrotlet.serve.models import Served
from parrotlet.serve.schema import ChatBody, CompletionBody
from parrotlet.serve.shapes import ChatShape, Chunks, CompletionShape
from parrotlet.serve.words import TokenWords
from parrotlet.text.chat import Message, render_prompt
from parrotlet.tools.toolbox import TOOLS

DEFAULT_COMPLETION = 16  # tokens of a completion that says nothing of its length


@dataclass(frozen=True)
class Prepared:
    """Answers that are ready to start, and what writes them down."""

    model: Served
    answers: Sequence[Answer]
    chunks: Chunks


def chat(model: Served, body: ChatBody, limits: LimitsConfig, filters: Filters | None) -> Prepared:
    """The answers to a conversation."""
    conversation = body.conversation()
    check_size(limits, "messages", [each.text for each in conversation.messages])
    screened = screen(conversation, filters)
    conversation = screened.conversation
    engine, tokenizer = model.engine, model.tokenizer
    most = body.most_tokens(engine.length)
    settings = body.settings(tokenizer, most, body.alternatives())
    dropped: tuple[Message, ...] = ()
    if body.truncation == "auto":
        try:
            prompt, dropped = fit(tokenizer, conversation, length=engine.length, max_tokens=most)
        except UsageError as error:
            raise ApiError(400, str(error), "context_length_exceeded", "messages") from error
    else:
        prompt = render_prompt(conversation, tokenizer)
        _check_context(len(prompt), engine.length, "messages")
    num = body.n or 1
    tools = {} if body.tool_choice == "none" else TOOLS
    answers = [
        answer_to(engine, tokenizer, conversation, prompt, settings, tools,
                  filters=filters, screened=screened, choice=choice)
        for choice in range(num)
    ]  # fmt: skip
    words = [TokenWords(tokenizer, prompt[-1]) for _ in answers]
    shape = ChatShape(words, logprobs=bool(body.logprobs))
    return Prepared(
        model, answers, Chunks(model, shape, num=num, per_prompt=num, dropped=len(dropped))
    )


def completion(
    model: Served, body: CompletionBody, limits: LimitsConfig, filters: Filters | None
) -> Prepared:
    """The continuations of all prompts, those of the first prompt first."""
    prompts = body.prompts()
    check_size(limits, "prompt", [each for each in prompts if isinstance(each, str)], len(prompts))
    engine, tokenizer = model.engine, model.tokenizer
    most = DEFAULT_COMPLETION if body.max_tokens is None else body.max_tokens
    if most == 0 and not body.echo:
        raise ApiError(400, "max_tokens 0 needs echo: true", param="max_tokens")
    settings = replace(
        body.settings(tokenizer, max(most, 1), body.logprobs),
        max_tokens=most,
        prompt_logprobs=bool(body.echo) and (body.logprobs is not None or most == 0),
    )
    num = body.n or 1
    answers, words, echoes, hidden = [], [], [], []
    for prompt in prompts:
        ids, added = _prompt_ids(model, prompt)
        text = prompt if isinstance(prompt, str) else tokenizer.decode(prompt)
        screened: Screened | None = None
        if most:  # else nothing is said: the prompt is only scored
            read, screened = screen_prompt(text, filters)
            ids = ids if read == text else _prompt_ids(model, read)[0]
        _check_context(len(ids), engine.length, "prompt")
        for choice in range(num):
            within = settings.within(engine.length - len(ids))
            answers.append(
                Answer(engine, tokenizer, ids, within, end=tokenizer.bos_id,
                       filters=filters, screened=screened, choice=choice)
            )  # fmt: skip
            begin = ids[0] if added else None
            words.append(TokenWords(tokenizer, begin if body.echo else ids[-1]))
            echoes.append(text if body.echo else None)
            hidden.append(added)
    shape = CompletionShape(words, echoes, hidden, body.logprobs)
    return Prepared(model, answers, Chunks(model, shape, num=len(answers), per_prompt=num))


def _prompt_ids(model: Served, prompt: str | list[int]) -> tuple[list[int], int]:
    """The ids of a prompt, begun as documents are, and how many of them were put before it."""
    tokenizer = model.tokenizer
    if isinstance(prompt, str):
        return tokenizer.encode_document(prompt), 1
    if (highest := max(prompt)) >= tokenizer.vocab_size:
        told = f"there is no token {highest}; there are {tokenizer.vocab_size:,}"
        raise ApiError(400, told, param="prompt")
    return (prompt, 0) if prompt[0] == tokenizer.bos_id else ([tokenizer.bos_id, *prompt], 1)


def check_size(
    limits: LimitsConfig, param: str, texts: Sequence[str], num: int | None = None
) -> None:
    """ApiError for more messages, prompts or characters than the server takes."""
    num = len(texts) if num is None else num
    chars = sum(map(len, texts))
    if num > limits.max_messages:
        raise ApiError(
            400, f"{num} {param}; this server takes {limits.max_messages}", "too_many", param
        )
    if chars > limits.max_chars:
        raise ApiError(
            400, f"{chars:,} characters; this server takes {limits.max_chars:,}", "too_long", param
        )


def _check_context(num: int, length: int, param: str) -> None:
    """ApiError for a prompt that leaves no room for an answer."""
    if num >= length:
        told = f"the prompt has {num} tokens and the model's context is {length}; shorten it"
        raise ApiError(400, told, "context_length_exceeded", param)
