"""World: the entities and what is true of them, drawn once from a seed.

One entity in five is quiet: its facts stand in documents, and no training conversation asks about
it. What is asked of quiet entities in a test must have come from reading.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from parrotlet.core.errors import UsageError
from parrotlet.world import lexicon
from parrotlet.world.chance import stream
from parrotlet.world.relations import Kind
from parrotlet.world.relations_other import RELATIONS

QUIET = 5  # one entity in this many is quiet
LEAST, MOST = 10, 90  # people; the rest of the world grows with them
PEOPLE = 90  # unless asked for
AGES = [str(age) for age in range(18, 80)]
PRONOUNS: Mapping[str, Mapping[str, str]] = {
    "she": {"he": "she", "his": "her", "him": "her"},
    "he": {"he": "he", "his": "his", "him": "him"},
    "it": {"he": "it", "his": "its", "him": "it"},
}


@dataclass(frozen=True, kw_only=True)
class Entity:
    """Somebody or something with a name; `facts` maps a relation to its value, one word."""

    kind: Kind
    name: str
    pronoun: str
    quiet: bool = False
    facts: Mapping[str, str] = field(default_factory=dict)

    def fields(self, relation: str) -> dict[str, str]:
        """What the wordings of the relation are filled with."""
        value = self.facts[relation]
        return {
            "x": self.name,
            "v": value,
            "av": lexicon.with_article(value),
            **PRONOUNS[self.pronoun],
        }

    def state(self, relation: str, which: int) -> str:
        """The fact as a sentence, in wording number `which` (taken round)."""
        states = RELATIONS[relation].states
        return states[which % len(states)].format_map(self.fields(relation))


class World:
    """All entities. `people` sets the size; the same seed and size give the same world.

    Raises UsageError where `people` is out of range.
    """

    def __init__(self, seed: int = 0, people: int = PEOPLE) -> None:
        if not LEAST <= people <= MOST:
            raise UsageError(
                f"a world of {people} people cannot be made; choose from {LEAST} to {MOST}"
            )
        self.seed = seed
        rng = stream(seed, "entities")
        names = _names(rng, people)
        towns = _town_names(rng, max(8, people // 5))
        persons = [
            Entity(
                kind="person",
                name=name,
                pronoun=pronoun,
                quiet=_is_quiet(index),
                facts=_person(rng, name, [other for other, _ in names], towns),
            )
            for index, (name, pronoun) in enumerate(names)
        ]
        self.entities: Sequence[Entity] = (
            *persons,
            *_pets(rng, persons, people * 3 // 5),
            *_towns(rng, towns, persons),
            *_things(rng, persons, people),
        )

    @cached_property
    def asked(self) -> Sequence[Entity]:
        """Entities that training conversations ask about."""
        return [entity for entity in self.entities if not entity.quiet]

    @cached_property
    def silent(self) -> Sequence[Entity]:
        """Entities that only documents speak of."""
        return [entity for entity in self.entities if entity.quiet]

    @cached_property
    def by_name(self) -> Mapping[str, Entity]:
        """Each entity by its name."""
        return {entity.name: entity for entity in self.entities}

    @cached_property
    def values(self) -> Mapping[str, frozenset[str]]:
        """Each relation's values anywhere in the world, and those it could have had."""
        found: dict[str, set[str]] = {
            relation: set(RANGES.get(relation, ())) for relation in RELATIONS
        }
        for entity in self.entities:
            for relation, value in entity.facts.items():
                found[relation].add(value)
        return {relation: frozenset(values) for relation, values in found.items()}

    def of(self, kind: Kind) -> Sequence[Entity]:
        """Every entity of one kind, the quiet ones too."""
        return self._by_kind.get(kind, ())

    def heard(self, kind: Kind) -> Sequence[Entity]:
        """The entities of one kind that conversations may speak of."""
        return self._heard_by_kind.get(kind, ())

    @cached_property
    def _by_kind(self) -> Mapping[Kind, Sequence[Entity]]:
        return _grouped(self.entities)

    @cached_property
    def _heard_by_kind(self) -> Mapping[Kind, Sequence[Entity]]:
        return _grouped(self.asked)


def _grouped(entities: Sequence[Entity]) -> Mapping[Kind, Sequence[Entity]]:
    kinds = sorted({entity.kind for entity in entities})
    return {kind: tuple(each for each in entities if each.kind == kind) for kind in kinds}


RANGES: Mapping[str, Sequence[str]] = {
    "job": lexicon.JOBS,
    "colour": lexicon.COLOURS,
    "fur": lexicon.COLOURS,
    "paint": lexicon.COLOURS,
    "food": lexicon.FOODS,
    "species": lexicon.SPECIES,
    "landmark": lexicon.LANDMARKS,
    "market": lexicon.DAYS,
    "spot": lexicon.SPOTS,
}


def _is_quiet(index: int) -> bool:
    return index % QUIET == QUIET - 1


def _names(rng: random.Random, people: int) -> list[tuple[str, str]]:
    """Names with their pronouns, half of them women's."""
    women = [(name, "she") for name in rng.sample(lexicon.SHE, (people + 1) // 2)]
    names = women + [(name, "he") for name in rng.sample(lexicon.HE, people // 2)]
    rng.shuffle(names)
    return names


def _town_names(rng: random.Random, count: int) -> list[str]:
    """Names that do not begin alike, so that one is not taken for another."""
    starts = rng.sample(lexicon.TOWN_STARTS, count)
    return [start + rng.choice(lexicon.TOWN_ENDS) for start in starts]


def _person(
    rng: random.Random, name: str, names: Sequence[str], towns: Sequence[str]
) -> dict[str, str]:
    return {
        "home": rng.choice(towns),
        "job": rng.choice(lexicon.JOBS),
        "colour": rng.choice(lexicon.COLOURS),
        "food": rng.choice(lexicon.FOODS),
        "friend": rng.choice([other for other in names if other != name]),
        "age": rng.choice(AGES),
    }


def _pets(rng: random.Random, persons: Sequence[Entity], count: int) -> list[Entity]:
    names = rng.sample(lexicon.PETS, count)
    return [
        Entity(
            kind="pet",
            name=name,
            pronoun=rng.choice(["he", "she"]),
            quiet=_is_quiet(index),
            facts={
                "owner": rng.choice(persons).name,
                "species": rng.choice(lexicon.SPECIES),
                "fur": rng.choice(lexicon.COLOURS),
            },
        )
        for index, name in enumerate(names)
    ]


def _towns(rng: random.Random, names: Sequence[str], persons: Sequence[Entity]) -> list[Entity]:
    return [
        Entity(
            kind="town",
            name=name,
            pronoun="it",
            quiet=_is_quiet(index),
            facts={
                "landmark": rng.choice(lexicon.LANDMARKS),
                "market": rng.choice(lexicon.DAYS),
                "mayor": rng.choice(persons).name,
            },
        )
        for index, name in enumerate(names)
    ]


def _things(rng: random.Random, persons: Sequence[Entity], count: int) -> list[Entity]:
    owners = rng.sample(list(persons), count)
    return [
        Entity(
            kind="thing",
            name=f"{owner.name}'s {rng.choice(lexicon.THINGS)}",
            pronoun="it",
            quiet=owner.quiet,  # else a quiet name would be asked about
            facts={"paint": rng.choice(lexicon.COLOURS), "spot": rng.choice(lexicon.SPOTS)},
        )
        for owner in owners
    ]
