"""Chat evaluation: a model answers the examples of a task, and the task grades the answers.

Examples are answered as many at once as the engine has slots. What was not fully right is kept, so
that a report can show it. Not covered: choosing tasks, and several samples of one example.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from parrotlet.chat.answer import GenerateSettings
from parrotlet.chat.reply import fit, replies
from parrotlet.core.errors import UsageError
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.interval import Score
from parrotlet.tasks.task import Example, Task, graded
from parrotlet.text.chat import Message
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.table import Tool

GREEDY = GenerateSettings(max_tokens=96, sampling=SamplingSettings(temperature=0.0))


@dataclass(frozen=True)
class Failure:
    """An example with a grade below 1; no reply where its prompt does not fit the context."""

    index: int
    example: Example
    reply: Message | None
    grade: float


@dataclass(frozen=True)
class Result:
    """The score of a task, and the examples that cost it points, in their order."""

    score: Score
    failures: tuple[Failure, ...]


def run_task(
    engine: Engine,
    tokenizer: Tokenizer,
    task: Task,
    *,
    tools: Mapping[str, Tool],
    settings: GenerateSettings = GREEDY,
    limit: int | None = None,
    watch: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Result:
    """Grade the model on the first `limit` examples, or on all; UsageError for a limit below 1,
    TrainingError for a grader that fails.

    watch: what the pieces of replies go through, which may end it by an exception.
    An example whose last message leaves no room for an answer in the context is not passed.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"a limit of {limit} examples tests nothing; use 1 or more, or leave it")
    examples = [task[index] for index in range(min(limit or len(task), len(task)))]
    asked = [index for index, each in enumerate(examples) if _fits(engine, tokenizer, each)]
    prompts = [examples[index].prompt for index in asked]
    said = replies(engine, tokenizer, prompts, settings, tools, apart=True, watch=watch)
    answers = dict(zip(asked, said, strict=True))
    found = graded(task, [(examples[index], reply) for index, reply in answers.items()])
    grades = {index: grade for index, (grade, _) in zip(answers, found, strict=True)}
    passed = 0.0
    failures = []
    for index, example in enumerate(examples):
        reply, grade = answers.get(index), grades.get(index, 0.0)
        passed += grade
        if grade < 1:
            failures.append(Failure(index, example, reply, grade))
    return Result(Score(passed, len(examples)), tuple(failures))


def _fits(engine: Engine, tokenizer: Tokenizer, example: Example) -> bool:
    """Whether the example's last message leaves room for an answer."""
    try:
        fit(tokenizer, example.prompt, length=engine.length, max_tokens=1)
    except UsageError:
        return False
    return True
