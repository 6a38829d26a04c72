"""The table of tasks: a name, and what makes the task from a seed and a number of cases.

TASKS ask what training never saw; PRACTICE asks the same from the training side. Tasks that read a
file (GSM8K) are made from its path, by whoever has the file, and are not listed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from parrotlet.tasks.arithmetic import Arithmetic
from parrotlet.tasks.mixture import Mixture
from parrotlet.tasks.spelling import LetterCount, Spelling
from parrotlet.tasks.task import Task
from parrotlet.tasks.world import WORLD_TASKS, WorldTask
from parrotlet.tasks.world_pairs import Manner
from parrotlet.world.chance import Side
from parrotlet.world.entities import World
from parrotlet.world.lexicon import SPELLING

TaskMaker = Callable[[int, int], Task]


def _in_world(ability: str, side: Side = "test") -> TaskMaker:
    def make(seed: int, size: int) -> WorldTask:
        return WorldTask(World(seed), size, ability=ability, side=side)

    return make


# what the demo practises: letters half of the time, and what practising letters alone would cost
REHEARSED = (
    "letter_count",
    "world/manner",
    "letter_count",
    "world/fact",
    "letter_count",
    "world/system",
    "letter_count",
    "world/identity",
)


def _in_turns(side: Side = "test") -> TaskMaker:
    def make(seed: int, size: int) -> Mixture:
        makers = TASKS if side == "test" else PRACTICE
        return Mixture({name: makers[name](seed, size) for name in set(REHEARSED)}, REHEARSED, size)

    return make


TASKS: Mapping[str, TaskMaker] = {
    "arithmetic": Arithmetic,
    "spelling": lambda seed, size: Spelling(SPELLING.test, seed, size),
    "letter_count": lambda seed, size: LetterCount(SPELLING.test, seed, size),
    **{f"world/{ability}": _in_world(ability) for ability in WORLD_TASKS},
    "world/manner": lambda seed, size: Manner(World(seed), size),
    "practice": _in_turns(),
}
PRACTICE: Mapping[str, TaskMaker] = {
    "arithmetic": lambda seed, size: Arithmetic(seed, size, side="train"),
    "spelling": lambda seed, size: Spelling(SPELLING.train, seed, size),
    "letter_count": lambda seed, size: LetterCount(SPELLING.train, seed, size),
    **{f"world/{ability}": _in_world(ability, "train") for ability in WORLD_TASKS},
    "world/manner": lambda seed, size: Manner(World(seed), size, side="train"),
    "practice": _in_turns("train"),
}
