"""Spelling and letter counting: right by the calculator, graded strictly."""

from __future__ import annotations

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.tasks.spelling import LetterCount, Spelling
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Conversation, Message, ToolCall, ToolResult, validate
from parrotlet.tools.toolbox import TOOLS

WORDS = ("parrot", "strawberry", "zoo", "mississippi", "banana")
SPELLING = Spelling(WORDS, seed=1, size=100)
COUNTING = LetterCount(WORDS, seed=1, size=200)


@pytest.mark.parametrize("task", [SPELLING, COUNTING])
def test_reference_passes_and_an_echo_does_not(task: Spelling | LetterCount) -> None:
    for index in range(len(task)):
        example = task[index]
        validate(example.conversation)
        assert task.grade(example, example.conversation.messages[-1]) == 1.0
        echo = Message.of("assistant", example.prompt.messages[-1].text)
        assert task.grade(example, echo) == 0.0
        assert task[index] == example


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("z o o", 1.0),
        ("Z-O-O.", 1.0),
        ("z, o, o", 1.0),
        ("zoo: z o o", 1.0),
        ("zoo", 0.0),
        ("z oo", 0.0),
        ("z o", 0.0),
        ("z o o o", 0.0),
        ("o z o", 0.0),
        ("z o o z o o", 0.0),
        ("", 0.0),
    ],
)
def test_spelling_grades(said: str, grade: float) -> None:
    conversation = Conversation.of(("user", "Spell the word zoo."), ("assistant", "z o o"))
    example = Example(conversation=conversation, answer="zoo")
    assert SPELLING.grade(example, Message.of("assistant", said)) == grade


def test_counts_are_right_by_the_calculator() -> None:
    answers = set()
    for index in range(len(COUNTING)):
        example = COUNTING[index]
        call, result, _ = example.conversation.messages[-1].parts
        assert isinstance(call, ToolCall) and isinstance(result, ToolResult)
        assert TOOLS[call.name].run(call.arguments) == result.text == example.answer
        assert example.answer == str(example.data["word"].count(example.data["letter"]))
        answers.add(example.answer)
    assert {"0", "1", "2"} < answers


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("2", 1.0),
        ("The letter o is in zoo 2 times.", 1.0),
        ("Twice.", 1.0),
        ("once or twice", 0.0),
        ("2 or 3", 0.0),
        ("3", 0.0),
        ("-2", 0.0),
        ("many", 0.0),
        ("", 0.0),
    ],
)
def test_counting_grades(said: str, grade: float) -> None:
    conversation = Conversation.of(("user", "How many o are in zoo?"), ("assistant", "2"))
    example = Example(conversation=conversation, answer="2")
    assert COUNTING.grade(example, Message.of("assistant", said)) == grade


@pytest.mark.parametrize("task", [SPELLING, COUNTING])
def test_bounds(task: Spelling | LetterCount) -> None:
    for index in (-1, len(task)):
        with pytest.raises(IndexError):
            task[index]


@pytest.mark.parametrize(
    ("words", "size", "reason"),
    [
        (WORDS, 0, "task of 0 cases"),
        ((), 1, "there is no word"),
        (("parrot", "Ara"), 1, "'Ara' cannot be spelled"),
        (("it's",), 1, "cannot be spelled"),
    ],
)
def test_refusals(words: tuple[str, ...], size: int, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Spelling(words, 1, size)
