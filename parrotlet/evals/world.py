"""The abilities of the embedded world, on cases that training never saw, as plain JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from parrotlet.engine.engine import Engine
from parrotlet.evals.chat import Failure, Result, run_task
from parrotlet.tasks.world import WORLD_TASKS
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.world.entities import World

SHOWN_FAILURES = 3


def evaluate_world(
    engine: Engine,
    tokenizer: Tokenizer,
    seed: int,
    cases: int,
    show: Callable[[str, int, int], None] = lambda ability, done, total: None,
) -> dict[str, dict[str, Any]]:
    """{ability: passed, count, rate, the ends of its 95% interval, a few failures}.

    `show` is told which ability comes next, how many are done and how many there are.
    """
    world = World(seed)
    results = {}
    for done, (ability, make) in enumerate(WORLD_TASKS.items()):
        show(ability, done, len(WORLD_TASKS))
        result = run_task(engine, tokenizer, make(world, cases), tools=TOOLS)
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
