"""System prompts that are to be obeyed: one order, or several at once.

Orders that cannot both be kept are never given together; of the pairs that can, some belong to the
test alone.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from parrotlet.text.chat import Text
from parrotlet.world import lexicon
from parrotlet.world.case import Case, Turn
from parrotlet.world.chance import Side
from parrotlet.world.entities import World
from parrotlet.world.orders import ORDERS
from parrotlet.world.talk_fact import fact_turn
from parrotlet.world.talk_identity import NAME, identity_turn

PREFACES = ("", "", "", "You are a helpful assistant. ", "You are a small language model. ")
OFTEN = ("begin", "end", "one word", "question")  # the hardest: twice as often in training
THREE = 0.3  # share of training cases of several orders that have three

Pair = tuple[str, str]
TRIPLES = (  # of training alone; no two of them are a pair of the test
    ("end", "begin", "called"),
    ("end", "begin", "twice"),
    ("called", "thanks", "question"),
    ("capitals", "thanks", "question"),
    ("capitals", "thanks", "twice"),
    ("capitals", "end", "called"),
    ("capitals", "end", "twice"),
    ("capitals", "called", "question"),
    ("capitals", "called", "thanks"),
    ("capitals", "called", "one word"),
    ("thanks", "question", "twice"),
)
PAIRS: Mapping[str, tuple[Pair, ...]] = {
    "train": (
        ("capitals", "one word"),
        ("capitals", "end"),
        ("capitals", "called"),
        ("capitals", "twice"),
        ("capitals", "thanks"),
        ("capitals", "question"),
        ("one word", "called"),
        ("end", "begin"),
        ("end", "called"),
        ("end", "twice"),
        ("begin", "called"),
        ("called", "thanks"),
        ("called", "question"),
        ("thanks", "question"),
        ("begin", "twice"),
        ("thanks", "twice"),
        ("question", "twice"),
    ),
    "test": (
        ("capitals", "begin"),
        ("end", "thanks"),
        ("begin", "question"),
        ("called", "twice"),
    ),
}


def _turn(world: World, rng: random.Random, names: Sequence[str], words: Sequence[str]) -> Turn:
    """A question whose reply keeps the orders; `data` says which they were."""
    share = 0.8 if "called" in names else 0.1
    if rng.random() < share:
        made = identity_turn(rng, "train", "name")
    else:
        made = fact_turn(world, rng, "train")
    reply, answer = made.reply, made.answer
    if "called" in names and answer == NAME:
        answer = words[names.index("called")]
    for name, word in sorted(zip(names, words, strict=True), key=lambda it: ORDERS[it[0]].stage):
        reply = ORDERS[name].keep(reply, answer, word)
    others = made.others - {answer, *words}
    data = {"orders": tuple(zip(names, words, strict=True))}
    return replace(made, parts=(Text(reply),), answer=answer, others=others, data=data)


def _case(
    world: World, rng: random.Random, wordings: Side, words: Side, names: Sequence[str]
) -> Case:
    drawn = [
        lexicon.stranger(rng, words) if name in ("called", "begin") else lexicon.invent(rng, words)
        for name in names
    ]
    given = [
        ORDERS[name].wordings.pick(rng, wordings).format(w=word)
        for name, word in zip(names, drawn, strict=True)
    ]
    system = rng.choice(PREFACES) + " ".join(given)
    turns = [_turn(world, rng, names, drawn) for _ in range(1 if rng.random() < 0.8 else 2)]
    return Case(turns=tuple(turns), system=system)


def system(world: World, rng: random.Random, side: Side) -> Case:
    """One order; in a test, in an unseen wording."""
    often = OFTEN if side == "train" else ()
    return _case(world, rng, side, side, [rng.choice([*ORDERS, *often])])


def system_pair(world: World, rng: random.Random, side: Side) -> Case:
    """Two orders in any sequence; in a test, a pair that training never gives.

    Training sees three at once too.
    """
    three = side == "train" and rng.random() < THREE
    names = list(rng.choice(TRIPLES if three else PAIRS[side]))
    rng.shuffle(names)
    return _case(world, rng, "train", side, names)
