"""A chat model on a task: its replies, graded, with the failures kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parrotlet.chat.generate import GenerateSettings
from parrotlet.chat.reply import replies
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.interval import Score
from parrotlet.tasks.task import Example, Task
from parrotlet.text.chat import Message
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.table import Tool

GREEDY = GenerateSettings(max_tokens=96, sampling=SamplingSettings(temperature=0.0))


@dataclass(frozen=True)
class Result:
    """The score of a task, and every case that was not wholly right with what was said."""

    score: Score
    failures: tuple[tuple[Example, Message], ...]


def run_task(
    engine: Engine,
    tokenizer: Tokenizer,
    task: Task,
    *,
    tools: Mapping[str, Tool],
    settings: GenerateSettings = GREEDY,
) -> Result:
    """Ask every example of the task, all in one running batch, and grade the replies."""
    examples = [task[index] for index in range(len(task))]
    prompts = [example.prompt for example in examples]
    said = replies(engine, tokenizer, prompts, settings, tools)
    grades = [task.grade(example, reply) for example, reply in zip(examples, said, strict=True)]
    failures = [
        (example, reply)
        for example, reply, grade in zip(examples, said, grades, strict=True)
        if grade < 1.0
    ]
    return Result(Score(sum(grades), len(examples)), tuple(failures))
