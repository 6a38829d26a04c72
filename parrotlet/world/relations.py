"""Relations: what can be said of an entity, and every way to say and ask it.

Fields: {x} the entity, {v} the value, {av} the value after "a" or "an", {he} {his} {him} for the
entity. The first two statements are the ones an assistant answers with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from parrotlet.world.phrasing import Ask

Kind = Literal["person", "pet", "town", "thing"]


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One relation: whom it is about, how it is stated, how it is asked, how asked in passing."""

    kind: Kind
    states: Sequence[str]
    ask: Ask
    follow: Sequence[str]  # a second question about the same entity, by pronoun


PERSON: Mapping[str, Relation] = {
    "home": Relation(
        kind="person",
        states=(
            "{x} lives in {v}.",
            "{x}'s home is in {v}.",
            "The home of {x} is in {v}.",
            "{x} has a house in {v}.",
            "You can find {x} in {v}.",
        ),
        ask=Ask(
            train=(
                "Where does {x} live?",
                "In which town does {x} live?",
                "Where is {x}'s home?",
                "Where is the home of {x}?",
                "What town does {x} live in?",
                "{x} lives where?",
                "Where can I find {x}?",
                "Which town is {x}'s home?",
                "Where is {x}'s house?",
                "In which place does {x} live?",
                "What is {x}'s home town?",
                "Which town is it where {x} lives?",
                "Where does {x} have a house?",
                "What is the name of the town of {x}?",
            ),
            test=(
                "What is the town where {x} lives?",
                "In what town can I find {x}?",
                "What town is {x}'s home in?",
                "Where is the house of {x}?",
            ),
            clauses=("where {x} lives", "where {x}'s home is", "in which town {x} lives"),
            topics=("the home town of {x}", "{x}'s home town"),
        ),
        follow=(
            "And where does {he} live?",
            "Where is {his} home?",
            "What town does {he} live in?",
        ),
    ),
    "job": Relation(
        kind="person",
        states=(
            "{x} is {av}.",
            "{x} works as {av}.",
            "{x} earns money as {av}.",
            "{x} has the job of {av}.",
            "By day {x} works as {av}.",
        ),
        ask=Ask(
            train=(
                "What is {x}'s job?",
                "What does {x} do for work?",
                "What work does {x} do?",
                "What job does {x} have?",
                "What does {x} work as?",
                "What is the job of {x}?",
                "{x} has what job?",
                "How does {x} earn money?",
                "Which job does {x} do?",
                "What does {x} do by day?",
                "By what work does {x} earn money?",
                "What is {x} by day?",
                "What does {x} earn a living as?",
                "What sort of work does {x} do?",
            ),
            test=(
                "What does {x} do all day for work?",
                "Which job does {x} have?",
                "What is the work of {x}?",
                "What is {x}'s work?",
            ),
            clauses=("what {x}'s job is", "what {x} does for work", "what job {x} has"),
            topics=("{x}'s job", "the job of {x}"),
        ),
        follow=("And what is {his} job?", "What work does {he} do?", "What does {he} do for work?"),
    ),
    "colour": Relation(
        kind="person",
        states=(
            "{x}'s favourite colour is {v}.",
            "{x} likes the colour {v} best.",
            "The favourite colour of {x} is {v}.",
            "Of all colours {x} loves {v} most.",
            "{x} loves the colour {v}.",
        ),
        ask=Ask(
            train=(
                "What is {x}'s favourite colour?",
                "Which colour does {x} like best?",
                "What colour does {x} like most?",
                "What is the favourite colour of {x}?",
                "Which colour does {x} love?",
                "What colour does {x} love most?",
                "{x} likes which colour best?",
                "Which colour is {x}'s favourite?",
                "Of all colours, what does {x} like most?",
                "What is the colour {x} loves?",
                "Which of the colours does {x} love most?",
                "Which is the favourite colour of {x}?",
                "In what colour would {x} paint a house?",
                "Which colour is loved most by {x}?",
            ),
            test=(
                "What colour does {x} like best?",
                "Of all colours, which does {x} love most?",
                "If {x} could have only one colour, which would {x} choose?",
                "What is the colour that {x} likes most?",
            ),
            clauses=(
                "what {x}'s favourite colour is",
                "which colour {x} likes best",
                "what colour {x} loves",
            ),
            topics=("{x}'s favourite colour", "the favourite colour of {x}"),
        ),
        follow=(
            "And what is {his} favourite colour?",
            "Which colour does {he} like best?",
            "What colour does {he} love?",
        ),
    ),
    "food": Relation(
        kind="person",
        states=(
            "{x} likes to eat {v}.",
            "{x}'s favourite food is {v}.",
            "{x} eats {v} every day.",
            "The food that {x} likes best is {v}.",
            "Give {x} some {v} and {he} will smile.",
        ),
        ask=Ask(
            train=(
                "What does {x} like to eat?",
                "What is {x}'s favourite food?",
                "Which food does {x} like best?",
                "What does {x} eat?",
                "What is the favourite food of {x}?",
                "What food does {x} love?",
                "{x} likes to eat what?",
                "What does {x} eat every day?",
                "Of all foods, which does {x} like most?",
                "Which is the favourite food of {x}?",
                "What should I give {x} to eat?",
                "What can I cook to make {x} happy?",
                "What would {x} like to eat?",
            ),
            test=(
                "Which food does {x} love most?",
                "What food does {x} like to eat?",
                "What should I cook for {x}?",
                "Which is {x}'s favourite food?",
            ),
            clauses=(
                "what {x} likes to eat",
                "what {x}'s favourite food is",
                "which food {x} likes",
            ),
            topics=("{x}'s favourite food", "the favourite food of {x}"),
        ),
        follow=(
            "And what does {he} like to eat?",
            "What is {his} favourite food?",
            "Which food does {he} like best?",
        ),
    ),
    "friend": Relation(
        kind="person",
        states=(
            "{x}'s best friend is {v}.",
            "The best friend of {x} is {v}.",
            "{x} calls {v} {his} best friend.",
            "{x} spends much time with {his} friend {v}.",
            "When {x} needs help, {he} asks {his} friend {v}.",
        ),
        ask=Ask(
            train=(
                "Who is {x}'s best friend?",
                "Who is the best friend of {x}?",
                "Who is {x}'s friend?",
                "What is the name of {x}'s best friend?",
                "{x} is best friends with whom?",
                "Which person is {x}'s best friend?",
                "What is {x}'s best friend called?",
                "Who is a good friend of {x}?",
                "With whom does {x} spend much time?",
                "Which person is {x}'s friend?",
                "Who does {x} ask for help?",
                "Whom does {x} call a friend?",
                "What do people call {x}'s best friend?",
            ),
            test=(
                "What is the name of {x}'s friend?",
                "Who is the friend of {x}?",
                "Which person is the best friend of {x}?",
                "What is the best friend of {x} called?",
            ),
            clauses=(
                "who {x}'s best friend is",
                "who the best friend of {x} is",
                "what {x}'s best friend is called",
            ),
            topics=("the name of {x}'s best friend", "the name of the best friend of {x}"),
        ),
        follow=("And who is {his} best friend?", "Who is {his} friend?"),
    ),
    "age": Relation(
        kind="person",
        states=(
            "{x} is {v} years old.",
            "{x}'s age is {v}.",
            "The age of {x} is {v}.",
            "This year {x} turned {v}.",
            "{x} was born {v} years ago.",
        ),
        ask=Ask(
            train=(
                "How old is {x}?",
                "What is {x}'s age?",
                "What is the age of {x}?",
                "How many years old is {x}?",
                "{x} is how old?",
                "What age is {x}?",
                "How old is {x} now?",
                "How many years is it since {x} was born?",
                "How many years has {x} lived?",
                "How long ago was {x} born?",
                "How old did {x} turn?",
                "How many birthdays has {x} had?",
                "What age is {x} now?",
            ),
            test=(
                "How many years ago was {x} born?",
                "What is {x}'s age in years?",
                "How old is {x} this year?",
                "What is {x}'s age now?",
            ),
            clauses=("how old {x} is", "what {x}'s age is", "how many years old {x} is"),
            topics=("{x}'s age", "the age of {x}"),
        ),
        follow=("And how old is {he}?", "What is {his} age?"),
    ),
}
