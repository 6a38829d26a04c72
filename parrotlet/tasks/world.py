"""The world's tasks: one an ability, from the test side, as many cases as asked for.

Case i of an ability is the same whatever the size of the task. Nothing here is seen in training:
the records of parrotlet.world.records and these cases are apart by words, numbers and phrasings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice

from parrotlet.core.errors import UsageError
from parrotlet.tasks.task import Example, Numbered
from parrotlet.tasks.world_grades import RULES
from parrotlet.text.chat import Message, ToolCall
from parrotlet.world.chance import Side
from parrotlet.world.entities import World
from parrotlet.world.records import NOT_GENERAL, case, is_general, names_of

NEED_A_TOOL = ("calculator", "sum_tale")  # every other reply that calls one is wrong
SCANNED = 100  # cases looked at for each one that is kept, at most


class WorldTask(Numbered):
    """One ability of the world. UsageError for an ability there is not, or a size below one.

    `side` "train" gives the same ability from the training side, for reinforcement learning.
    """

    def __init__(self, world: World, size: int, *, ability: str, side: Side = "test") -> None:
        if ability not in RULES:
            raise UsageError(f"the world tests no {ability!r}; choose from {', '.join(RULES)}")
        super().__init__(size)
        self.world = world
        self.ability = ability
        self.side = side

    def __getitem__(self, index: int) -> Example:
        """Case `index`; IndexError outside of 0 to size - 1."""
        self.check(index)
        made = case(self.world, self.ability, index, self.side)
        return Example(
            conversation=made.conversation,
            answer=made.last.answer or None,
            data={"others": tuple(sorted(made.last.others)), **made.last.data},
        )

    def grade(self, example: Example, reply: Message) -> float:
        """1 where the reply is right by the ability's rule, else 0; an echo is never right."""
        said = reply.text.strip()
        echoed = said == example.conversation.messages[-2].text.strip()
        called = any(isinstance(part, ToolCall) for part in reply.parts)
        stray = called and self.ability not in NEED_A_TOOL
        if not said or echoed or stray:
            return 0.0
        return float(RULES[self.ability](self.world, example, reply))


class SomeCases:
    """Cases of a task, by their places in it."""

    def __init__(self, task: WorldTask, places: Sequence[int]) -> None:
        self.task = task
        self.places = places

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Example:
        """Case `index` of those chosen; IndexError past the end."""
        return self.task[self.places[index]]

    def grade(self, example: Example, reply: Message) -> float:
        """As the task does."""
        return self.task.grade(example, reply)


def general_cases(world: World, ability: str, size: int) -> SomeCases:
    """The first `size` cases whose replies name nobody and nothing of the world.

    UsageError for an ability that always does.
    """
    if ability in NOT_GENERAL:
        raise UsageError(f"every case of {ability!r} is about the world")
    names = names_of(world)
    task = WorldTask(world, SCANNED * size, ability=ability)
    found = (place for place in range(len(task)) if is_general(names, task[place].conversation))
    return SomeCases(task, list(islice(found, size)))


WORLD_TASKS: dict[str, Callable[[World, int], WorldTask]] = {
    ability: partial(WorldTask, ability=ability) for ability in RULES
}
