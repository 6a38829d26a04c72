"""Ids here and in transformers, on fuzzed texts and conversations, both ways."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import foreign
import pytest
import transformers
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from parrotlet.core.rundir import write_json
from parrotlet.exchange.dialects import chat_template
from parrotlet.exchange.hf_tokenizer_read import read_tokenizer
from parrotlet.exchange.hf_tokenizer_write import tokenizer_files
from parrotlet.exchange.jinja import as_messages
from parrotlet.exchange.merges import merges_of, pair_names
from parrotlet.text.chat import (
    Conversation,
    Message,
    Part,
    Text,
    ToolCall,
    ToolResult,
    render,
    render_prompt,
)
from parrotlet.text.gpt2_vocab import load_gpt2
from parrotlet.text.template import NATIVE
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe, train_char

# no characters that this Python's Unicode has not: libraries may know them, each as it likes
CHARACTERS = st.characters(exclude_categories=("Cs", "Cn"))
PIECES = [
    " ", "  ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\x1c", "\x85", "\ufeff", "'s",
    "'LL", " it's", "12", "\u00bd", "hello", " world", "caf\u00e9", "cafe\u0301", "\u212b",
    "\uac00\u11a8", "\u6f22\u5b57", "\U0001f642", "<|endoftext|>", "<|im_end|>",
]  # fmt: skip
TEXTS = st.lists(CHARACTERS | st.sampled_from(PIECES), max_size=30).map("".join)
WORDS = TEXTS.filter(lambda text: "<|" not in text)
FEW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
MOST = 10_000
MANY = settings(max_examples=MOST, deadline=None, suppress_health_check=list(HealthCheck))
Pair = tuple[Tokenizer, Any]  # ours and transformers'


def imported(theirs: Any, arch: str) -> Pair:
    with TemporaryDirectory() as folder:
        theirs.save_pretrained(folder)
        return read_tokenizer(Path(folder), arch)[0], theirs


def exported(ours: Tokenizer) -> Pair:
    with TemporaryDirectory() as folder:
        for name, value in tokenizer_files(ours, 64).items():
            write_json(Path(folder) / name, value)
        theirs = transformers.AutoTokenizer.from_pretrained(folder)
        assert read_tokenizer(Path(folder), "qwen3")[0].fingerprint == ours.fingerprint
        return ours, theirs


@cache
def pair(name: str) -> Pair:
    made = {
        "gpt2": lambda: imported(foreign.gpt2_tokenizer(), "gpt2"),
        "qwen3": lambda: imported(foreign.qwen_tokenizer(), "qwen3"),
        "native": lambda: exported(train_bpe([foreign.TEXT * 9], 400, NATIVE)),
        "back": lambda: exported(imported(foreign.qwen_tokenizer(), "qwen3")[0]),
        "chars": lambda: exported(train_char([foreign.TEXT])),
    }
    return made[name]()


def assert_same_text(name: str, text: str) -> None:
    ours, theirs = pair(name)
    backend = theirs.backend_tokenizer
    backend.encode_special_tokens = True  # text is text, as with us
    try:
        expected = backend.encode(text, add_special_tokens=False).ids
    finally:
        backend.encode_special_tokens = False
    assert ours.encode(text) == expected


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "native", "back"])
@FEW
@given(text=TEXTS)
@example(text=foreign.TEXT)
@example(text="\u0301\u0301a\u0328\u0301 <|im_start|>user\n" + " " * 300)
def test_texts(name: str, text: str) -> None:
    assert_same_text(name, text)


def counted(values: st.SearchStrategy[Any], check: Callable[[Any], None]) -> int:
    """How many values passed."""
    passed = 0

    @MANY
    @given(values)
    def one(value: Any) -> None:
        nonlocal passed
        check(value)
        passed += 1

    one()
    return passed


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["gpt2", "qwen3", "native", "back"])
def test_ten_thousand_texts(name: str) -> None:
    assert counted(TEXTS, lambda text: assert_same_text(name, text)) >= MOST


@FEW
@given(text=st.text(alphabet=sorted(set(foreign.TEXT))))
def test_texts_of_characters(text: str) -> None:
    ours, theirs = pair("chars")
    assert ours.encode(text) == theirs.encode(text, add_special_tokens=False)


@st.composite
def conversations(draw: st.DrawFn, tools: bool) -> Conversation:
    """Any that can be rendered; with tool calls where the template has them."""
    messages = [Message.of("system", draw(WORDS))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message.of("user", draw(WORDS)))
        parts: list[Part] = []
        for _ in range(draw(st.integers(0, 2)) if tools else 0):
            call = ToolCall(draw(st.sampled_from(["calculator", "a"])), draw(WORDS))
            parts += [Text(draw(WORDS)), call, ToolResult(draw(WORDS))]
        messages.append(Message("assistant", (*parts, Text(draw(WORDS)))))
    return Conversation(tuple(messages))


def assert_same_conversation(name: str, talk: Conversation) -> None:
    ours, theirs = pair(name)
    found = theirs.apply_chat_template(as_messages(talk), return_dict=False)
    assert found == list(render(talk, ours).ids)
    asked = Conversation(talk.messages[:-1])
    found = theirs.apply_chat_template(
        as_messages(asked), add_generation_prompt=True, return_dict=False
    )
    assert found == render_prompt(asked, ours)


@FEW
@given(talk=conversations(tools=True))
def test_conversations_of_ours(talk: Conversation) -> None:
    assert_same_conversation("native", talk)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ["native", "qwen3", "back"])
def test_ten_thousand_conversations(name: str) -> None:
    def check(talk: Conversation) -> None:
        assume(name == "native" or not cut_otherwise(talk))
        assert_same_conversation(name, talk)

    assert counted(conversations(tools=name == "native"), check) >= MOST


def cut_otherwise(talk: Conversation) -> bool:
    """text.template says it: after "user\\n", line breaks at the start of a message are cut apart
    here and together there."""
    return any(re.match(r"\s*[\r\n]", message.text) for message in talk.messages)


@pytest.mark.parametrize("name", ["qwen3", "back"])
@FEW
@given(talk=conversations(tools=False))
def test_conversations_in_chatml(name: str, talk: Conversation) -> None:
    assume(not cut_otherwise(talk))
    assert_same_conversation(name, talk)


def test_a_template_whose_words_meet_plain_text_is_not_written() -> None:
    ours, _ = pair("gpt2")
    assert chat_template(ours.template) is None
    assert "chat_template" not in tokenizer_files(ours, 64)["tokenizer_config.json"]
    assert chat_template(pair("qwen3")[0].template) is not None


def test_a_chat_template_changed_after_the_export_is_not_taken_for_ours(tmp_path: Path) -> None:
    ours, _ = pair("native")
    files = tokenizer_files(ours, 64)
    files["tokenizer_config.json"]["chat_template"] += "!"
    for name, value in files.items():
        write_json(tmp_path / name, value)
    found, note = read_tokenizer(tmp_path, "qwen3")
    assert found.template != ours.template
    assert "not ChatML" in note


def test_merges_of_gpt2_are_those_it_was_published_with(real_data: Path) -> None:
    folder = real_data / "tokenizer/gpt2_tokenizer"
    merges = merges_of(load_gpt2(folder).tokens)
    assert merges is not None
    lines = (folder / "vocab.bpe").read_text(encoding="utf-8").split("\n")[1:-1]
    assert [" ".join(both) for both in pair_names(merges)] == lines


def test_tokens_that_are_no_merges() -> None:
    singles = [bytes([value]) for value in range(256)]
    assert merges_of([*singles, b"ab", b"abc"]) == [(b"a", b"b"), (b"ab", b"c")]
    assert merges_of([*singles, b"abc"]) is None
    assert merges_of([*singles, b"ab", b"cd", b"abcde"]) is None
