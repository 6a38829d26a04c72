"""Reading: an answer that stands in a passage about somebody the world does not know."""

from __future__ import annotations

import random
from collections.abc import Mapping

from parrotlet.world import lexicon
from parrotlet.world.case import Case, Turn, turn
from parrotlet.world.chance import Pool, Side
from parrotlet.world.entities import AGES, Entity, World
from parrotlet.world.relations import Kind
from parrotlet.world.relations_other import RELATIONS

FRAMES = Pool(
    train=(
        "{p} {q}",
        "{p}\n{q}",
        "Read this. {p} {q}",
        "Here is a text: {p} {q}",
        "Please read. {p}\n{q}",
        "A text: {p}\nA question: {q}",
        "{p} Now tell me this. {q}",
        "I read this: {p} {q}",
    ),
    test=(
        "Please read this. {p} {q}",
        "This is a text: {p}\n{q}",
        "Look at this text. {p} {q}",
        "{p} My question is this. {q}",
    ),
)
KINDS: Mapping[Kind, tuple[str, ...]] = {
    "person": ("home", "job", "colour", "food", "friend", "age"),
    "pet": ("owner", "species", "fur"),
    "town": ("landmark", "market", "mayor"),
}
OPEN = 0.5  # share of values that are invented, where the relation allows


def _value(world: World, rng: random.Random, side: Side, relation: str) -> str:
    """A value for the relation: of the world, or invented where anything may be meant."""
    if relation in ("friend", "owner", "mayor"):
        return lexicon.stranger(rng, side)
    if relation == "age":
        return rng.choice(AGES)
    if relation == "home":
        return lexicon.invent_name(rng, side)
    if relation in ("colour", "food", "fur", "landmark") and rng.random() < OPEN:
        return lexicon.invent(rng, side)
    return rng.choice(sorted(world.values[relation]))


def _somebody(world: World, rng: random.Random, side: Side, kind: Kind, name: str) -> Entity:
    """Two to four facts of somebody nobody knows."""
    count = min(len(KINDS[kind]), rng.choice([2, 3, 3, 4]))
    relations = rng.sample(KINDS[kind], count)
    return Entity(
        kind=kind,
        name=name,
        pronoun="it" if kind == "town" else rng.choice(["he", "she"]),
        facts={relation: _value(world, rng, side, relation) for relation in relations},
    )


def reading_turn(world: World, rng: random.Random, side: Side) -> Turn:
    """A passage about one or two entities of a kind and a question for one of its facts."""
    kind = rng.choice(list(KINDS))
    names: set[str] = set()
    while len(names) < (2 if rng.random() < 0.35 else 1):
        named = lexicon.stranger if kind == "person" else lexicon.invent_name
        names.add(named(rng, side))
    entities = [_somebody(world, rng, side, kind, name) for name in sorted(names)]
    lines = [
        entity.state(relation, rng.randrange(5)) for entity in entities for relation in entity.facts
    ]
    entity = rng.choice(entities)
    relation = rng.choice(list(entity.facts))
    value = entity.facts[relation]
    question = RELATIONS[relation].ask.put(rng, side, x=entity.name)
    user = FRAMES.pick(rng, side).format(p=" ".join(lines), q=question)
    others = world.values[relation] | {
        other for each in entities for other in (*each.facts.values(), each.name)
    }
    return turn(user, entity.state(relation, 0), value, others - {value, entity.name})


def reading(world: World, rng: random.Random, side: Side) -> Case:
    """One passage with its question."""
    return Case(turns=(reading_turn(world, rng, side),))
