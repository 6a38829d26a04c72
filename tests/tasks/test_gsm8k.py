"""GSM8K: annotations become calls, answers are graded strictly; on the real files where at hand."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path

import pytest

from parrotlet.core.errors import DataError
from parrotlet.tasks.gsm8k import GSM8K, final_answer, solution_parts
from parrotlet.tasks.numbers import numbers_in
from parrotlet.text.chat import Message, Text, ToolCall, ToolResult, validate
from parrotlet.tools.toolbox import TOOLS

SOLUTION = "He sold 48/2 = <<48/2=24>>24 clips.\nThat is $<<24*.33=7.92>>7.92.\n#### 1,007.92"


def problems(path: Path, *rows: object) -> GSM8K:
    file = path / "rows.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return GSM8K(file)


def test_annotations_become_calls_and_results() -> None:
    assert solution_parts(SOLUTION) == (
        Text("He sold 48/2 = "),
        ToolCall("calculator", "48/2"),
        ToolResult("24"),
        Text("24 clips.\nThat is $"),
        ToolCall("calculator", "24*.33"),
        ToolResult("7.92"),
        Text("7.92.\n#### 1,007.92"),
    )


def test_result_is_what_the_calculator_says() -> None:
    assert solution_parts("<<1/3=.33>>.33")[1] == ToolResult("0.333333")
    assert solution_parts("a <<one+2=3>>3") == (Text("a "), Text("3"))


def test_example_and_grade(tmp_path: Path) -> None:
    task = problems(tmp_path, {"question": "How much?", "answer": SOLUTION})
    assert len(task) == 1
    example = task[0]
    validate(example.conversation)
    assert example.prompt.messages == (Message.of("user", "How much?"),)
    assert example.answer == "1,007.92"
    assert task.grade(example, example.conversation.messages[-1]) == 1.0


@pytest.mark.parametrize(
    ("said", "grade"),
    [
        ("So it is 72.\n#### 72", 1.0),
        ("#### $72", 1.0),
        ("#### 72.00", 1.0),
        ("#### 72 apples", 1.0),
        ("72", 0.0),
        ("#### 73", 0.0),
        ("#### -72", 0.0),
        ("#### 72 or 73", 0.0),
        ("#### 71\n#### 72", 0.0),
        ("#### 72\n#### 72", 0.0),
        ("#### \n72", 0.0),
        ("#### seventy-two", 0.0),
        ("", 0.0),
    ],
)
def test_grades(tmp_path: Path, said: str, grade: float) -> None:
    task = problems(tmp_path, {"question": "How many?", "answer": "Work.\n#### 72"})
    assert task.grade(task[0], Message.of("assistant", said)) == grade


def test_answer_said_to_the_tool_only_does_not_count(tmp_path: Path) -> None:
    task = problems(tmp_path, {"question": "How many?", "answer": "Work.\n#### 72"})
    parts = (ToolCall("calculator", "72"), ToolResult("#### 72"), Text("Done."))
    assert task.grade(task[0], Message("assistant", parts)) == 0.0


def test_bad_files_are_named_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.jsonl is not a file"):
        GSM8K(tmp_path / "absent.jsonl")
    good = {"question": "?", "answer": "#### 1"}
    with pytest.raises(DataError, match=r"line 2 of .* has no final answer"):
        problems(tmp_path, good, {"question": "?", "answer": "It is 1."})
    with pytest.raises(DataError, match=r"line 2 of .* has no 'answer'"):
        problems(tmp_path, good, {"question": "?"})
    file = tmp_path / "torn.jsonl"
    file.write_text(json.dumps(good) + "\n" + '{"question": "?"')
    with pytest.raises(DataError, match=r"line 2 of .* is not JSON"):
        GSM8K(file)


def test_index_past_the_end(tmp_path: Path) -> None:
    task = problems(tmp_path, {"question": "?", "answer": "#### 1"})
    for index in (-1, 1):
        with pytest.raises(IndexError):
            task[index]


@pytest.mark.parametrize(("name", "count"), [("train", 7_473), ("test", 1_319)])
def test_real_problems(real_data: Path, name: str, count: int) -> None:
    """Every annotation is read and agrees, to its own digits, with what its author wrote."""
    path = real_data / "sft" / "gsm8k" / f"{name}.jsonl"
    task = GSM8K(path)
    assert len(task) == count
    lines = path.read_text(encoding="utf-8").splitlines()
    for index, line in enumerate(lines):
        example, solution = task[index], json.loads(line)["answer"]
        reference = example.conversation.messages[-1]
        assert task.grade(example, reference) == 1.0
        assert final_answer(solution) == example.answer
        assert reference.text == re.sub("<<.*?>>", "", solution)
        results = [part.text for part in reference.parts if isinstance(part, ToolResult)]
        written = re.findall("<<.*?=(.*?)>>", solution)
        for ours, theirs in zip(results, written, strict=True):
            places = len(theirs.partition(".")[2])
            assert abs(Fraction(ours) - Fraction(theirs)) <= Fraction(1, 10**places), line


def test_tool_is_in_the_table() -> None:
    (call,) = [part for part in solution_parts("<<1+1=2>>2") if isinstance(part, ToolCall)]
    assert TOOLS[call.name].run(call.arguments) == "2"
    assert numbers_in("#### 2") == [2]
