"""Task: gradable examples, and the guard around their graders.

One class serves fine-tuning, evaluation and RL.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any, Protocol, runtime_checkable

from parrotlet.core.errors import TrainingError, UsageError
from parrotlet.text.chat import Conversation, Message

GRADING_SECONDS = 60.0  # for one reply; a grader that takes longer hangs


@dataclass(frozen=True, kw_only=True)
class Example:
    """A conversation whose last message is the reference answer, and what a grader needs."""

    conversation: Conversation
    choices: Sequence[str] | None = None
    answer: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    @property
    def prompt(self) -> Conversation:
        """The conversation without the reference answer."""
        return Conversation(self.conversation.messages[:-1])


class Task(Protocol):
    """A fixed sequence of examples and the rule by which a reply is judged."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Example:
        """Example `index`, the same each time; IndexError past the end."""
        ...

    def grade(self, example: Example, reply: Message) -> float:
        """From 0 (wrong) to 1 (right); a reply may hold tool calls."""
        ...


@runtime_checkable
class Formed(Protocol):
    """A task that wants replies of a certain form."""

    def formed(self, reply: Message) -> bool:
        """Whether the reply has it, right or wrong."""
        ...


def graded(
    task: Task, answered: Sequence[tuple[Example, Message]], seconds: float = GRADING_SECONDS
) -> list[tuple[float, bool]]:
    """Of each reply its grade, and whether it has the form that its task wants (without a wish:
    any words). TrainingError for a grader that fails, hangs or grades oddly.
    """
    found: list[tuple[Any, bool]] = []  # a grade may be anything yet
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for example, reply in answered:
                form = task.formed(reply) if isinstance(task, Formed) else reply.text
                found.append((task.grade(example, reply), bool(form)))
        except BaseException as error:  # whatever a grader of somebody's does, sys.exit() too
            failures.append(error)

    name = type(task).__name__
    worker = threading.Thread(target=work, name="grader", daemon=True)
    worker.start()
    while worker.is_alive():
        done = len(found)
        worker.join(seconds)
        if worker.is_alive() and len(found) == done:
            raise TrainingError(
                f"the grader of {name} took more than {seconds:g} s for one reply; make it quicker"
            )
    if failures:
        raise TrainingError(
            f"the grader of {name} failed: {failures[0]!r}; it must grade any reply, from 0 to 1"
        ) from failures[0]
    for (grade, _), (_, reply) in zip(found, answered, strict=True):
        if not (isinstance(grade, Real) and 0 <= float(grade) <= 1):
            raise TrainingError(
                f"the grader of {name} gave {grade!r} for {reply.text[:60]!r}; grades are numbers "
                "from 0 to 1"
            )
    return found


class Numbered:
    """The bounds of a task that makes as many cases as it is asked for."""

    def __init__(self, size: int) -> None:
        """UsageError for a size below 1."""
        if size < 1:
            raise UsageError(f"a task of {size} cases tests nothing; ask for at least 1")
        self.size = size

    def __len__(self) -> int:
        return self.size

    def check(self, index: int) -> None:
        """IndexError outside of 0 to size - 1."""
        if not 0 <= index < self.size:
            raise IndexError(f"case {index} of {self.size}")
