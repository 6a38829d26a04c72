"""A new kind of record in the world, with its own graded task, in one file.

The kind is a request to say words the other way round. It needs three things:

    a split   which word lists belong to training and which to tests, for good
    a maker   that turns a world, a random stream and a side into a Case
    a task    that gives examples of the test side and grades replies

Run it to see a sample, and to write conversations to learn from:

    python examples/turned_round.py --write turned.jsonl
    parrotlet sft runs/demo --data turned.jsonl --minutes 1

That shows whether it can be learned; who learns one thing alone forgets others. To keep them, make
the kind part of the world: list the maker in TALKS of parrotlet/world/records.py and its grade in
RULES of parrotlet/tasks/world_grades.py. `parrotlet world show`, the demo, its report and the tests
that hold both sides apart then know it by its name.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from parrotlet.core.rundir import write_file
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Message
from parrotlet.world.case import Case, turn
from parrotlet.world.chance import Side, listed, side_of, stream
from parrotlet.world.entities import World

WORDS = listed("lamp river stone apple cloud spoon garden window letter bread mouse silver")
REQUESTS = ("Say the other way round: {x}.", "Turn these words round: {x}.", "Now backwards: {x}.")


def turned_round(world: World, rng: random.Random, side: Side) -> Case:
    """One request with two to four words; the list as a whole belongs to one side."""
    while side_of(" ".join(words := rng.sample(WORDS, rng.choice([2, 3, 4])))) != side:
        pass
    answer = ", ".join(reversed(words))
    request = rng.choice(REQUESTS).format(x=", ".join(words))
    return Case(turns=(turn(request, f"{answer}.", answer),))


class TurnedRound:
    """`size` cases from one side; by default the one that training never sees."""

    def __init__(self, seed: int, size: int, *, side: Side = "test") -> None:
        self.world = World(seed)
        self.size = size
        self.side = side

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Example:
        """Case `index`, the same each time; IndexError outside of 0 to size - 1."""
        if not 0 <= index < self.size:
            raise IndexError(f"case {index} of {self.size}")
        rng = stream(self.world.seed, "turned round", self.side, index)
        case = turned_round(self.world, rng, self.side)
        return Example(conversation=case.conversation, answer=case.last.answer)

    def grade(self, example: Example, reply: Message) -> float:
        """1 where the reply is the words in their new order and nothing else."""
        said = " ".join(reply.text.lower().strip(" .").split())
        return float(said == example.answer)


def main() -> None:
    """Show a sample; write conversations to train on where a file is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for message in TurnedRound(arguments.seed, 1)[0].conversation.messages:
        print(f"{message.role}: {message.text}")
    if arguments.write is not None:
        task = TurnedRound(arguments.seed, arguments.count, side="train")
        lines = [
            {"messages": [{"role": each.role, "content": each.text} for each in made.messages]}
            for made in (task[index].conversation for index in range(len(task)))
        ]
        write_file(arguments.write, "".join(json.dumps(each) + "\n" for each in lines).encode())
        print(f"wrote {len(lines)} conversations to {arguments.write}")


if __name__ == "__main__":
    main()
