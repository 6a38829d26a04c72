"""Conversations as ids: the native form written out by hand, what is refused, replies read back."""

from __future__ import annotations

import itertools

import pytest

from parrotlet.core.errors import DataError
from parrotlet.text.chat import (
    Conversation,
    Message,
    Part,
    Rendered,
    Text,
    ToolCall,
    ToolResult,
    parse_reply,
    render,
    render_prompt,
    render_result,
    validate,
)
from parrotlet.text.gpt2_vocab import GPT2_PATTERN, GPT2_PLAIN
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe

SUM = Conversation(
    (
        Message.of("system", "Be brief."),
        Message.of("user", "What is 12 + 30?"),
        Message(
            "assistant",
            (Text("Well."), ToolCall("calculator", "12 + 30"), ToolResult("42"), Text("It is 42.")),
        ),
        Message.of("user", "Thanks"),
        Message.of("assistant", "Bye"),
    )
)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe([], 256 + 9)  # a byte is a token: the ids can be written down


def shown(rendered: Rendered, tokenizer: Tokenizer) -> str:
    """The ids as text with spaces as _, a line for each run of learned ("+") or other ids."""
    names = {value: name for name, value in tokenizer.specials.items()}
    pairs = list(zip(rendered.ids, rendered.mask, strict=True))
    lines = []
    for learned, run in itertools.groupby(pairs, key=lambda pair: pair[1]):
        text = "".join(names.get(each) or chr(each).replace(" ", "_") for each, _ in run)
        lines.append(("+" if learned else "-") + text)
    return "\n".join(lines)


def test_the_native_form_and_what_is_learned(tokenizer: Tokenizer) -> None:
    assert shown(render(SUM, tokenizer), tokenizer).split("\n") == [
        "-<|bos|><|system|>_Be_brief.<|end|><|user|>_What_is_12_+_30?<|end|><|assistant|>",
        "+_Well.<|call|>_calculator_12_+_30<|end_call|>",
        "-<|result|>_42<|end_result|>",
        "+_It_is_42.<|end|>",
        "-<|user|>_Thanks<|end|><|assistant|>",
        "+_Bye<|end|>",
    ]


@pytest.mark.parametrize("turns", [2, 4])
def test_a_prompt_is_a_prefix_of_the_finished_conversation(
    turns: int, tokenizer: Tokenizer
) -> None:
    prompt = render_prompt(Conversation(SUM.messages[:turns]), tokenizer)
    whole = render(Conversation(SUM.messages[: turns + 1]), tokenizer)
    assert prompt[-1] == tokenizer.special("<|assistant|>")
    assert list(whole.ids[: len(prompt)]) == prompt
    assert parse_reply(whole.ids[len(prompt) :], tokenizer) == SUM.messages[turns]


def test_a_result_put_after_a_call_is_as_if_rendered(tokenizer: Tokenizer) -> None:
    ids = list(render(SUM, tokenizer).ids)
    at = ids.index(tokenizer.special("<|result|>"))
    forced = render_result(ToolResult("42"), tokenizer)
    assert ids[at : at + len(forced)] == forced


def ids_of(said: str, tokenizer: Tokenizer) -> list[int]:
    """Ids of a reply written with C ( ... ), R [ ... ], U for <|user|> and . for the stop."""
    marks = {"(": "<|call|>", ")": "<|end_call|>", "[": "<|result|>", "]": "<|end_result|>"}
    marks |= {"U": "<|user|>", ".": "<|end|>"}
    return [tokenizer.special(marks[each]) if each in marks else ord(each) for each in said]


@pytest.mark.parametrize(
    ("said", "parts"),
    [
        ("", ()),
        (".", ()),
        (" hi", (Text("hi"),)),
        ("hi. more", (Text("hi"),)),
        ("  hi", (Text(" hi"),)),
        (" a( f x)[ 1] b.", (Text("a"), ToolCall("f", "x"), ToolResult("1"), Text("b"))),
        ("( f)", (ToolCall("f", ""),)),
        ("( f  x y)", (ToolCall("f", " x y"),)),
        ("()", (ToolCall("", ""),)),
        ("( f x", ()),
        (" a( f x. b", (Text("a"),)),
        (" a[ 1] b", (Text("ab"),)),
        ("( f x) a[ 1] b", (ToolCall("f", "x"), Text("ab"))),
        ("( f x)[ 1][ 2]", (ToolCall("f", "x"), ToolResult("1"))),
        ("( f( g x)", (ToolCall("g", "x"),)),
        ("( f U y) b", (Text("yb"),)),
        (") a] bU c", (Text("abc"),)),
    ],
)
def test_replies_are_read(said: str, parts: tuple[Part, ...], tokenizer: Tokenizer) -> None:
    reply = parse_reply(ids_of(said, tokenizer), tokenizer)
    assert reply == Message("assistant", parts)
    validate(Conversation.of(("user", "x")).plus(reply))


def test_neighbouring_texts_are_one(tokenizer: Tokenizer) -> None:
    split = Message("assistant", (Text(""), Text("on"), Text(""), Text("e"), Text("")))
    whole = Message.of("assistant", "one")
    first = Conversation.of(("user", "x"))
    assert render(first.plus(split), tokenizer) == render(first.plus(whole), tokenizer)


BAD = {
    "no messages": Conversation(()),
    "may be": Conversation.of(("user", "a"), ("system", "b")),
    "second user": Conversation.of(("user", "a"), ("user", "b")),
    "second assistant": Conversation.of(("user", "a"), ("assistant", "b"), ("assistant", "c")),
    "speak first": Conversation.of(("assistant", "a")),
    "user must speak first": Conversation.of(("system", "s"), ("assistant", "a")),
    "'tool'": Conversation.of(("user", "a"), ("tool", "b")),  # type: ignore[arg-type]
    "ToolCall": Conversation((Message("user", (ToolCall("f", "x"),)),)),
    "ToolResult": Conversation((Message("system", (ToolResult("x"),)),)),
    "directly follow": Conversation.of(("user", "a")).plus(
        Message("assistant", (ToolCall("f", "x"), Text("so"), ToolResult("1")))
    ),
    "no space": Conversation.of(("user", "a")).plus(
        Message("assistant", (ToolCall("two words", "x"),))
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_conversations_without_a_meaning_are_refused(message: str, tokenizer: Tokenizer) -> None:
    for function in (
        validate,
        lambda c: render(c, tokenizer),
        lambda c: render_prompt(c, tokenizer),
    ):
        with pytest.raises(DataError) as caught:
            function(BAD[message])
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("turns", [1, 3, 5])
def test_only_a_user_can_be_answered(turns: int, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match="must be the user's"):
        render_prompt(Conversation(SUM.messages[:turns]), tokenizer)


def test_a_template_without_tools_says_so() -> None:
    tokens = tuple(bytes([value]) for value in range(256))
    plain = Tokenizer("bpe", tokens, GPT2_PLAIN, GPT2_PATTERN)
    with pytest.raises(DataError, match="no tools"):
        render(SUM, plain)
    talk = Conversation.of(("system", "Be kind."), ("user", "Hi"), ("assistant", "Hello"))
    rendered = render(talk, plain)
    assert plain.decode(rendered.ids) == "Be kind.\n\nUser:\nHi\n\nAssistant:\nHello"
    assert sum(rendered.mask) == len("Hello") + 1
