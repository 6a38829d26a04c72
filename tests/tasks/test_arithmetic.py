"""Sums: right by the calculator, apart by side, and graded strictly."""

from __future__ import annotations

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.tasks.arithmetic import Arithmetic
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Conversation, Message, ToolCall, ToolResult, validate
from parrotlet.tools.toolbox import TOOLS

TASK = Arithmetic(1, 400)
ASKED = Example(
    conversation=Conversation.of(("user", "What is 12 - 30?"), ("assistant", "-18")),
    answer="-18",
    data={"sum": "12 - 30"},
)


def test_examples_are_right_by_the_calculator() -> None:
    for index in range(len(TASK)):
        example = TASK[index]
        call, result, text = example.conversation.messages[-1].parts
        assert isinstance(call, ToolCall) and isinstance(result, ToolResult)
        assert TOOLS[call.name].run(call.arguments) == result.text == example.answer
        assert call.arguments in example.prompt.messages[-1].text
        assert text == type(text)(f"{call.arguments} = {example.answer}")
        validate(example.conversation)


def test_reference_passes_and_an_echo_does_not() -> None:
    for index in range(len(TASK)):
        example = TASK[index]
        assert TASK.grade(example, example.conversation.messages[-1]) == 1.0
        echo = Message.of("assistant", example.prompt.messages[-1].text)
        assert TASK.grade(example, echo) == 0.0


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("-18", 1.0),
        ("12 - 30 is -18.", 1.0),
        ("−18", 1.0),
        ("-18.0", 1.0),
        ("18", 0.0),
        ("-17", 0.0),
        ("It is -18 or -17.", 0.0),
        ("-17, no, -18", 0.0),
        ("-18 is what 12 - 30 is", 0.0),
        ("", 0.0),
        ("minus eighteen", 0.0),
    ],
)
def test_grades(said: str, grade: float) -> None:
    assert TASK.grade(ASKED, Message.of("assistant", said)) == grade


def test_call_alone_is_no_answer() -> None:
    parts = (ToolCall("calculator", "12 - 30"), ToolResult("-18"))
    assert TASK.grade(ASKED, Message("assistant", parts)) == 0.0


def test_sides_share_no_sum_and_examples_do_not_depend_on_the_size() -> None:
    test = {TASK[index].data["sum"] for index in range(len(TASK))}
    other = Arithmetic(1, 400, side="train")
    assert not test & {other[index].data["sum"] for index in range(len(other))}
    assert len(test) > 390
    assert Arithmetic(1, 3)[2] == TASK[2] != Arithmetic(2, 3)[2]


def test_bounds() -> None:
    for index in (-1, len(TASK)):
        with pytest.raises(IndexError):
            TASK[index]
    with pytest.raises(UsageError, match="task of 0 cases"):
        Arithmetic(1, 0)
