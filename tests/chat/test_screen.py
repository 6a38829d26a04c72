"""What is judged before a model reads: every message of a person, and a text to be continued."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from parrotlet.chat.pieces import Finish
from parrotlet.chat.screen import screen, screen_prompt
from parrotlet.safety.filters import Filters, load_filters
from parrotlet.safety.policy import DEFAULT
from parrotlet.text.chat import Conversation

HARM = "heil hitler"
KEY = "AKIAIOSFODNN7EXAMPLE"


@cache
def default() -> Filters:
    return load_filters()


def talk(*turns: str) -> Conversation:
    """A system message, then user and model in turn."""
    roles = ("system", *("user", "assistant") * len(turns))
    return Conversation.of(*zip(roles, turns, strict=False))


def read(conversation: Conversation) -> list[str]:
    return [each.text for each in conversation.messages]


@pytest.mark.parametrize("turns", [("Be kind.", HARM), (HARM, "Hello")])
def test_the_last_message_and_the_system_message_decide(turns: tuple[str, ...]) -> None:
    screened = screen(talk(*turns), default())
    assert screened.verdict is not None and screened.verdict.action == "refuse"
    finish = screened.refusal[-1]
    assert isinstance(finish, Finish) and finish.reason == "filtered"


def test_a_refused_turn_is_left_out_and_the_talk_goes_on() -> None:
    screened = screen(talk("Be kind.", "Hello", "Hi!", HARM, "Sure:", "And now?"), default())
    assert read(screened.conversation) == ["Be kind.", "Hello", "Hi!", "And now?"]
    assert screened.refusal == () and screened.verdict is not None
    assert screened.verdict.action == "warn"
    assert screened.verdict.reason.startswith("an earlier message was left out: the message holds")


def test_what_is_redacted_stays_so_when_the_talk_goes_on(tmp_path: Path) -> None:
    policy = tmp_path / "policy.toml"
    told = DEFAULT.read_text(encoding="utf-8")
    table = '[categories.secret]\naction = { input = "warn"'
    assert table in told
    policy.write_text(told.replace(table, table.replace("warn", "redact")), encoding="utf-8")
    screened = screen(talk("Be kind.", f"It is {KEY}.", "Thanks.", "Bye"), load_filters(policy))
    assert read(screened.conversation) == ["Be kind.", "It is [secret removed].", "Thanks.", "Bye"]
    assert screened.verdict is not None and screened.verdict.action == "redact"
    text, _ = screen_prompt(f"key {KEY} is", load_filters(policy))
    assert text == "key [secret removed] is"


def test_a_text_to_be_continued_is_judged_too() -> None:
    text, screened = screen_prompt("Once upon a time", default())
    assert text == "Once upon a time" and screened.refusal == ()
    assert screen_prompt(f"They said {HARM} and", default())[1].refusal


def test_without_filters_nothing_is_judged() -> None:
    conversation = talk("Be kind.", HARM)
    assert screen(conversation, None).conversation is conversation
    assert screen_prompt(HARM, None) == (HARM, screen_prompt(HARM, None)[1])
