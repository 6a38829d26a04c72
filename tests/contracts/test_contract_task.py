"""The seam of a task: every listed one is deterministic, bounded, and right by its own rule."""

from __future__ import annotations

import pytest

from parrotlet.tasks.table import TASKS
from parrotlet.text.chat import Message, validate

SIZE = 40


@pytest.mark.parametrize("name", TASKS)
def test_examples_are_the_same_each_time(name: str) -> None:
    first, second = TASKS[name](0, SIZE), TASKS[name](0, SIZE)
    assert len(first) == SIZE
    for index in range(SIZE):
        assert first[index] == second[index]
    assert len({str(first[index].prompt) for index in range(SIZE)}) > SIZE // 4


@pytest.mark.parametrize("name", TASKS)
def test_a_smaller_task_is_the_beginning_of_a_larger(name: str) -> None:
    small, large = TASKS[name](0, 5), TASKS[name](0, SIZE)
    assert [small[index] for index in range(5)] == [large[index] for index in range(5)]


@pytest.mark.parametrize("name", TASKS)
def test_past_the_end(name: str) -> None:
    task = TASKS[name](0, SIZE)
    for index in (SIZE, -1):
        with pytest.raises(IndexError):
            task[index]


@pytest.mark.parametrize("name", TASKS)
def test_references_are_right_and_silence_is_not(name: str) -> None:
    task = TASKS[name](0, SIZE)
    for index in range(SIZE):
        example = task[index]
        validate(example.conversation)
        reference = example.conversation.messages[-1]
        assert reference.role == "assistant" and example.prompt.messages[-1].role == "user"
        assert task.grade(example, reference) == 1.0
        assert task.grade(example, Message("assistant", ())) == 0.0
        assert 0.0 <= task.grade(example, Message.of("assistant", "Perhaps.")) <= 1.0
