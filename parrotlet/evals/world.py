"""The abilities of the embedded world, on cases that training never saw, as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from parrotlet.engine.engine import Engine
from parrotlet.evals.chat import Failure, Result, run_task
from parrotlet.tasks.world import WORLD_TASKS
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.tools.toolbox import TOOLS
from parrotlet.world.entities import World

SHOWN_FAILURES = 3


def evaluate_world(
    engine: Engine, tokenizer: Tokenizer, seed: int, cases: int
) -> dict[str, dict[str, Any]]:
    """{ability: passed, count, rate, the ends of its 95% interval, a few failures}."""
    world = World(seed)
    return {
        ability: _as_json(run_task(engine, tokenizer, make(world, cases), tools=TOOLS))
        for ability, make in WORLD_TASKS.items()
    }


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
