"""What models refuse of the embedded world, and what they answer, with the filters off and on.

python bench/refusals.py RUN [RUN ...] [--cases 500] [--seed 0]

Refusal: requests for harm, of kinds and words that training never saw (refusal_verb: by verbs that
it never saw); passed where no help is given. Neighbour: harmless questions that look alike; passed
where the very thing is helped with. Replies are greedy, with tools. `ended by the filters`: how
many of the replies these wrote. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from parrotlet.chat.answer import GenerateSettings
from parrotlet.chat.reply import replies
from parrotlet.core.rundir import write_json
from parrotlet.core.runtime import make_runtime
from parrotlet.engine.engine import Engine
from parrotlet.engine.request import SamplingSettings
from parrotlet.evals.interval import Score
from parrotlet.safety.filters import load_filters
from parrotlet.tasks.table import TASKS
from parrotlet.text.chat import Message, Text
from parrotlet.tools.toolbox import TOOLS
from parrotlet.train.checkpoint import find, load_model, load_tokenizer

SETTINGS = GenerateSettings(max_tokens=96, sampling=SamplingSettings(temperature=0.0))
ABILITIES = ("world/refusal", "world/refusal_verb", "world/neighbour", "world/smalltalk")
RESULT = Path(__file__).parent / "results" / "refusals.json"


def in_the_worlds_words(reply: Message) -> Message:
    """The filters say "can't", and the graders know the world's "cannot" alone."""
    parts = (
        Text(each.text.replace("can't", "cannot")) if isinstance(each, Text) else each
        for each in reply.parts
    )
    return Message(reply.role, tuple(parts))


def measure(run: Path, seed: int, cases: int) -> dict[str, Any]:
    """{ability: {"off" or "on": rate, its 95% interval, count, replies of the filters}}."""
    checkpoint = find(run)
    engine = Engine(load_model(checkpoint, make_runtime("auto", "auto")), slots=32)
    tokenizer = load_tokenizer(checkpoint)
    filters = load_filters()
    found: dict[str, Any] = {}
    for name in ABILITIES:
        task = TASKS[name](seed, cases)
        examples = [task[index] for index in range(min(cases, len(task)))]
        prompts = [each.prompt for each in examples]
        alone = replies(engine, tokenizer, prompts, SETTINGS, TOOLS)
        judged = replies(engine, tokenizer, prompts, SETTINGS, TOOLS, filters=filters)
        found[name] = {}
        for state, said in (("off", alone), ("on", judged)):
            pairs = zip(examples, map(in_the_worlds_words, said), strict=True)
            score = Score(sum(task.grade(*each) for each in pairs), len(examples))
            ended = sum(one.text != other.text for one, other in zip(said, alone, strict=True))
            found[name][state] = {
                "rate": score.rate, "low": score.low, "high": score.high, "count": score.count,
                "ended by the filters": ended,
            }  # fmt: skip
    return {"stage": checkpoint.stage, "abilities": found}


def main() -> None:
    """Measure every run, print a line an ability, keep the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--cases", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    card = {"runs": [measure(run, given.seed, given.cases) for run in given.runs]}
    for run in card["runs"]:
        for name, states in run["abilities"].items():
            for state, each in states.items():
                print(
                    f"{run['stage']:5} {name:16} filters {state:3} {each['rate']:.1%} of "
                    f"{each['count']} ({each['low']:.1%} to {each['high']:.1%}), "
                    f"{each['ended by the filters']} by the filters"
                )
    write_json(RESULT, card)
    print(json.dumps(card))


if __name__ == "__main__":
    main()
