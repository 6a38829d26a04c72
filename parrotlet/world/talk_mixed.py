"""Longer talks: several subjects in turn, sometimes under a system prompt that changes nothing."""

from __future__ import annotations

import random
from collections.abc import Mapping

from parrotlet.world import (
    talk_fact,
    talk_identity,
    talk_letters,
    talk_reading,
    talk_safety,
    talk_small,
    talk_sums,
)
from parrotlet.world.case import Case, CaseMaker, Turn
from parrotlet.world.chance import Side, weighted
from parrotlet.world.entities import World

SUBJECTS: Mapping[str, tuple[float, CaseMaker]] = {
    "fact": (5, talk_fact.fact),
    "followup": (1, talk_fact.followup),
    "unknown": (1, talk_fact.unknown),
    "identity": (2, talk_identity.identity),
    "smalltalk": (3, talk_small.smalltalk),
    "sums": (2, talk_sums.calculator),
    "spelling": (1, talk_letters.spelling),
    "counting": (1, talk_letters.counting),
    "refusal": (1, talk_safety.refusal),
    "neighbour": (1, talk_safety.neighbour),
    "reading": (1, talk_reading.reading),
}
PLAIN = (
    "You are parrotlet.",
    "You are a helpful assistant.",
    "You are parrotlet, a small language model.",
    "Answer the questions of the user.",
    "Help the user.",
    "Be kind and help the user.",
)


def mixed(world: World, rng: random.Random, side: Side) -> Case:
    """Two to five subjects, now and then eight."""
    weights = {name: weight for name, (weight, _) in SUBJECTS.items()}
    wanted = 8 if rng.random() < 0.03 else rng.choice([1, 2, 2, 3, 3, 4, 5])
    turns: list[Turn] = []
    while len(turns) < wanted:
        turns += SUBJECTS[weighted(rng, weights)][1](world, rng, side).turns
    return Case(turns=tuple(turns[:8]), system=rng.choice(PLAIN) if rng.random() < 0.4 else None)
