"""Records: made again at will, well formed, clean English, and what tools say is what they say."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.data.sources import Document
from parrotlet.text.chat import Conversation, ToolCall, ToolResult, validate
from parrotlet.tools.toolbox import TOOLS
from parrotlet.world.entities import World
from parrotlet.world.records import KINDS, conversations, documents, record
from parrotlet.world.show import samples

WORLD = World(0)


def texts(made: Document | Conversation) -> list[str]:
    if isinstance(made, Document):
        return [made.text]
    return [message.text for message in made.messages]


def without_letters(text: str) -> str:
    """The text without letters that stand apart, with or without numbers, and their full stop."""
    return re.sub(r"\b(?:[a-z]: )?[A-Za-z]\d*(?: [a-z]\d*)+\b\. ?", "", text)


def test_kinds_have_names_of_their_own() -> None:
    assert len(set(KINDS)) == len(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_depends_on_its_number_alone(kind: str) -> None:
    assert record(WORLD, kind, 5) == record(World(0), kind, 5)
    assert len({str(record(WORLD, kind, index)) for index in range(50)}) > 20
    assert str(record(WORLD, kind, 0)) != str(record(World(1), kind, 0))


def test_the_mix_can_be_entered_anywhere() -> None:
    assert list(documents(WORLD, 40))[15:] == list(documents(WORLD, 25, start=15))
    assert list(conversations(WORLD, 40))[15:] == list(conversations(WORLD, 25, start=15))


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UsageError, match=r"'poem'.*profile"):
        record(WORLD, "poem", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_clean_english(kind: str) -> None:
    for index in range(200):
        for text in texts(record(WORLD, kind, index)):
            assert text == text.strip() and text
            assert "  " not in text and "{" not in text and ".." not in text, text
            said = without_letters(text)
            assert not re.search(r"(?<!letter )(?<!every )\b[Aa] [aeiou]", said), text
            assert not re.search(r"\b[Aa]n [^aeiouAEIOU]", text), text
            assert text.isascii()


@pytest.mark.parametrize("kind", KINDS)
def test_sentences_begin_with_a_capital(kind: str) -> None:
    if kind in ("system", "system_pair"):
        pytest.skip("answers of one word begin small")
    for index in range(200):
        made = record(WORLD, kind, index)
        said = texts(made)
        if isinstance(made, Conversation):  # users type as they like
            said = [each.text for each in made.messages if each.role == "assistant"]
        for text in said:
            for start in re.findall(r"(?:^|[.!?] )([A-Za-z])", without_letters(text)):
                assert start.isupper(), text


def test_conversations_are_valid_and_short() -> None:
    lengths = Counter()
    for made in conversations(WORLD, 2_000):
        validate(made)
        lengths[sum(message.role == "user" for message in made.messages)] += 1
    assert max(lengths) <= 8
    assert lengths[1] + lengths[2] > 0.8 * lengths.total()
    assert len(lengths) >= 5


def test_the_calculator_gives_the_results_that_are_written() -> None:
    for index in range(300):
        made = record(WORLD, "calculator", index)
        assert isinstance(made, Conversation)
        call, result, _ = made.messages[-1].parts
        assert isinstance(call, ToolCall) and isinstance(result, ToolResult)
        assert TOOLS[call.name].run(call.arguments) == result.text
        assert result.text in made.messages[-1].text


def test_few_words() -> None:
    """The distinct words that are not invented, which are rare each, stay few."""
    found: Counter[str] = Counter()
    for made in [*documents(WORLD, 5_000), *conversations(WORLD, 10_000)]:
        for text in texts(made):
            found.update(set(re.findall(r"[a-z]+", text.lower())))
    assert sum(count >= 20 for count in found.values()) < 1_500


def test_every_fact_is_written_down() -> None:
    """All facts, the quiet ones too, stand in the documents of a short pretraining."""
    written = "\n".join(made.text for made in documents(WORLD, 15_000))
    for entity in WORLD.entities:
        for relation in entity.facts:
            ways = sum(entity.state(relation, which) in written for which in range(5))
            assert ways >= 3, (entity.name, relation)


def test_samples_are_plain_text() -> None:
    for kind in KINDS:
        shown = samples(WORLD, kind, 2)
        assert len(shown) == 2 and all(isinstance(text, str) for text in shown)
    (shown_sum, *_) = samples(WORLD, "calculator", 1)
    assert re.search(r"assistant: \[calculator: \d+ [-+*] \d+\] \[result: \d+\] ", shown_sum)
    first = next(islice(documents(WORLD, 1), 1))
    assert first.origin.startswith("world 0: ")
