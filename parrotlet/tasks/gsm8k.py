"""GSM8K: word problems of grade-school mathematics (Cobbe et al. 2021, arXiv 2110.14168).

Read from the JSON lines of OpenAI's grade-school-math repository. A solution says what it does in
words, with calculator annotations, and ends with its answer:

    Natalia sold 48/2 = <<48/2=24>>24 clips in May.
    #### 24

An annotation becomes a call of the calculator and its result. The result is what our calculator
says, so that a model learns from what it will see; the words after it are the author's. An
annotation that our calculator cannot read is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from parrotlet.core.errors import DataError, ToolError
from parrotlet.files.formats import Reader
from parrotlet.tasks.numbers import numbers_in
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Conversation, Message, Part, Text, ToolCall, ToolResult
from parrotlet.tools.calculator import CALCULATOR

MARK = "####"
_ANNOTATION = re.compile(r"<<([^<>=]*)=[^<>]*>>")


class GSM8K:
    """The problems of one file (train.jsonl, or test.jsonl, which is never trained on)."""

    def __init__(self, path: Path) -> None:
        """Raises DataError naming the line that is no problem with a final answer."""
        self._problems = list(_read(path))

    def __len__(self) -> int:
        return len(self._problems)

    def __getitem__(self, index: int) -> Example:
        """Problem `index`; IndexError outside of 0 to len - 1."""
        if not 0 <= index < len(self):
            raise IndexError(f"case {index} of {len(self)}")
        question, solution, answer = self._problems[index]
        reply = Message("assistant", solution_parts(solution))
        return Example(
            conversation=Conversation((Message.of("user", question), reply)), answer=answer
        )

    def grade(self, example: Example, reply: Message) -> float:
        """1 where the reply's only line with #### gives the answer, and no other number."""
        given = final_answer(reply.text)
        return float(given is not None and numbers_in(given) == numbers_in(example.answer or ""))

    def formed(self, reply: Message) -> bool:
        """Whether there is one final answer, right or wrong."""
        return final_answer(reply.text) is not None


def solution_parts(solution: str) -> tuple[Part, ...]:
    """A solution as words, calls and results."""
    parts: list[Part] = []
    pieces = _ANNOTATION.split(solution)  # words, expression, words, expression, ..., words
    for index, piece in enumerate(pieces):
        if index % 2:
            parts += _call(piece)
        elif piece:
            parts.append(Text(piece))
    return tuple(parts)


def _call(expression: str) -> list[Part]:
    """The call and its result; nothing where there is none."""
    try:
        result = CALCULATOR.run(expression)
    except ToolError:
        return []
    return [ToolCall(CALCULATOR.name, expression), ToolResult(result)]


def final_answer(text: str) -> str | None:
    """What follows the one #### on its line, without a currency sign; None unless there is one."""
    if text.count(MARK) != 1:
        return None
    written = text.partition(MARK)[2].partition("\n")[0].strip().removeprefix("$")
    return written if len(numbers_in(written)) == 1 else None


def _read(path: Path) -> Iterator[tuple[str, str, str]]:
    """(question, solution, final answer) of every line."""
    if not path.is_file():
        raise DataError(f"{path} is not a file; name train.jsonl or test.jsonl of GSM8K")
    reader = Reader(path, None, "strict")
    for number, line in enumerate(reader.lines(), start=1):
        if not line.strip():
            continue
        place = f"line {number} of {path}"
        row = reader.parse(line, place)
        question = reader.field(row, "question", place)
        solution = reader.field(row, "answer", place)
        answer = final_answer(solution)
        if answer is None:
            raise DataError(f"{place} has no final answer: {MARK} and a number must end it")
        yield question, solution, answer
