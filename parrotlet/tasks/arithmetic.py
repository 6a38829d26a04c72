"""Arithmetic: whole-number sums of two or three numbers, worked out with the calculator.

An expression belongs to one side of the split for good, so a test asks for none that was learned
from. The answers are computed here, not by the calculator, which they therefore also test.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

from parrotlet.tasks.numbers import numbers_in
from parrotlet.tasks.task import Example, Numbered
from parrotlet.text.chat import Conversation, Message, Text, ToolCall, ToolResult
from parrotlet.world.chance import Side, side_of, stream

QUESTIONS = ("What is {}?", "How much is {}?", "Calculate {}.", "{} = ?", "Please work out {}.")


class Sum(NamedTuple):
    """An expression and its value."""

    written: str
    value: int


class Arithmetic(Numbered):
    """`size` sums drawn from `seed`; UsageError for a size below 1."""

    def __init__(self, seed: int, size: int, *, side: Side = "test") -> None:
        super().__init__(size)
        self.seed = seed
        self.side = side

    def __getitem__(self, index: int) -> Example:
        """Sum `index`; IndexError outside of 0 to size - 1."""
        self.check(index)
        rng = stream(self.seed, "arithmetic", self.side, index)
        written, value = draw_sum(rng, self.side)
        question = rng.choice(QUESTIONS).format(written)
        parts = (
            ToolCall("calculator", written),
            ToolResult(str(value)),
            Text(f"{written} = {value}"),
        )
        return Example(
            conversation=Conversation((Message.of("user", question), Message("assistant", parts))),
            answer=str(value),
            data={"sum": written},
        )

    def grade(self, example: Example, reply: Message) -> float:
        """1 where the text ends on the answer and holds no number that was not asked about.

        A call of the calculator is neither needed nor enough.
        """
        (answer,) = numbers_in(example.answer or "")
        said = numbers_in(reply.text)
        given = {int(digits) for digits in re.findall(r"\d+", example.data["sum"])}
        right = bool(said) and said[-1] == answer
        return float(right and set(said) <= {*given, answer})


def draw_sum(rng: random.Random, side: Side) -> Sum:
    """A sum of that side whose value is none of its numbers, so that no echo is right."""
    while True:
        made = _draw(rng)
        given = re.findall(r"\d+", made.written)
        if side_of(made.written) == side and str(abs(made.value)) not in given:
            return made


def _draw(rng: random.Random) -> Sum:
    """Any of the shapes; products and quotients have smaller numbers."""
    a, b, c = (rng.randrange(1, 1000) for _ in range(3))
    small, digit = rng.randrange(2, 100), rng.randrange(2, 10)
    return rng.choice(
        (
            Sum(f"{a} + {b}", a + b),
            Sum(f"{a} - {b}", a - b),
            Sum(f"{a} * {small}", a * small),
            Sum(f"{a * small} / {small}", a),
            Sum(f"{a} + {b} - {c}", a + b - c),
            Sum(f"{a} - {b} * {digit}", a - b * digit),
            Sum(f"({a} + {b}) * {digit}", (a + b) * digit),
        )
    )
