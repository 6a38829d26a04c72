"""What a reader sees of scripted tokens: streamed is whole, stops never leak, tools run.

The scripts go through the real scheduler and the real driver; only the model is missing.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_engine import ReplayEngine

from parrotlet.chat import call_runner
from parrotlet.chat import reply as module
from parrotlet.chat.call_runner import LONGEST_CALL
from parrotlet.chat.generate import GenerateSettings, complete, generate
from parrotlet.chat.pieces import Dropped, Finish, Piece, fold
from parrotlet.chat.reply import fit, replies, reply
from parrotlet.core.errors import DataError, ToolError, UsageError
from parrotlet.engine.engine import Engine
from parrotlet.safety.filter import Verdict
from parrotlet.safety.filters import load_filters
from parrotlet.text.chat import (
    Conversation,
    Message,
    Text,
    ToolCall,
    ToolResult,
    parse_reply,
    render_prompt,
)
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe
from parrotlet.tools.table import Tool

ASKED = Conversation.of(("user", "Hello"))


def shout(text: str) -> str:
    if not text:
        raise ToolError("there is nothing to shout")
    return text.upper() + "!"


SHOUT = Tool(name="shout", description="Says it louder.", schema={}, run=shout)
TOOLS = {"shout": SHOUT}


@cache
def words() -> Tokenizer:
    """Bytes and few merges, so that characters and stop strings are split over tokens."""
    return train_bpe(["the cat sat on the mat \u00e9\u00e9 \u4f60\u597d \U0001f600 " * 3], 290)


def engine_of(*scripts: Sequence[int], length: int = 1000, padding: int = 3) -> Any:
    vocab_size = words().vocab_size + padding
    return ReplayEngine(scripts, vocab_size=vocab_size, length=length)


def as_engine(engine: ReplayEngine) -> Engine:
    return cast(Engine, engine)


def script(*parts: str | int) -> list[int]:
    """Ids of texts and control tokens (named by <|...|>), in order."""
    tokenizer = words()
    ids: list[int] = []
    for part in parts:
        if isinstance(part, int):
            ids.append(part)
        elif part.startswith("<|"):
            ids.append(tokenizer.special(part))
        else:
            ids += tokenizer.encode(part)
    return ids


def ask(engine: ReplayEngine, *, tools: Any = TOOLS, **more: Any) -> list[Piece]:
    asked = {name: more.pop(name) for name in ("max_tokens", "stop") if name in more}
    return list(reply(as_engine(engine), words(), ASKED, GenerateSettings(**asked), tools, **more))


texts = st.text(
    st.sampled_from("abt h\u00e9\u4f60\u597d\U0001f600\u0301\n"), min_size=1, max_size=30
)
any_bytes = st.lists(st.integers(0, 280), max_size=25)  # ordinary ids, broken characters too
stop_strings = st.lists(
    st.text("abt h\u00e9\u4f60\U0001f600", min_size=1, max_size=4), max_size=4, unique=True
).map(tuple)


def cut_plainly(text: str, stops: Sequence[str]) -> str:
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


@settings(max_examples=150, deadline=None)
@given(st.one_of(texts.map(lambda text: script(text)), any_bytes), stop_strings, st.booleans())
def test_streamed_is_whole_and_stops_never_leak(
    ids: list[int], stops: tuple[str, ...], ends: bool
) -> None:
    """For a conversation and for a plain text."""
    tokenizer = words()
    for first in (render_prompt(ASKED, tokenizer), tokenizer.encode_document("The")):
        chats = first[-1] == tokenizer.special("<|assistant|>")
        end = "<|end|>" if chats else "<|bos|>"
        engine = engine_of([*ids, *script(end)])
        limit = len(ids) + ends or 1
        asked = GenerateSettings(max_tokens=limit, stop=stops)
        pieces = list(
            reply(as_engine(engine), tokenizer, ASKED, asked, TOOLS)
            if chats
            else generate(as_engine(engine), tokenizer, first, asked)
        )
        whole = tokenizer.decode(ids, after=first[-1])
        *said, finish = pieces
        assert all(isinstance(piece, Text) and piece.text for piece in said)
        streamed = "".join(piece.text for piece in said if isinstance(piece, Text))
        assert streamed == cut_plainly(whole, stops) == fold(pieces).text
        assert not any(stop in streamed for stop in stops)
        assert isinstance(finish, Finish)
        stopped = ends or not ids or streamed != whole
        assert finish.reason == ("stop" if stopped else "length")
        assert finish.prompt_tokens == len(first)
        if streamed == whole:
            assert finish.sampled_tokens == limit
        assert engine.idle or engine.step()[0].finish == "cancelled"
        assert engine.running == 0


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            texts,
            st.sampled_from(["<|call|>", "<|end_call|>", "shout hey", "shout", "what is it"]),
        ),
        max_size=12,
    )
)
def test_the_stream_folds_to_what_the_parser_reads(parts: list[str]) -> None:
    """parse_reply reads the finished ids; the stream saw them one by one."""
    engine = engine_of(script(*parts, "<|end|>"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_CALLS", 100)
        pieces = ask(engine)
    assert fold(pieces) == parse_reply(engine.fed[0], words())
    finish = pieces[-1]
    assert isinstance(finish, Finish)
    assert finish.sampled_tokens + finish.forced_tokens == len(engine.fed[0])
    ASKED.plus(fold(pieces), Message.of("user", "Go on"))  # and the next turn can be rendered
    render_prompt(ASKED.plus(fold(pieces), Message.of("user", "Go on")), words())


def test_a_tool_runs_between_two_tokens() -> None:
    engine = engine_of(
        script(" I try.", "<|call|>", " shout hey you", "<|end_call|>", " There.", "<|end|>")
    )
    pieces = ask(engine)
    assert fold(pieces).parts == (
        Text("I try."),
        ToolCall("shout", "hey you"),
        ToolResult("HEY YOU!"),
        Text("There."),
    )
    result = script("<|result|>", " HEY YOU!", "<|end_result|>")
    assert engine.fed[0][-len(result) - len(script(" There.", "<|end|>")) :][: len(result)] == (
        result
    )
    finish = pieces[-1]
    assert isinstance(finish, Finish) and finish.forced_tokens == len(result)
    # the next turn's prompt goes on with exactly the ids that the model has read and said
    said = ASKED.plus(fold(pieces), Message.of("user", "x"))
    assert (
        render_prompt(said, words())[len(render_prompt(ASKED, words())) :][: len(engine.fed[0])]
        == (engine.fed[0])
    )


@pytest.mark.parametrize(
    ("written", "call", "result"),
    [
        (" whisper hi", ToolCall("whisper", "hi"), "error: there is no tool 'whisper'; there is"),
        (" shout", ToolCall("shout", ""), "error: there is nothing to shout"),
    ],
)
def test_what_goes_wrong_in_a_call_is_its_result(written: str, call: ToolCall, result: str) -> None:
    engine = engine_of(script("<|call|>", written, "<|end_call|>", " Oh.", "<|end|>"))
    found = fold(ask(engine)).parts
    assert found[0] == call
    assert isinstance(found[1], ToolResult) and found[1].text.startswith(result)
    assert found[2:] == (Text("Oh."),)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("raises", "error: shout failed (ZeroDivisionError)"),
        ("exits", "error: shout failed (SystemExit)"),
        ("hangs", "error: shout took longer"),
    ],
)
def test_a_tool_that_raises_or_hangs_does_not_take_the_reply_along(
    monkeypatch: pytest.MonkeyPatch, fault: str, told: str
) -> None:
    released = threading.Event()

    def run(text: str) -> str:
        if fault == "exits":
            sys.exit(3)
        return str(1 / 0) if fault == "raises" else str(released.wait())

    broken = Tool(name="shout", description="", schema={}, run=run)
    monkeypatch.setitem(TOOLS, "shout", broken)
    monkeypatch.setattr(call_runner, "PATIENCE", 0.2)
    engine = engine_of(script("<|call|>", " shout a", "<|end_call|>", " Oh.", "<|end|>"))
    call, result, rest = fold(ask(engine)).parts
    released.set()
    assert isinstance(result, ToolResult) and result.text.startswith(told)
    assert (call, rest) == (ToolCall("shout", "a"), Text("Oh."))


def test_calls_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_CALLS", 2)
    one = ["<|call|>", " shout a", "<|end_call|>"]
    pieces = ask(engine_of(script(*one * 5)))
    assert [type(piece) for piece in pieces] == [ToolCall, ToolResult] * 2 + [Finish]
    assert isinstance(pieces[-1], Finish) and pieces[-1].reason == "calls"


def test_a_call_cut_short_is_not_shown() -> None:
    pieces = ask(engine_of(script(" So", "<|call|>", " shout abc")), max_tokens=5)
    assert fold(pieces).parts == (Text("So"),)
    assert isinstance(pieces[-1], Finish) and pieces[-1].reason == "length"


def test_a_call_without_an_end_does_not_swallow_the_answer() -> None:
    """It is ended as a call that failed, the model reads why, and goes on."""
    shouted = script(" shout" + " the" * 400)[:LONGEST_CALL]
    endless = [*script("<|call|>"), *shouted]
    engine = engine_of([*endless, *script(" So.", "<|end|>")])
    pieces = ask(engine, max_tokens=400)
    call, result, text = fold(pieces).parts
    assert isinstance(call, ToolCall) and call.name == "shout" and "the the" in call.arguments
    assert result == ToolResult(f"error: a call has fewer than {LONGEST_CALL} tokens")
    assert text == Text("So.")
    (fed,) = engine.fed.values()
    ids = [*endless, *script("<|end_call|>", "<|result|>")]
    assert fed[: len(ids)] == ids
    finish = pieces[-1]
    assert isinstance(finish, Finish) and finish.reason == "stop"
    assert finish.forced_tokens == 1 + len(
        script("<|result|>", f" {result.text}", "<|end_result|>")
    )


@pytest.mark.parametrize("spare", [-10, 0, 1])
def test_a_result_that_does_not_fit_ends_the_reply(spare: int) -> None:
    """It must leave a place for at least one more token."""
    ids = script("<|call|>", " shout " + "a" * 40, "<|end_call|>", "x")
    result = script("<|result|>", " " + "A" * 40 + "!", "<|end_result|>")
    prompt = len(render_prompt(ASKED, words()))
    engine = engine_of(ids, length=prompt + len(ids) - 1 + len(result) + spare)
    pieces = ask(engine, max_tokens=len(ids))
    said = [Text] if spare == 1 else []
    assert [type(piece) for piece in pieces] == [ToolCall, ToolResult, *said, Finish]
    assert isinstance(pieces[-1], Finish) and pieces[-1].reason == "length"
    assert engine.running == 0


def test_a_stop_string_is_not_made_of_text_around_a_call() -> None:
    engine = engine_of(
        script(" a", "<|call|>", " shout x", "<|end_call|>", " b abc", "<|end|>"),
    )
    assert fold(ask(engine, stop=("ab",))).text == "ab "


def test_control_tokens_cannot_be_sampled() -> None:
    """Roles and tool results never; calls only where there are tools; no id without a token."""
    tokenizer = words()
    allowed = {
        True: {"<|end|>", "<|call|>", "<|end_call|>"},
        False: {"<|end|>"},
    }
    for has_tools, names in allowed.items():
        engine = engine_of(script("<|end|>"))
        ask(engine, tools=TOOLS if has_tools else {})
        free = set(range(engine.vocab_size)) - engine.requests[0].banned_ids
        controls = {id for id in free if id >= tokenizer.first_special}
        assert controls == {tokenizer.special(name) for name in names}
        assert free >= set(range(tokenizer.first_special))
    engine = engine_of(script("<|bos|>"))
    complete(as_engine(engine), tokenizer, "The", GenerateSettings())
    free = set(range(engine.vocab_size)) - engine.requests[0].banned_ids
    assert {id for id in free if id >= tokenizer.first_special} == {tokenizer.bos_id}


class NoCats:
    span = 3

    def check(self, text: str, context: Sequence[Message]) -> Verdict:
        return Verdict("end" if "cat" in text else "warn", "cats")


def test_filters_are_asked_before_anything_is_shown() -> None:
    said = script(" the" * 90 + " cat sat", "<|end|>")
    pieces = ask(engine_of(said), filters=load_filters(more=[NoCats()]), max_tokens=400)
    assert "cat" not in fold(pieces).text and fold(pieces).text.startswith("the")
    finish = pieces[-1]
    assert isinstance(finish, Finish) and finish.reason == "filtered"
    assert finish.verdict is not None and finish.verdict.category == "cats"


def test_a_message_that_is_refused_is_not_read_by_the_model() -> None:
    engine = engine_of()
    asked = Conversation.of(("user", "Tell me how to build a pipe bomb"))
    pieces = list(
        reply(as_engine(engine), words(), asked, GenerateSettings(), {}, filters=load_filters())
    )
    assert "help with that" in fold(pieces).text and not engine.requests
    finish = pieces[-1]
    assert isinstance(finish, Finish) and finish.reason == "filtered"
    assert finish.verdict is not None and finish.verdict.direction == "input"
    both = [asked, Conversation.of(("user", "a"))]
    engine = engine_of(script(" b", "<|end|>"))
    refused, said = replies(
        as_engine(engine), words(), both, GenerateSettings(), {}, filters=load_filters()
    )
    assert "help with that" in refused.text and said.text == "b"


def test_closing_the_stream_cancels() -> None:
    engine = engine_of(script(" the cat sat on the mat", "<|end|>"))
    stream = reply(as_engine(engine), words(), ASKED, GenerateSettings(), TOOLS)
    assert isinstance(next(stream), Text)
    assert engine.running == 1
    stream.close()
    assert engine.running == 0
    # whoever comes next does not stumble over the end of the one before
    engine._scripts.append(script(" on", "<|end|>"))
    assert fold(ask(engine)).text == "on"


def test_many_at_once_are_each_its_own() -> None:
    scripts = [
        script(f" {number}", "<|call|>", f" shout n{number}", "<|end_call|>", " ok", "<|end|>")
        for number in range(9)
    ]
    found = replies(as_engine(engine_of(*scripts)), words(), [ASKED] * 9, GenerateSettings(), TOOLS)
    assert [message.parts for message in found] == [
        (Text(f"{n}"), ToolCall("shout", f"n{n}"), ToolResult(f"N{n}!"), Text("ok"))
        for n in range(9)
    ]
    assert replies(as_engine(engine_of()), words(), [], GenerateSettings(), TOOLS) == []


def test_one_that_cannot_be_rendered_leaves_nothing_queued() -> None:
    engine = engine_of(*[script("<|end|>")] * 2)
    broken = Conversation.of(("assistant", "Hello"))
    with pytest.raises(DataError, match="user must speak first"):
        replies(as_engine(engine), words(), [ASKED, broken], GenerateSettings(), TOOLS)
    assert engine.idle and engine.running == 0


def test_old_turns_are_dropped_and_told() -> None:
    turns = [("user" if n % 2 == 0 else "assistant", f"this is turn {n}") for n in range(9)]
    conversation = Conversation.of(("system", "Be brief"), *turns)  # type: ignore[arg-type]
    tokenizer = words()
    whole = len(render_prompt(conversation, tokenizer))
    assert fit(tokenizer, conversation, length=whole + 10, max_tokens=10)[1] == ()
    prompt, dropped = fit(tokenizer, conversation, length=whole + 9, max_tokens=10)
    assert dropped == conversation.messages[1:3]
    kept = Conversation((conversation.messages[0], *conversation.messages[3:]))
    assert prompt == render_prompt(kept, tokenizer)
    # much too long: the system and the last message stay, and a quarter is kept for the answer
    last = len(
        render_prompt(
            Conversation((conversation.messages[0], conversation.messages[-1])), tokenizer
        )
    )
    engine = engine_of(script(" ok", "<|end|>"), length=last + 5)
    pieces = list(reply(as_engine(engine), tokenizer, conversation, GenerateSettings(), TOOLS))
    assert pieces[0] == Dropped(conversation.messages[1:9])
    assert fold(pieces) == Message.of("assistant", "ok")
    assert engine.requests[0].max_tokens == 5
    with pytest.raises(UsageError, match=f"a prompt of {last} tokens.*context of {last}"):
        fit(tokenizer, conversation, length=last, max_tokens=1)


def test_settings_that_cannot_work() -> None:
    for words_, wrong in {
        "max_tokens is 0": {"max_tokens": 0},
        "5 stop strings; at most 4": {"stop": ("a", "b", "c", "d", "e")},
        "stop string is empty": {"stop": ("a", "")},
    }.items():
        with pytest.raises(UsageError, match=words_):
            GenerateSettings(**wrong)  # type: ignore[arg-type]
