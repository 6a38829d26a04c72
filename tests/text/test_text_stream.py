"""Streamed text: whole characters only, as early as they are certain, equal to decode."""

from __future__ import annotations

import pytest

from parrotlet.text.stream import TextStream
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train_bpe([], 256 + 9)  # a byte is a token


def pieces(data: bytes, stream: TextStream) -> list[str]:
    return [*(stream.push(value) for value in data), stream.flush()]


def test_characters_appear_when_they_are_whole(tokenizer: Tokenizer) -> None:
    said = pieces("a€🙂".encode(), TextStream(tokenizer))
    assert said == ["a", "", "", "€", "", "", "", "🙂", ""]


def test_broken_bytes_are_replaced_when_they_are_known_to_be(tokenizer: Tokenizer) -> None:
    assert pieces(b"\xe2\x82a", TextStream(tokenizer)) == ["", "", "\ufffda", ""]
    assert pieces(b"\xf0\x9f\x99", TextStream(tokenizer)) == ["", "", "", "\ufffd"]
    assert pieces(b"\xffb", TextStream(tokenizer)) == ["\ufffd", "b", ""]


def test_the_leading_space_of_a_reply_is_taken_off(tokenizer: Tokenizer) -> None:
    assert pieces(b"  hi", TextStream(tokenizer, after=tokenizer.bos_id)) == ["", " ", "h", "i", ""]
    assert pieces(b"hi", TextStream(tokenizer, after=tokenizer.bos_id)) == ["h", "i", ""]
    assert pieces(b" hi", TextStream(tokenizer, after=ord("a"))) == [" ", "h", "i", ""]
    assert pieces(b" hi", TextStream(tokenizer)) == [" ", "h", "i", ""]


def test_a_character_cannot_reach_across_a_control_token(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    ids = [0xE2, 0x82, tokenizer.special("<|call|>"), 0x20, 0xAC, 0x41]
    assert [stream.push(token) for token in ids] == ["", "", "\ufffd", "", "\ufffd", "A"]


def test_a_stream_goes_on_after_a_flush(tokenizer: Tokenizer) -> None:
    stream = TextStream(tokenizer)
    assert stream.push(0xF0) + stream.flush() == "\ufffd"
    assert stream.push(0x41) + stream.flush() == "A"
