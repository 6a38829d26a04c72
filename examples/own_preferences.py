"""Your own preferences: replies you liked and replies you did not, and DPO on them.

Three forms, all understood in one file: two replies side by side, thumbs up and down as a chat page
keeps them, and replies in order, the best first.

    python examples/own_preferences.py --write liked.jsonl
    parrotlet dpo runs/demo --data liked.jsonl --steps 40 --anchor 0.5 --name polite
    parrotlet chat runs/polite

A few dozen pairs move a manner, such as how long or how polite replies are. --anchor keeps chosen
replies likely, so that the model does not merely unlearn the rejected ones.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from parrotlet.core.rundir import write_file
from parrotlet.data.preferences import read_preferences

QUESTIONS = ("Hello!", "Can you help me?", "I have a question.", "Are you there?", "Good evening.")
POLITE, PLAIN, RUDE = "Of course, with pleasure!", "Yes.", "What now?"


def side_by_side(question: str) -> dict[str, Any]:
    """Two replies to one prompt."""
    return {"prompt": question, "chosen": POLITE, "rejected": RUDE}


def thumbs(question: str) -> list[dict[str, Any]]:
    """One conversation with a thumb up and one with a thumb down."""
    asked = {"role": "user", "content": question}
    return [
        {"messages": [asked, {"role": "assistant", "content": text}], "label": liked}
        for text, liked in ((POLITE, True), (PLAIN, False))
    ]


def in_order(question: str) -> dict[str, Any]:
    """All replies to a prompt with their ranks; each better one is preferred to each worse one."""
    replies = [
        {"role": "assistant", "text": text, "rank": rank, "replies": []}
        for rank, text in enumerate((POLITE, PLAIN, RUDE))
    ]
    return {"prompt": {"role": "prompter", "text": question, "replies": replies}}


def records() -> list[dict[str, Any]]:
    """Every question in one of the forms."""
    made: list[dict[str, Any]] = []
    for index, question in enumerate(QUESTIONS):
        if index % 3 == 0:
            made.append(side_by_side(question))
        elif index % 3 == 1:
            made += thumbs(question)
        else:
            made.append(in_order(question))
    return made


def main() -> None:
    """Show a record of each form; write all where a file is named, and read them back."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", type=Path)
    given = parser.parse_args()
    print(f"user: {QUESTIONS[0]}\nliked: {POLITE}\nnot liked: {RUDE}")
    if given.write is not None:
        write_file(given.write, "".join(json.dumps(each) + "\n" for each in records()).encode())
        pairs = list(read_preferences([given.write]))
        print(f"wrote {len(records())} records to {given.write}: {len(pairs)} pairs")


if __name__ == "__main__":
    main()
