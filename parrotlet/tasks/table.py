"""The table of tasks: a name, and what makes the task from a seed and a number of cases.

Tasks that read a file (GSM8K) are made from its path, by whoever has the file, and are not listed.
"""

from __future__ import annotations

from collections.abc import Callable

from parrotlet.tasks.arithmetic import Arithmetic
from parrotlet.tasks.spelling import LetterCount, Spelling
from parrotlet.tasks.task import Task
from parrotlet.tasks.world import WORLD_TASKS, WorldTask
from parrotlet.world.entities import World
from parrotlet.world.lexicon import SPELLING

TaskMaker = Callable[[int, int], Task]


def _in_world(ability: str) -> TaskMaker:
    def make(seed: int, size: int) -> WorldTask:
        return WORLD_TASKS[ability](World(seed), size)

    return make


TASKS: dict[str, TaskMaker] = {
    "arithmetic": Arithmetic,
    "spelling": lambda seed, size: Spelling(SPELLING.test, seed, size),
    "letter_count": lambda seed, size: LetterCount(SPELLING.test, seed, size),
    **{f"world/{ability}": _in_world(ability) for ability in WORLD_TASKS},
}
