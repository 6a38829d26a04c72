"""A new task with a reward of your own, in one file, and reinforcement learning on it.

A task has a length, examples by number, and a grade from 0 to 1. This one asks to count down. The
grade is partial: each number at its place earns its share, so that there is something to climb.

    python examples/count_down.py --write down.jsonl       show some grades; write conversations
    parrotlet sft runs/demo --data down.jsonl --steps 30 --matrix-lr 0.002 --name down
    python examples/count_down.py --start runs/down        practise it, from a model that has a way

What is stopped goes on when the same command is given again. To call the task by name, list it in
TASKS and PRACTICE of parrotlet/tasks/table.py: `parrotlet rl runs/demo --task count_down`.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import replace
from pathlib import Path

from parrotlet.core.errors import ParrotletError
from parrotlet.core.rundir import write_file
from parrotlet.recipes import RECIPES
from parrotlet.stages.config import RunConfig
from parrotlet.stages.rl import rl
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Conversation, Message
from parrotlet.train.drive import Progress
from parrotlet.world.chance import Side, stream

ASKS = ("Count down from {n}.", "Please count down from {n}.", "Count from {n} down to 1.")


class CountDown:
    """`size` questions; even numbers are practised, odd ones held out."""

    def __init__(self, seed: int, size: int, *, side: Side = "test") -> None:
        self.seed, self.size, self.side = seed, size, side

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Example:
        """Question `index`, the same each time; IndexError outside of 0 to size - 1."""
        if not 0 <= index < self.size:
            raise IndexError(f"case {index} of {self.size}")
        rng = stream(self.seed, "count down", self.side, index)
        number = rng.choice((2, 4, 6, 8) if self.side == "train" else (3, 5, 7))
        answer = " ".join(str(each) for each in range(number, 0, -1))
        asked = rng.choice(ASKS).format(n=number)
        return Example(
            conversation=Conversation.of(("user", asked), ("assistant", answer)), answer=answer
        )

    def grade(self, example: Example, reply: Message) -> float:
        """The share of numbers that stand where they should; numbers too many cost as much."""
        wanted = (example.answer or "").split()
        said = re.findall(r"\d+", reply.text)
        right = sum(one == other for one, other in zip(wanted, said, strict=False))
        return right / max(len(wanted), len(said))


class Lines:
    """A display that prints what a stage says and how its steps go."""

    def say(self, text: str) -> None:
        print(text)

    def show(self, progress: Progress) -> None:
        print(f"step {progress.step} of {progress.total}", *(progress.evaluation or {}).items())


def main() -> None:
    """Show a question and grades; practise where a model is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=Path)
    parser.add_argument("--write", type=Path, help="40 conversations, to see once how it goes")
    parser.add_argument("--recipe", default="demo")
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    given = parser.parse_args()
    task = CountDown(0, 100)
    print(f"user: {task[0].prompt.messages[-1].text}")
    for text in (task[0].answer or "", "5 4 3", "I do not know."):
        print(f"{task.grade(task[0], Message.of('assistant', text)):.2f} for {text!r}")
    if given.write is not None:
        shown = [CountDown(0, 40, side="train")[index].conversation for index in range(40)]
        talks = [[{"role": m.role, "content": m.text} for m in each.messages] for each in shown]
        write_file(given.write, "".join(f"{json.dumps(each)}\n" for each in talks).encode())
    if given.start is not None:
        run = RunConfig(runs=given.runs, name="count_down")
        config = replace(RECIPES[given.recipe].rl, start=given.start, run=run)
        try:
            rl(config, Lines(), (CountDown(0, 10_000, side="train"), task))
        except ParrotletError as error:
            raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
