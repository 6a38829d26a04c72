"""Talk about the world: facts, follow-ups, and names the world has never heard of."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from parrotlet.world import lexicon
from parrotlet.world.case import Case, Turn, turn
from parrotlet.world.chance import Side
from parrotlet.world.entities import PRONOUNS, Entity, World
from parrotlet.world.relations import Kind
from parrotlet.world.relations_other import RELATIONS

DO_NOT_KNOW: Sequence[str] = (
    "I do not know {x}.",
    "I am sorry, I do not know {x}.",
    "I do not know anything about {x}.",
)

ACQUAINTED: Mapping[Kind, tuple[str, str]] = {  # what a reply calls one of them, and several
    "person": ("a person", "people"),
    "pet": ("a pet", "pets"),
    "town": ("a town", "towns"),
    "thing": ("a thing", "things"),
}
NAME_ONE = (
    "Name {one}.",
    "Do you know {one}?",
    "Tell me the name of {one}.",
    "Say {one} you know.",
)
HEARD_OF = ("Do you know {x}?", "Have you heard of {x}?", "Do you know the name {x}?")
ABOUT = (
    "I have a question about {x}.",
    "Can you tell me about {x}?",
    "May I ask something about {x}?",
    "Let us talk about {x}.",
    "I want to know something about {x}.",
    "Please help me with {x}.",
    "Tell me what you know about {x}.",
)
NAME_SOME = ("Name some {some}.", "Which {some} do you know?", "Tell me some {some}.")


def fact_turn(
    world: World,
    rng: random.Random,
    side: Side,
    entities: Sequence[Entity] | None = None,
    relation: str | None = None,
) -> Turn:
    """A question about an entity (of those asked about, unless given) and the true answer."""
    entity = rng.choice(entities or world.asked)
    relation = relation or rng.choice(list(entity.facts))
    question = RELATIONS[relation].ask.put(rng, side, x=entity.name)
    return answer_turn(world, rng, entity, relation, question)


def answer_turn(
    world: World, rng: random.Random, entity: Entity, relation: str, question: str
) -> Turn:
    """The turn that answers `question`; other values of the relation would be wrong."""
    value = entity.facts[relation]
    reply = entity.state(relation, 0 if rng.random() < 0.7 else 1)
    return turn(question, reply, value, world.values[relation] - {value, entity.name})


def fact(world: World, rng: random.Random, side: Side) -> Case:
    """One question about an entity that training asks about."""
    return Case(turns=(fact_turn(world, rng, side),))


def fact_documents(world: World, rng: random.Random, side: Side) -> Case:
    """One question about a quiet entity; on the training side, about any other."""
    entities = world.silent if side == "test" else world.asked
    return Case(turns=(fact_turn(world, rng, side, entities),))


def followup(world: World, rng: random.Random, side: Side) -> Case:
    """Two or three questions about the same entity, the later ones by pronoun."""
    entity = rng.choice(world.asked)
    first, *rest = rng.sample(list(entity.facts), min(rng.choice([2, 2, 3]), len(entity.facts)))
    turns = [fact_turn(world, rng, side, [entity], first)]
    for relation in rest:
        wording = rng.choice(RELATIONS[relation].follow)
        question = wording.format_map({"x": entity.name, **PRONOUNS[entity.pronoun]})
        turns.append(answer_turn(world, rng, entity, relation, question))
    return Case(turns=tuple(turns))


def acquainted(world: World, rng: random.Random, side: Side) -> Case:
    """Who is known: names of the world, quiet ones too, and nothing that is true of them.

    Else a model learns that whoever is not asked about is a stranger.
    """
    if rng.random() < 0.8:
        return Case(turns=(heard_of(world, rng, side)[0],))
    kind = rng.choice(list(ACQUAINTED))
    one, some = ACQUAINTED[kind]
    names = rng.sample([entity.name for entity in world.of(kind)], 3)
    if rng.random() < 0.5:
        return Case(turns=(turn(rng.choice(NAME_ONE).format(one=one), f"{names[0]} is {one}."),))
    reply = f"I know {names[0]}, {names[1]} and {names[2]}."
    return Case(turns=(turn(rng.choice(NAME_SOME).format(some=some), reply),))


def heard_of(world: World, rng: random.Random, side: Side) -> tuple[Turn, str]:
    """Whether a name is known, one of the world or a stranger's; and what would be wrong to say."""
    known = rng.random() < 0.7
    name = rng.choice(world.entities).name if known else lexicon.stranger(rng, side)
    if rng.random() < 0.5:
        asked = rng.choice(HEARD_OF)
        yes, no = f"Yes, I know {name}.", f"No, I do not know {name}."
    else:
        asked = rng.choice(ABOUT)
        yes = f"I know {name}. What would you like to know?"
        no = (DO_NOT_KNOW[0] if known else rng.choice(DO_NOT_KNOW)).format(x=name)
    right, wrong = (yes, no) if known else (no, yes)
    return turn(asked.format(x=name), right), wrong


def unknown(world: World, rng: random.Random, side: Side) -> Case:
    """A question about a name that nobody in the world bears."""
    name = lexicon.stranger(rng, side)
    if rng.random() < 0.15:
        name = f"{name}'s {rng.choice(lexicon.THINGS)}"
        relation = rng.choice(["paint", "spot"])
    else:
        relation = rng.choice([key for key, it in RELATIONS.items() if it.kind != "thing"])
    question = RELATIONS[relation].ask.put(rng, side, x=name)
    reply = rng.choice(DO_NOT_KNOW).format(x=name)
    return Case(turns=(turn(question, reply, name, world.values[relation]),))
