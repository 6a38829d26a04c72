"""What a stage of alignment gained: two models on the same held-out cases of some tasks.

python bench/align.py BEFORE AFTER [--tasks world/manner world/counting] [--cases 1000] [--seed 0]

Replies are greedy, with tools; the last line is JSON. The interval of a difference is of pairs:
each case is asked of both models.
"""

from __future__ import annotations

import argparse
import json
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

SETTINGS = GenerateSettings(max_tokens=96, sampling=SamplingSettings(temperature=0.0))


def missed(path: Path, name: str, seed: int, cases: int) -> set[int]:
    """The cases of a task that a model does not get fully right."""
    checkpoint = find(path)
    model = load_model(checkpoint, make_runtime("auto", "auto"))
    task = TASKS[name](seed, cases)
    result = run_task(
        Engine(model, slots=64), load_tokenizer(checkpoint), task, tools=TOOLS, settings=SETTINGS
    )
    return {each.index for each in result.failures}


def main() -> None:
    """Ask, print a line a task, and the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--tasks", nargs="+", default=["world/manner", "world/counting"])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    card = {}
    for name in given.tasks:
        sets = [missed(each, name, given.seed, given.cases) for each in (given.before, given.after)]
        rates = [1 - len(each) / given.cases for each in sets]
        difference, half = paired_gain(*sets, given.cases)
        shown = f"{rates[0]:.1%} -> {rates[1]:.1%}  {difference:+.1%} ± {half:.1%}"
        print(f"{name:24} {shown}", flush=True)
        card[name] = {"before": rates[0], "after": rates[1], "gain": difference, "half": half}
    print(json.dumps({"cases": given.cases, "seed": given.seed, "tasks": card}))


if __name__ == "__main__":
    main()
