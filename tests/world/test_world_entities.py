"""The world: the same for everybody from its seed, coherent, and of the size that was promised."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.world import lexicon
from parrotlet.world.chance import side_of, stream
from parrotlet.world.entities import LEAST, MOST, PEOPLE, World
from parrotlet.world.relations_other import RELATIONS

DIGEST = """
import hashlib
from parrotlet.world.entities import World
from parrotlet.world.records import ABILITIES, case, conversations, documents
world = World(7)
cases = [case(world, ability, i).conversation for ability in ABILITIES for i in range(20)]
text = repr([*documents(world, 50), *conversations(world, 50), *cases])
print(hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_same_in_every_process() -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        made = subprocess.run(
            [sys.executable, "-c", DIGEST], env=environment, capture_output=True, text=True
        )
        assert made.returncode == 0, made.stderr
        digests.add(made.stdout)
    assert len(digests) == 1


def test_seeds_differ() -> None:
    assert World(0).entities != World(1).entities
    assert World(1).entities == World(1).entities


@pytest.mark.parametrize("people", [LEAST, 40, PEOPLE, MOST])
def test_size(people: int) -> None:
    world = World(0, people)
    facts = sum(len(entity.facts) for entity in world.entities)
    assert facts <= 1_000
    if people == PEOPLE:
        assert 240 <= len(world.entities) <= 300
        assert facts >= 900
    assert 0.1 < len(world.silent) / len(world.entities) < 0.3
    for kind in ("person", "pet", "town"):
        assert any(entity.kind == kind for entity in world.silent)


@pytest.mark.parametrize("people", [0, LEAST - 1, MOST + 1])
def test_size_out_of_range(people: int) -> None:
    with pytest.raises(UsageError, match=f"{people} people.*{LEAST} to {MOST}"):
        World(0, people)


def test_names_are_nobody_elses() -> None:
    world = World(0, MOST)
    assert len(world.by_name) == len(world.entities)
    strangers = {*lexicon.STRANGERS.train, *lexicon.STRANGERS.test}
    assert not strangers & {*lexicon.SHE, *lexicon.HE, *lexicon.PETS}
    assert not {name.lower() for name in lexicon.PETS} & set(lexicon.SPELLED)
    assert not set(lexicon.STRANGERS.train) & set(lexicon.STRANGERS.test)


def test_values_are_single_words_and_refer_to_the_world() -> None:
    world = World(3)
    people = {entity.name for entity in world.of("person")}
    towns = {entity.name for entity in world.of("town")}
    for entity in world.entities:
        for relation, value in entity.facts.items():
            assert RELATIONS[relation].kind == entity.kind
            assert value.isalnum()
            if relation in ("friend", "owner", "mayor"):
                assert value in people - {entity.name}
            if relation == "home":
                assert value in towns


def test_an_owner_of_a_thing_is_as_quiet_as_the_thing() -> None:
    world = World(0)
    for thing in world.of("thing"):
        assert world.by_name[thing.name.split("'")[0]].quiet == thing.quiet


def test_no_invented_word_offends() -> None:
    """What chance must not put together, and no name that ends in s."""
    for side in ("train", "test"):
        rng = stream(0, "invent", side)
        for _ in range(20_000):
            word = lexicon.invent(rng, side)
            assert word not in lexicon.UNFIT and word not in lexicon.WORDS
            assert not word.endswith("s")
            assert not [part for part in lexicon.UGLY if part in word], word


def test_invented_words_keep_their_side() -> None:
    rng = stream(0, "test")
    train = {lexicon.invent(rng, "train") for _ in range(3_000)}
    test = {lexicon.invent(rng, "test") for _ in range(3_000)}
    assert len(train) > 2_500 and len(test) > 2_000
    assert not train & test
    assert not (train | test) & lexicon.WORDS
    assert all(side_of(word) == "test" for word in test)


def test_articles() -> None:
    assert lexicon.with_article("apple") == "an apple"
    assert lexicon.with_article("baker") == "a baker"


def test_wordings_name_the_entity_and_the_value() -> None:
    for entity in World(0).entities:
        for relation, value in entity.facts.items():
            for which in range(len(RELATIONS[relation].states)):
                stated = entity.state(relation, which)
                assert entity.name in stated and value in stated and stated[-1] == "."
