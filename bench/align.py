"""What stages of alignment gained: models on the same held-out cases of some tasks.

python bench/align.py BEFORE AFTER [MORE ...] [--tasks world/manner world/counting] [--cases 1000]

Each model is compared with the one before it. Replies are greedy, or sampled at --temperature, with
tools; the last line is JSON. The interval of a difference is of pairs: each case is asked of both
models.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path

from parrotlet.chat.answer import GenerateSettings
from parrotlet.core.runtime import make_runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.chat import run_task
from parrotlet.evals.gains import paired_gain
from parrotlet.tasks.table import TASKS
from parrotlet.tools.toolbox import TOOLS
from parrotlet.train.checkpoint import find, load_model, load_tokenizer


def missed(path: Path, name: str, seed: int, cases: int, temperature: float) -> set[int]:
    """The cases of a task that a model does not get fully right."""
    sampling = SamplingSettings(temperature=temperature, seed=seed)
    settings = GenerateSettings(max_tokens=96, sampling=sampling)
    checkpoint = find(path)
    model = load_model(checkpoint, make_runtime("auto", "auto"))
    task = TASKS[name](seed, cases)
    result = run_task(
        Engine(model, slots=64), load_tokenizer(checkpoint), task, tools=TOOLS, settings=settings
    )
    return {each.index for each in result.failures}


def main() -> None:
    """Ask, print a line a task, and the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--tasks", nargs="+", default=["world/manner", "world/counting"])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--temperature", type=float, default=0.0)
    given = parser.parse_args()
    if unknown := sorted(set(given.tasks) - set(TASKS)):
        parser.error(f"--tasks: {', '.join(unknown)}: choose from {', '.join(TASKS)}")
    card = {}
    for name in given.tasks:
        sets = [
            missed(each, name, given.seed, given.cases, given.temperature) for each in given.models
        ]
        rates = [1 - len(each) / given.cases for each in sets]
        gains = [paired_gain(*pair, given.cases) for pair in pairwise(sets)]
        shown = "  ".join(
            f"-> {rate:.1%} ({difference:+.1%} ± {half:.1%})"
            for rate, (difference, half) in zip(rates[1:], gains, strict=True)
        )
        print(f"{name:24} {rates[0]:.1%} {shown}", flush=True)
        card[name] = {"rates": rates, "gains": gains}
    print(json.dumps({"cases": given.cases, "seed": given.seed, "tasks": card}))


if __name__ == "__main__":
    main()
