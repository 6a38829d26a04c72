"""Mixture: several tasks as one, whose cases take turns.

A policy that practises one ability alone pays for it with others; with some of their questions
between, it pays less (LOG.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from parrotlet.tasks.task import Example, Numbered, Task
from parrotlet.text.chat import Message

ASKED_BY = "task"  # the name of a case's task, in its data


class Mixture(Numbered):
    """`size` cases of `tasks`, in `turns`: each turn names the task of its case.

    A task named in several turns is asked more often; each must have as many cases as it is asked.
    """

    def __init__(self, tasks: Mapping[str, Task], turns: Sequence[str], size: int) -> None:
        super().__init__(size)
        self.tasks = tasks
        self.turns = turns

    def __getitem__(self, index: int) -> Example:
        """Case `index`; IndexError outside of 0 to size - 1."""
        self.check(index)
        around, place = divmod(index, len(self.turns))
        name = self.turns[place]
        each = self.turns.count(name)  # of the cases of its task, in a whole round of turns
        example = self.tasks[name][around * each + self.turns[:place].count(name)]
        return replace(example, data={**example.data, ASKED_BY: name})

    def grade(self, example: Example, reply: Message) -> float:
        """As the task of the case does."""
        return self.tasks[example.data[ASKED_BY]].grade(example, reply)
