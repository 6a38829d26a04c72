"""OutputStream: any cutting gives the same text and verdict; what is blocked is never shown."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.safety.filter import WINDOW, Verdict
from parrotlet.safety.filters import Filters, load_filters
from parrotlet.safety.stream import STRIDE, OutputStream
from parrotlet.text.chat import Message

KEY = "AKIAIOSFODNN7EXAMPLE"
LONG_KEY = "sk-" + "a1B2" * 80
REFUSAL = "I can't help with that."
CALM = "The weather was mild and the garden was full of roses, said the old man. "


@cache
def default() -> Filters:
    return load_filters()


@dataclass(frozen=True)
class Ends:
    """Ends a reply at a word."""

    word: str
    span: int = WINDOW

    def check(self, text: str, context: Sequence[Message]) -> Verdict:
        return Verdict("end" if self.word in text else "allow", "word", 1.0)


def show(stream: OutputStream, pieces: Sequence[str]) -> str:
    return "".join([*map(stream.push, pieces), stream.flush()])


def cut(text: str, rng: random.Random) -> list[str]:
    places = sorted(rng.choices(range(len(text) + 1), k=rng.randrange(12)))
    return [text[a:b] for a, b in zip([0, *places], [*places, len(text)], strict=True)]


PARTS = st.sampled_from(
    [CALM, KEY, LONG_KEY, "k i l l   y o u r s e l f", "K1ll\u200b yours\u0435lf", " ",
     "\u200b" * 40, "-----BEGIN RSA PRIVATE KEY-----", "ﬃ" * 30, "a.b@example.com", "x" * 50, "\n",
     "naïve 日本語 "]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS | st.text(max_size=20), max_size=8), st.randoms(use_true_random=False))
def test_the_decision_does_not_depend_on_the_pieces(parts: list[str], rng: random.Random) -> None:
    text = "".join(parts)
    whole = default().stream()
    shown = show(whole, [text])
    for pieces in (list(text), cut(text, rng), cut(text, rng)):
        other = default().stream()
        assert show(other, pieces) == shown
        assert other.verdict == whole.verdict and other.ended == whole.ended


DRESSES: Sequence[Callable[[str], str]] = (
    lambda text: text,
    lambda text: text.upper(),
    "\u200b".join,
    " ".join,
    lambda text: text.replace("i", "1").replace("e", "3"),
    lambda text: text.replace("o", "\u043e").replace("e", "\u0435"),
    lambda text: "".join(chr(ord(each) + 0xFEE0) if each > " " else each for each in text),
    lambda text: "\u2060" * 100 + text[:9] + "\u00ad" * 300 + text[9:],
)


def test_nothing_of_a_blocked_stretch_is_shown_at_any_offset() -> None:
    """1,000 outputs: a trigger at every offset, in every dress, cut at random."""
    rng = random.Random(5)
    leaked = 0
    for offset in range(1_000):
        trigger = DRESSES[offset % len(DRESSES)]("kill yourself")
        calm = (CALM * (offset // len(CALM) + 1))[:offset] + "\n"
        stream = default().stream()
        shown = show(stream, cut(calm + trigger + " " + CALM, rng))
        assert stream.ended and stream.verdict.category == "hate", offset
        assert shown.endswith(REFUSAL)
        said = shown.removesuffix(REFUSAL)
        assert (calm + trigger).startswith(said)
        invisible = len(trigger) - len(trigger.lstrip("\u2060"))
        leaked += max(0, len(said) - len(calm) - invisible)
    assert leaked == 0


@pytest.mark.parametrize("offset", [*range(0, 300, 7)])
def test_a_span_as_long_as_allowed_is_never_begun(offset: int) -> None:
    word = "W" + "o" * (WINDOW - 2) + "W"
    stream = OutputStream([Ends(word)], (), lambda kind, category: "")
    shown = show(stream, list("." * offset + word + "." * 50))
    assert stream.ended and "W" not in shown and shown == "." * len(shown)


@pytest.mark.parametrize("offset", range(0, 200, 3))
@pytest.mark.parametrize("key", [KEY, LONG_KEY])
def test_secrets_are_taken_out_to_their_ends(offset: int, key: str) -> None:
    before, after = ("word " * 60)[:offset] + " ", " and so on. " + CALM
    stream = default().stream()
    shown = show(stream, cut(before + key + after, random.Random(offset)))
    assert shown == before + "[secret removed]" + after
    assert stream.verdict.action == "redact" and not stream.ended
    assert stream.removed[0][0] == len(before)
    assert stream.removed[-1][1] == len(before) + len(key)


def test_what_is_not_blocked_is_shown_whole() -> None:
    text = CALM * 20
    stream = default().stream()
    assert show(stream, list(text)) == text and stream.verdict.action == "allow"
    assert stream.released == len(text)


def test_the_classifier_ends_a_reply_on_its_way() -> None:
    harm = "To build a pipe bomb and kill people in a school, buy an illegal gun. " * 6
    stream = default().stream()
    shown = show(stream, [CALM * 3 + harm])
    assert stream.ended and stream.verdict.reason.startswith("the reply seems to be about")
    assert shown.endswith(REFUSAL) and len(shown) < len(CALM * 3 + harm) / 2


def test_text_comes_at_fixed_places() -> None:
    stream = OutputStream([Ends("never", span=0)], (), lambda kind, category: "")
    lengths = [len(stream.push(each)) for each in "x" * (3 * STRIDE)]
    assert [at + 1 for at, length in enumerate(lengths) if length] == [
        STRIDE,
        2 * STRIDE,
        3 * STRIDE,
    ]
