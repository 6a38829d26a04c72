"""Stories: a hero, a place, a helper and a plot, told in short sentences.

A story names its hero and its place and nobody but the helper, so that it can be judged by its
names. What a hero eats or loves in a story is what is true of the hero.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from parrotlet.world import lexicon
from parrotlet.world.entities import PRONOUNS, Entity, World
from parrotlet.world.phrasing import sentence

OPENINGS: Sequence[str] = (
    "One day {x} was in {p}.",
    "Once upon a time {x} came to {p}.",
    "It was a sunny morning in {p}, and {x} was happy.",
    "Last winter {x} went for a walk in {p}.",
)
Plot = Sequence[Sequence[str]]  # what may be said first, second, ...
PLOTS: Sequence[Plot] = (
    (
        ("{x} lost {his} {t}.", "Then the {t} of {x} was gone."),
        ("{x} looked for it all day.", "{he} looked behind every door.", "{he} was very sad."),
        ("{h} came and helped to look.", "Then {h} asked what was wrong."),
        (
            "They found the {t} in the {s}.",
            "In the {s}, under an old {t2}, {h} found the {t}.",
        ),
        ("{x} was happy again.", "{x} said thank you and laughed."),
    ),
    (
        ("In the night there was a big storm.", "The sky turned black and a storm came."),
        ("{x} was afraid and ran to the {s}.", "{x} hid in the {s}."),
        ("{h} was there too.", "There {he} saw {h}, who was not afraid."),
        ("They sang songs until the storm was over.", "They told stories until the sun came out."),
        ("After that {x} was never afraid of storms.", "From then on {x} liked the rain."),
    ),
    (
        ("{x} wanted to cook {f} for {h}.", "{x} was hungry and wanted to make {f}."),
        ("But the kitchen was empty.", "But there was nothing in the kitchen."),
        ("So {he} went to the market with a {t}.", "{he} took a {t} and went to the market."),
        ("{h} gave {him} all that {he} needed.", "There {h} gave {him} some {f}."),
        ("In the evening they ate {f} together.", "{x} and {h} ate until they were full."),
    ),
    (
        ("{x} and {h} wanted to know who was faster.", "{h} asked {x} to run a race."),
        ("They ran from the market to the {s}.", "They ran around the {s} three times."),
        ("{x} fell, but {he} got up again.", "Near the end {x} was tired."),
        ("{h} stopped and waited for {x}.", "{h} came back and took {him} by the hand."),
        ("They came in at the same time, and both won.", "In the end {x} and {h} both won."),
    ),
    (
        ("{x} found a small {a} in the {s}.", "A small {a} came to {x} and would not go away."),
        ("It was cold and hungry.", "It had no home."),
        ("{x} gave it some {f}.", "{x} put it in a box and kept it warm."),
        ("{h} said that it could stay.", "{h} gave the {a} a bed."),
        ("Now {x} and the {a} are friends.", "The {a} slept, and {x} was happy."),
    ),
    (
        ("{x} painted a {t} {c}.", "{x} had an old {t} and painted it {c}."),
        ("Everybody came to look at it.", "{h} was the first to see it."),
        ("{h} said that it was the best {t} in the town.", "{h} wanted to have one too."),
        ("So {x} painted a {t} for {h}.", "So they painted all day."),
        ("{x} went home with {c} hands.", "At night both had {c} noses, and they laughed."),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Story:
    """The text, and the only names that may stand in it."""

    text: str
    hero: str
    place: str
    helper: str


def tell(world: World, rng: random.Random, hero: Entity, place: str) -> Story:
    """A story of six sentences. The helper is the hero's friend where one is known."""
    helper = hero.facts.get("friend") or hero.facts.get("owner")
    if helper is None:
        helper = rng.choice(world.heard("person")).name
    thing, other = rng.sample(lexicon.THINGS, 2)
    fields = {
        "x": hero.name,
        "p": place,
        "h": helper,
        "t": thing,
        "t2": other,
        "s": rng.choice(lexicon.SPOTS),
        "a": rng.choice(lexicon.SPECIES),
        "f": hero.facts.get("food") or rng.choice(lexicon.FOODS),
        "c": hero.facts.get("colour") or rng.choice(lexicon.COLOURS),
        **PRONOUNS[hero.pronoun],
    }
    plot = (OPENINGS, *rng.choice(PLOTS))
    lines = [sentence(rng.choice(choices).format_map(fields)) for choices in plot]
    return Story(text=" ".join(lines), hero=hero.name, place=place, helper=helper)


def made_up_hero(rng: random.Random, name: str) -> Entity:
    """A hero nothing is known of."""
    return Entity(kind="person", name=name, pronoun=rng.choice(["he", "she"]))
