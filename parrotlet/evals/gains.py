"""What each stage gained: the same held-out questions after every stage, case by case.

A question that both of two models were asked is a pair, so that the interval of a difference is
much narrower than those of the two rates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

from parrotlet.evals.interval import Z
from parrotlet.evals.world import world_tasks
from parrotlet.tasks.table import TASKS
from parrotlet.tasks.task import Task

SHARE = 20  # of an ability, one in so many cases: together they are a measure of all of them
# questions for which a stage is there, one group each; the abilities are a group too
SPECIAL = {"right and brief": "world/manner", "letters of unseen words": "letter_count"}
ABILITIES = "all abilities"

Results = Mapping[str, Mapping[str, Any]]  # of evaluate_tasks


@dataclass(frozen=True)
class Gain:
    """A rate, and how far it is from the one before, with half of the 95% interval of that."""

    rate: float
    difference: float
    half: float


def gain_tasks(seed: int, cases: int, *, general: bool, special: bool) -> dict[str, Task]:
    """A few cases of every ability and, if asked for, `cases` of each that is special."""
    tasks = world_tasks(seed, max(1, cases // SHARE), general=general)
    if not special:
        return tasks
    return tasks | {name: TASKS[task](seed, cases) for name, task in SPECIAL.items()}


def paired_gain(missed_before: Set[Any], missed: Set[Any], count: int) -> tuple[float, float]:
    """The difference of two rates on the same `count` cases, and half of its 95% interval.

    Wald's interval of paired proportions: only cases that changed count.
    """
    won, lost = len(missed_before - missed) / count, len(missed - missed_before) / count
    return won - lost, Z * math.sqrt(max(won + lost - (won - lost) ** 2, 0.0) / count)


def gains(after: Mapping[str, Results]) -> dict[str, dict[str, Gain]]:
    """{group of questions: {stage: its Gain}}; `after` has the results of each stage, in order."""
    table: dict[str, dict[str, Gain]] = {}
    for group in (ABILITIES, *SPECIAL):
        before: Set[Any] | None = None
        for stage, results in after.items():
            names = [each for each in results if (each in SPECIAL) == (group in SPECIAL)]
            if group in SPECIAL:
                names = [each for each in names if each == group]
            count = sum(results[each]["count"] for each in names)
            if not count:
                continue
            missed = {(each, index) for each in names for index in results[each]["missed"]}
            difference, half = paired_gain(missed if before is None else before, missed, count)
            table.setdefault(group, {})[stage] = Gain(1 - len(missed) / count, difference, half)
            before = missed
    return table
