"""The abilities of the embedded world, on cases that training never saw, as plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from parrotlet.engine.engine import Engine
from parrotlet.evals.chat import Failure, Result, run_task
from parrotlet.tasks.task import Task
from parrotlet.tasks.world import WORLD_TASKS, general_cases
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.world.entities import World
from parrotlet.world.records import NOT_GENERAL

SHOWN_FAILURES = 3


def evaluate_world(
    engine: Engine,
    tokenizer: Tokenizer,
    seed: int,
    cases: int,
    show: Callable[[str, int, int], None] = lambda ability, done, total: None,
    *,
    general: bool = False,
) -> dict[str, dict[str, Any]]:
    """{ability: passed, count, rate, the ends of its 95% interval, a few failures}.

    `show` is told which ability comes next, how many are done and how many there are.
    general: only what a model can answer that has not read about the world.
    """
    world = World(seed)
    results = {}
    abilities = [each for each in WORLD_TASKS if not general or each not in NOT_GENERAL]
    for done, ability in enumerate(abilities):
        show(ability, done, len(abilities))
        task: Task = WORLD_TASKS[ability](world, cases)
        if general:
            task = general_cases(world, ability, cases)
        result = run_task(engine, tokenizer, task, tools=TOOLS)
        results[ability] = _as_json(result)
    return results


def _as_json(result: Result) -> dict[str, Any]:
    score = result.score
    return {
        "passed": score.passed,
        "count": score.count,
        "rate": score.rate,
        "low": score.low,
        "high": score.high,
        "failures": [_failure(each) for each in result.failures[:SHOWN_FAILURES]],
    }


def _failure(failure: Failure) -> Mapping[str, str | None]:
    return {
        "asked": failure.example.conversation.messages[-2].text,
        "wanted": failure.example.answer,
        "said": None if failure.reply is None else failure.reply.text,
    }
