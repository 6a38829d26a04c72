"""Several tasks as one: whose turn it is, what each is asked, and who grades."""

from __future__ import annotations

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.tasks.arithmetic import Arithmetic
from parrotlet.tasks.mixture import Mixture
from parrotlet.tasks.spelling import Spelling
from parrotlet.tasks.table import PRACTICE, REHEARSED, TASKS
from parrotlet.text.chat import Message

SUMS, WORDS = Arithmetic(0, 40), Spelling(("parrot", "river", "stone"), 0, 40)
MIXED = Mixture({"sums": SUMS, "words": WORDS}, ("sums", "words", "sums"), 30)


def test_cases_take_turns_and_none_is_asked_twice() -> None:
    asked = [MIXED[index].prompt for index in range(6)]
    sums, words = [SUMS[index].prompt for index in range(4)], [WORDS[0].prompt, WORDS[1].prompt]
    assert asked == [sums[0], words[0], sums[1], sums[2], words[1], sums[3]]


def test_each_is_graded_by_its_own_task() -> None:
    example, word = MIXED[0], MIXED[1]
    assert MIXED.grade(example, example.conversation.messages[-1]) == 1.0
    assert MIXED.grade(word, word.conversation.messages[-1]) == 1.0
    assert MIXED.grade(word, Message.of("assistant", "42")) == 0.0
    assert MIXED.grade(example, word.conversation.messages[-1]) == 0.0


def test_a_mixture_of_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="0 cases"):
        Mixture({"sums": SUMS}, ("sums",), 0)


def test_what_the_demo_practises_is_of_the_training_side() -> None:
    """Letters most, and nothing of the facts that only documents tell."""
    assert REHEARSED.count("letter_count") * 2 == len(REHEARSED)
    assert "world/fact_documents" not in REHEARSED and set(REHEARSED) <= TASKS.keys()
    practice = PRACTICE["practice"](0, 16)
    for index, name in enumerate(REHEARSED):
        place = REHEARSED[:index].count(name)
        assert practice[index].prompt == PRACTICE[name](0, 16)[place].prompt
