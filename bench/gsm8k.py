"""GSM8K with a small model: the whole loop by its commands, and what practice did to the replies.

python bench/gsm8k.py DATA RUNS [--rounds 30] [--threads 1]

DATA: the folder of train.jsonl and test.jsonl. A model of less than a million parameters reads the
training problems, is fine-tuned on their solutions (annotations as calls of the calculator), and
practises them; the reward of a right answer is 1, of one in the right form 0.5. No mathematics is
claimed of such a model: what should rise is the share of replies in the right form. The last line
is JSON: means over the first and the last fifth of the rounds.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, read_json, write_file
from parrotlet.evals.interval import wilson
from parrotlet.tasks.gsm8k import GSM8K
from parrotlet.tasks.task import Example
from parrotlet.text.chat import Part, Text, ToolCall

SHAPE = ["--vocab-size", "1024", "--depth", "3", "--width", "96", "--heads", "3"]
SHOWN = ("reward", "grade", "format_rate", "ended", "reply_tokens", "entropy")


def record(example: Example) -> dict[str, Any]:
    """A problem and its solution as people's files have them."""
    asked, reply = example.conversation.messages
    said = [{"role": "user", "content": asked.text}]
    return {"messages": said + [_said(part) for part in reply.parts]}


def _said(part: Part) -> dict[str, str]:
    if isinstance(part, Text):
        return {"role": "assistant", "content": part.text}
    if isinstance(part, ToolCall):
        call = {"name": part.name, "arguments": part.arguments}
        return {"role": "tool_call", "content": json.dumps(call)}
    return {"role": "tool", "content": part.text}


def run(verb: str, *arguments: object, runs: Path, threads: int) -> None:
    """One command of parrotlet."""
    told = [verb, *map(str, arguments), "--runs", str(runs), "--threads", str(threads)]
    subprocess.run([sys.executable, "-m", "parrotlet", *told], check=True)


def main() -> None:
    """Read, fine-tune, practise; print the card."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    task = GSM8K(given.data / "train.jsonl")
    examples = [task[index] for index in range(len(task))]
    talks, texts = given.runs / "talks.jsonl", given.runs / "texts.jsonl"
    write_file(talks, "".join(json.dumps(record(each)) + "\n" for each in examples).encode())
    plain = [{"text": "\n".join(m.text for m in e.conversation.messages)} for e in examples]
    write_file(texts, "".join(json.dumps(each) + "\n" for each in plain).encode())
    told: dict[str, Any] = {"runs": given.runs, "threads": given.threads}
    base, tuned, practised = (given.runs / name for name in ("base", "sft", "rl"))
    budget = ["--batch-tokens", 4096, "--evaluate-every", 1000]
    if not (base / METRICS).exists():
        run("pretrain", "--data", texts, "--name", "base", *SHAPE, "--context", 384,
            "--steps", 250, *budget, **told)  # fmt: skip
    if not (tuned / METRICS).exists():
        run("sft", base, "--data", talks, "--name", "sft", "--steps", 350, *budget, **told)
    run("rl", tuned, "--task", "gsm8k", "--task-data", given.data, "--name", "rl",
        "--format-reward", 0.5, "--questions", 6, "--samples", 8, "--max-tokens", 160,
        "--steps", given.rounds, "--held-out", 100, "--evaluate-every", 1000, **told)  # fmt: skip
    rounds = [each for each in JsonLines(practised / METRICS) if "reward" in each]
    fifth = max(1, len(rounds) // 5)
    card: dict[str, Any] = {
        "rounds": len(rounds),
        "before": read_json(practised / RECIPE)["before"],
    }
    for name, part in (("first", rounds[:fifth]), ("last", rounds[-fifth:])):
        card[name] = {each: sum(one[each] for one in part) / len(part) for each in SHOWN}
        replies = 48 * len(part)
        card[name]["format_interval"] = wilson(card[name]["format_rate"] * replies, replies)
    card["after"] = rounds[-1]["pass_at_1"]
    print(json.dumps(card))


if __name__ == "__main__":
    main()
