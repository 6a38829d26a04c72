"""The table of tasks: a name, and what makes the task from a seed and a number of cases."""

from __future__ import annotations

from collections.abc import Callable

from parrotlet.tasks.task import Task
from parrotlet.tasks.world import WORLD_TASKS, WorldTask
from parrotlet.world.entities import World

TaskMaker = Callable[[int, int], Task]


def _in_world(ability: str) -> TaskMaker:
    def make(seed: int, size: int) -> WorldTask:
        return WORLD_TASKS[ability](World(seed), size)

    return make


TASKS: dict[str, TaskMaker] = {
    **{f"world/{ability}": _in_world(ability) for ability in WORLD_TASKS},
}
