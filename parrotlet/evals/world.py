"""The abilities of the embedded world, on cases that training never saw, as plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from parrotlet.chat.answer import GenerateSettings
from parrotlet.engine.engine import Engine
from parrotlet.evals.chat import GREEDY, Failure, Result, run_task
from parrotlet.tasks.task import Task
from parrotlet.tasks.world import WORLD_TASKS, general_cases
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.world.entities import World
from parrotlet.world.records import NOT_GENERAL

SHOWN_FAILURES = 3
Show = Callable[[str, int, int], None]


def evaluate_world(
    engine: Engine,
    tokenizer: Tokenizer,
    seed: int,
    cases: int,
    show: Show = lambda *_: None,
    *,
    general: bool = False,
) -> dict[str, dict[str, Any]]:
    """{ability: passed, count, rate, the ends of its 95% interval, cases missed, a few failures}.

    `show` is told which ability comes next, how many are done and how many there are.
    general: only what a model can answer that has not read about the world.
    """
    return evaluate_tasks(engine, tokenizer, world_tasks(seed, cases, general=general), show)


def world_tasks(seed: int, cases: int, *, general: bool = False) -> dict[str, Task]:
    """The abilities, `cases` of each; general: those that need no world, on what names nothing."""
    world = World(seed)
    if general:
        return {
            each: general_cases(world, each, cases)
            for each in WORLD_TASKS
            if each not in NOT_GENERAL
        }
    return {name: make(world, cases) for name, make in WORLD_TASKS.items()}


def evaluate_tasks(
    engine: Engine,
    tokenizer: Tokenizer,
    tasks: Mapping[str, Task],
    show: Show = lambda *_: None,
    *,
    settings: GenerateSettings = GREEDY,
) -> dict[str, dict[str, Any]]:
    """Every task by its name, as evaluate_world has it."""
    results = {}
    for done, (name, task) in enumerate(tasks.items()):
        show(name, done, len(tasks))
        results[name] = _as_json(run_task(engine, tokenizer, task, tools=TOOLS, settings=settings))
    return results


def _as_json(result: Result) -> dict[str, Any]:
    score = result.score
    return {
        "passed": score.passed,
        "count": score.count,
        "rate": score.rate,
        "low": score.low,
        "high": score.high,
        "missed": [each.index for each in result.failures],
        "failures": [_failure(each) for each in result.failures[:SHOWN_FAILURES]],
    }


def _failure(failure: Failure) -> Mapping[str, str | None]:
    *before, asked, _ = failure.example.conversation.messages
    return {
        "before": "\n".join(f"{each.role}: {each.text}" for each in before),
        "asked": asked.text,
        "wanted": failure.example.answer,
        "said": None if failure.reply is None else failure.reply.text,
    }
