"""Recall: what the user said about themselves, asked for later in the conversation."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from parrotlet.world import lexicon
from parrotlet.world.case import Case, Turn, turn
from parrotlet.world.chance import Side
from parrotlet.world.entities import World
from parrotlet.world.phrasing import Ask, sentence
from parrotlet.world.talk_fact import fact_turn
from parrotlet.world.talk_small import small_turn


@dataclass(frozen=True, kw_only=True)
class Memory:
    """One thing users say of themselves: the clause, real values, how it is asked and answered."""

    says: Sequence[str]  # clauses that can be joined with "and"
    values: Sequence[str]  # real words it may be; empty where it is a name
    ask: Ask
    reply: str
    person: bool = False  # whether real people's names fit


def _of(thing: str) -> Ask:
    """Questions for what a thing of the user's is called."""
    return Ask(
        train=(
            f"What is my {thing} called?",
            f"What is the name of my {thing}?",
            f"What do I call my {thing}?",
            f"What is my {thing}'s name?",
            f"Do you remember my {thing}?",
            f"My {thing} is called what?",
        ),
        test=(
            f"Which name does my {thing} have?",
            f"By what name do I call my {thing}?",
            f"What did I say my {thing} is called?",
        ),
        clauses=(f"what my {thing} is called", f"what the name of my {thing} is"),
        topics=(f"the name of my {thing}", f"my {thing}'s name"),
    )


def _favourite(thing: str) -> Ask:
    """Questions for a favourite thing of the user's."""
    return Ask(
        train=(
            f"What is my favourite {thing}?",
            f"Which {thing} do I like best?",
            f"What {thing} do I like most?",
            f"Which {thing} is my favourite?",
            f"My favourite {thing} is what?",
            f"Which {thing} did I say I like best?",
        ),
        test=(
            f"What {thing} did I say I like best?",
            f"What did I say is my favourite {thing}?",
            f"What {thing} do I like best?",
        ),
        clauses=(f"what my favourite {thing} is", f"which {thing} I like best"),
        topics=(f"my favourite {thing}",),
    )


NAME = Memory(
    says=("my name is {v}", "I am {v}", "I am called {v}", "people call me {v}"),
    values=(),
    ask=Ask(
        train=(
            "What is my name?",
            "Who am I?",
            "What am I called?",
            "Do you remember my name?",
            "Do you know who I am?",
            "What do people call me?",
            "What name do I have?",
            "My name is what?",
        ),
        test=(
            "Which name do I have?",
            "What did I say my name is?",
            "By what name do people call me?",
            "Do you still know my name?",
        ),
        clauses=("what my name is", "who I am", "what I am called"),
        topics=("my name",),
    ),
    reply="Your name is {v}.",
    person=True,
)
MEMORIES: Mapping[str, Memory] = {
    **{
        thing: Memory(
            says=(f"my {thing} is called {{v}}", f"my {thing}'s name is {{v}}"),
            values=(),
            ask=_of(thing),
            reply=f"Your {thing} is called {{v}}.",
            person=person,
        )
        for thing, person in (
            ("dog", False),
            ("cat", False),
            ("horse", False),
            ("boat", False),
            ("house", False),
            ("teacher", True),
            ("doctor", True),
            ("best friend", True),
        )
    },
    **{
        thing: Memory(
            says=(f"my favourite {thing} is {{v}}", f"I like the {thing} {{v}} best"),
            values=values,
            ask=_favourite(thing),
            reply=f"Your favourite {thing} is {{v}}.",
        )
        for thing, values in (
            ("colour", lexicon.COLOURS),
            ("food", lexicon.FOODS),
            ("word", lexicon.SPELLING.train),
        )
    },
    "home": Memory(
        says=("I live in {v}", "my home is in {v}", "I have a house in {v}"),
        values=(),
        ask=Ask(
            train=(
                "Where do I live?",
                "In which town do I live?",
                "Where is my home?",
                "What town do I live in?",
                "I live where?",
                "Where is my house?",
            ),
            test=(
                "What is the town I live in?",
                "In what town is my home?",
                "Where did I say I live?",
            ),
            clauses=("where I live", "where my home is", "in which town I live"),
            topics=("my home town",),
        ),
        reply="You live in {v}.",
    ),
    "secret": Memory(
        says=("the secret word is {v}", "our secret word is {v}"),
        values=lexicon.SPELLING.train,
        ask=Ask(
            train=(
                "What is the secret word?",
                "What is our secret word?",
                "Which word is the secret word?",
                "Do you remember the secret word?",
                "The secret word is what?",
            ),
            test=(
                "Which word is our secret?",
                "What was the secret word again?",
                "What did I say the secret word is?",
            ),
            clauses=("what the secret word is", "which word is the secret word"),
            topics=("the secret word", "our secret word"),
        ),
        reply="The secret word is {v}.",
    ),
}
AT_ONCE = 0.2  # share of questions that stand in the same message as what is told
REAL = 0.4  # share of real values on the training side, where an entry has them
NOTED = ("That is good to know.", "I will remember that.", "Thank you for telling me.")


def _value(rng: random.Random, memory: Memory, side: Side) -> str:
    if memory.person:
        return lexicon.stranger(rng, side)
    if not memory.values:
        return lexicon.invent_name(rng, side)
    if side == "train" and rng.random() < REAL:
        return rng.choice(memory.values)
    return lexicon.invent(rng, side)


def _tell(rng: random.Random, memories: Sequence[Memory], values: Sequence[str]) -> Turn:
    """The user says one thing or two in one sentence."""
    parts = [
        rng.choice(memory.says).format(v=value)
        for memory, value in zip(memories, values, strict=True)
    ]
    text = sentence(rng.choice([" and ", ", and "]).join(parts)) + "."
    if rng.random() < 0.3:
        text = rng.choice(["Hello! ", "Hi! ", "Please remember this. "]) + text
    reply = rng.choice(NOTED)
    if memories[0] is NAME and rng.random() < 0.7:
        reply = f"Nice to meet you, {values[0]}!"
    return turn(text, reply)


def _recall(world: World, rng: random.Random, side: Side, memories: Sequence[Memory]) -> Case:
    """What is told, perhaps something else, and a question for one of the things told."""
    values: list[str] = []
    while len(values) < len(memories):
        value = _value(rng, memories[len(values)], side)
        if value not in values:
            values.append(value)
    turns = [_tell(rng, memories, values)]
    between = rng.random()
    if between < 0.2:
        turns.append(fact_turn(world, rng, "train"))
    elif between < 0.4:
        turns.append(small_turn(rng, "train", rng.choice(["how", "praise", "thanks"])))
    which = rng.randrange(len(memories))
    memory, value = memories[which], values[which]
    others = frozenset(values).union({"parrotlet"}, *world.values.values())
    question = memory.ask.put(rng, side)
    if len(turns) == 1 and rng.random() < AT_ONCE:
        question = f"{turns.pop().user} {question}"
    turns.append(turn(question, memory.reply.format(v=value), value, others - {value}))
    return Case(turns=tuple(turns))


def recall_name(world: World, rng: random.Random, side: Side) -> Case:
    """The user's name."""
    return _recall(world, rng, side, [NAME])


def recall_word(world: World, rng: random.Random, side: Side) -> Case:
    """Another thing the user said: a colour, a town, what a dog is called."""
    return _recall(world, rng, side, [rng.choice(list(MEMORIES.values()))])


def recall_two(world: World, rng: random.Random, side: Side) -> Case:
    """Two things said in one sentence, one of them asked for."""
    if rng.random() < 0.5:
        return _recall(world, rng, side, [NAME, rng.choice(list(MEMORIES.values()))])
    return _recall(world, rng, side, rng.sample(list(MEMORIES.values()), 2))
