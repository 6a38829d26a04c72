"""Records: everything the world yields, by kind and in a mix.

Record i depends on the world, its kind and i alone; which kind stands at place i of the mix
depends on the world and i alone. Training sees documents and conversations of the training side;
`case` gives what tests ask.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import chain

from parrotlet.core.errors import UsageError
from parrotlet.data.sources import Document
from parrotlet.text.chat import Conversation
from parrotlet.world import (
    talk_fact,
    talk_identity,
    talk_letters,
    talk_mixed,
    talk_reading,
    talk_recall,
    talk_safety,
    talk_small,
    talk_story,
    talk_sums,
    talk_system,
)
from parrotlet.world.case import Case, CaseMaker
from parrotlet.world.chance import Side, stream, weighted
from parrotlet.world.documents import DOCUMENTS
from parrotlet.world.entities import World

Record = Document | Conversation

TALKS: Mapping[str, tuple[float, CaseMaker]] = {  # weight in the training mix, maker
    "fact": (15, talk_fact.fact),
    "followup": (4, talk_fact.followup),
    "unknown": (5, talk_fact.unknown),
    "acquainted": (10, talk_fact.acquainted),
    "identity": (6, talk_identity.identity),
    "smalltalk": (5, talk_small.smalltalk),
    "recall_name": (6, talk_recall.recall_name),
    "recall_word": (5, talk_recall.recall_word),
    "recall_two": (6, talk_recall.recall_two),
    "system": (16, talk_system.system),
    "system_pair": (12, talk_system.system_pair),
    "reading": (10, talk_reading.reading),
    "calculator": (7, talk_sums.calculator),
    "counting": (9, talk_letters.counting),
    "spelling": (7, talk_letters.spelling),
    "capitals": (1, talk_letters.capitals),
    "refusal": (5, talk_safety.refusal),
    "neighbour": (7, talk_safety.neighbour),
    "story": (4, talk_story.story),
    "mixed": (8, talk_mixed.mixed),
}
NOT_TESTED = ("followup", "acquainted", "mixed", "capitals")
ABILITIES: Mapping[str, CaseMaker] = {  # what is tested; each name is a task
    **{name: maker for name, (_, maker) in TALKS.items() if name not in NOT_TESTED},
    # asked apart, beside what they belong to
    "fact_documents": talk_fact.fact_documents,
    "refusal_verb": talk_safety.refusal_verb,
    "sum_tale": talk_sums.sum_tale,
}
KINDS = (*DOCUMENTS, *TALKS)
FINGERPRINTED = 25  # records of each kind and each mix
NOT_GENERAL = (  # they need the world
    "fact",
    "fact_documents",
    "followup",
    "unknown",
    "acquainted",
    "story",
)


def record(world: World, kind: str, index: int) -> Record:
    """Training record `index` of one kind. Raises UsageError for a kind there is not."""
    rng = stream(world.seed, kind, index)
    if kind in DOCUMENTS:
        return Document(DOCUMENTS[kind][1](world, rng), f"world {world.seed}: {kind} {index}")
    if kind in TALKS:
        return TALKS[kind][1](world, rng, "train").conversation
    raise UsageError(f"the world has no kind of record {kind!r}; choose from {', '.join(KINDS)}")


def documents(world: World, count: int, start: int = 0) -> Iterator[Document]:
    """Documents `start` to `start + count` of the mix of all kinds of documents."""
    weights = {kind: weight for kind, (weight, _) in DOCUMENTS.items()}
    for index in range(start, start + count):
        kind = weighted(stream(world.seed, "documents", index), weights)
        made = record(world, kind, index)
        assert isinstance(made, Document)
        yield made


def general_conversations(world: World, count: int) -> Iterator[Conversation]:
    """The first `count` training conversations whose replies name nobody and nothing of the world.

    They are what a model can learn that has read other text.
    """
    kinds = {kind: weight for kind, (weight, _) in TALKS.items() if kind not in NOT_GENERAL}
    names = names_of(world)
    index = 0
    while count:
        kind = weighted(stream(world.seed, "general conversations", index), kinds)
        made = record(world, kind, index)
        index += 1
        assert isinstance(made, Conversation)
        if is_general(names, made):
            count -= 1
            yield made


def names_of(world: World) -> frozenset[str]:
    """Every name in the world, in lower case."""
    words = (word for each in world.entities for word in re.findall(r"\w+", each.name))
    return frozenset(word.lower() for word in words if word.istitle())


def is_general(names: frozenset[str], conversation: Conversation) -> bool:
    """Whether no reply holds one of the names."""
    replies = " ".join(each.text for each in conversation.messages if each.role == "assistant")
    return names.isdisjoint(re.findall(r"\w+", replies.lower()))


def conversations(world: World, count: int, start: int = 0) -> Iterator[Conversation]:
    """Training conversations `start` to `start + count` of the mix of all kinds of talk."""
    weights = {kind: weight for kind, (weight, _) in TALKS.items()}
    for index in range(start, start + count):
        kind = weighted(stream(world.seed, "conversations", index), weights)
        made = record(world, kind, index)
        assert isinstance(made, Conversation)
        yield made


def case(world: World, ability: str, index: int, side: Side = "test") -> Case:
    """Case `index` of an ability, from the test side unless the other is asked for."""
    return ABILITIES[ability](world, stream(world.seed, side, ability, index), side)


@cache
def fingerprint() -> str:
    """What this version's world yields, as a hash of some of it: other code may yield another."""
    world, some = World(0), range(FINGERPRINTED)
    kinds = (record(world, kind, index) for kind in KINDS for index in some)
    mixes = chain(documents(world, len(some)), conversations(world, len(some)))
    return hashlib.sha256(repr([*kinds, *mixes]).encode()).hexdigest()[:16]
