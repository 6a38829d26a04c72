"""Stories on request, about somebody and somewhere."""

from __future__ import annotations

import random
from dataclasses import replace

from parrotlet.world import lexicon, stories
from parrotlet.world.case import Case, turn
from parrotlet.world.chance import Side
from parrotlet.world.entities import World
from parrotlet.world.phrasing import Ask

ASK = Ask(
    train=(
        "Tell me a story about {x} in {p}.",
        "Tell a story about {x} in {p}.",
        "Please tell me a story about {x} in {p}.",
        "I want a story about {x} in {p}.",
        "Can you tell me a story about {x} in {p}?",
        "Write a story about {x} in {p}.",
        "Make up a story about {x} in {p}.",
        "A story about {x} in {p}, please.",
        "I need a story about {x} in {p}.",
        "Do you know a story about {x} in {p}?",
        "What did {x} do in {p}? Tell me a story.",
        "Write me a story about {x} in {p}, please.",
        "Write down a story about {x} in {p}.",
        "Can you write a story about {x} in {p}?",
        "Please tell me what {x} did in {p}.",
        "Please make up a story about {x} in {p}.",
        "I would love a story about {x} in {p}.",
        "Give me a story about {x} in {p}.",
        "Can you give me a story about {x} in {p}?",
        "I would like a story about {x} in {p}.",
    ),
    test=(
        "Could you tell me a story about {x} in {p}?",
        "Please write a story about {x} in {p}.",
        "Tell me what {x} did in {p}, as a story.",
        "I want to hear a story about {x} in {p}.",
        "I am in the mood for a story about {x} in {p}.",
        "Will you tell a story about {x} in {p}?",
    ),
)
NEW_HERO = 0.5  # share of heroes the world does not know


def story(world: World, rng: random.Random, side: Side) -> Case:
    """A story about a hero in a town; in a test every hero is new or in a new town."""
    place = rng.choice(world.heard("town")).name
    if side == "test" or rng.random() < NEW_HERO:
        hero = stories.made_up_hero(rng, lexicon.stranger(rng, side))
    else:
        hero = rng.choice([*world.heard("person"), *world.heard("pet")])
    told = stories.tell(world, rng, hero, place)
    made = turn(ASK.put(rng, side, x=hero.name, p=place), told.text)
    return Case(turns=(replace(made, data={"hero": hero.name, "place": place}),))
