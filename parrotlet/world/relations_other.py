"""Relations of pets, towns and things; RELATIONS joins them with those of people."""

from __future__ import annotations

from collections.abc import Mapping

from parrotlet.world.phrasing import Ask
from parrotlet.world.relations import PERSON, Relation

PET: Mapping[str, Relation] = {
    "owner": Relation(
        kind="pet",
        states=(
            "{x} belongs to {v}.",
            "{x}'s owner is {v}.",
            "The owner of {x} is {v}.",
            "{v} takes care of {x}.",
            "{v} has a pet called {x}.",
        ),
        ask=Ask(
            train=(
                "Who is {x}'s owner?",
                "Who does {x} belong to?",
                "Who owns {x}?",
                "Who takes care of {x}?",
                "{x} belongs to whom?",
                "Who has a pet called {x}?",
                "Whose pet is {x}?",
                "Who is the owner of {x}?",
            ),
            test=(
                "Which person owns {x}?",
                "What is the name of the person who owns {x}?",
                "To whom does {x} belong?",
                "Who has {x} as a pet?",
            ),
            clauses=("who {x}'s owner is", "who owns {x}", "whose pet {x} is"),
            topics=("the name of {x}'s owner", "the owner of {x}"),
        ),
        follow=("And who owns {him}?", "Who takes care of {him}?"),
    ),
    "species": Relation(
        kind="pet",
        states=(
            "{x} is {av}.",
            "The pet {x} is {av}.",
            "{x} is {av} with a good heart.",
            "The {v} that you see there is {x}.",
            "Everybody knows the {v} called {x}.",
        ),
        ask=Ask(
            train=(
                "What animal is {x}?",
                "What kind of animal is {x}?",
                "Which animal is {x}?",
                "What sort of pet is {x}?",
                "{x} is what animal?",
                "What is {x}, a cat or another animal?",
                "What kind of pet is {x}?",
            ),
            test=(
                "Which kind of animal is {x}?",
                "What sort of animal is {x}?",
                "{x} is what kind of animal?",
                "Which kind of pet is {x}?",
            ),
            clauses=("what animal {x} is", "what kind of animal {x} is", "what kind of pet {x} is"),
        ),
        follow=("And what kind of animal is {he}?", "What animal is {he}?"),
    ),
    "fur": Relation(
        kind="pet",
        states=(
            "{x} is {v}.",
            "The colour of {x} is {v}.",
            "{x} is all {v}.",
            "From nose to tail {x} is {v}.",
            "{x} has the colour {v}.",
        ),
        ask=Ask(
            train=(
                "What colour is {x}?",
                "Which colour is {x}?",
                "What is the colour of {x}?",
                "What colour does {x} have?",
                "{x} has what colour?",
                "What is {x}'s colour?",
                "What does {x} look like? I mean the colour.",
            ),
            test=(
                "Which colour does {x} have?",
                "{x} is what colour?",
                "What colour would {x} be?",
                "Which is the colour of {x}?",
            ),
            clauses=("what colour {x} is", "which colour {x} is", "what colour {x} has"),
            topics=("the colour of {x}", "{x}'s colour"),
        ),
        follow=("And what colour is {he}?", "Which colour is {he}?"),
    ),
}
TOWN: Mapping[str, Relation] = {
    "landmark": Relation(
        kind="town",
        states=(
            "{x} is known for its {v}.",
            "{x} has a famous {v}.",
            "People visit {x} to see the {v}.",
            "The pride of {x} is its {v}.",
            "In the middle of {x} there is a {v}.",
        ),
        ask=Ask(
            train=(
                "What is {x} known for?",
                "What is {x} famous for?",
                "What can I see in {x}?",
                "What do people visit in {x}?",
                "What is there to see in {x}?",
                "{x} is known for what?",
                "Why do people visit {x}?",
            ),
            test=(
                "What should I see in {x}?",
                "For what is {x} known?",
                "What do people see when they visit {x}?",
                "{x} is famous for what?",
            ),
            clauses=(
                "what {x} is known for",
                "what I can see in {x}",
                "what there is to see in {x}",
            ),
        ),
        follow=("And what is it known for?", "What can I see there?"),
    ),
    "market": Relation(
        kind="town",
        states=(
            "The market in {x} is on {v}.",
            "{x} has its market on {v}.",
            "On {v} there is a market in {x}.",
            "Market day in {x} is {v}.",
            "If you want to buy things in {x}, come on {v}.",
        ),
        ask=Ask(
            train=(
                "When is the market in {x}?",
                "On which day is the market in {x}?",
                "What day is market day in {x}?",
                "When does {x} have its market?",
                "Which day is market day in {x}?",
                "The market in {x} is on what day?",
                "On what day can I go to the market in {x}?",
            ),
            test=(
                "When can I go to the market in {x}?",
                "What day should I come to the market in {x}?",
                "On what day is the market in {x}?",
                "Which day should I come to the market in {x}?",
            ),
            clauses=(
                "when the market in {x} is",
                "on which day the market in {x} is",
                "what day market day in {x} is",
            ),
            topics=("the market day in {x}", "the day of the market in {x}"),
        ),
        follow=("And when is the market there?", "On which day is the market there?"),
    ),
    "mayor": Relation(
        kind="town",
        states=(
            "The mayor of {x} is {v}.",
            "{x}'s mayor is {v}.",
            "{v} is the mayor of {x}.",
            "The people of {x} chose {v} as mayor.",
            "As mayor, {v} speaks for {x}.",
        ),
        ask=Ask(
            train=(
                "Who is the mayor of {x}?",
                "Who is {x}'s mayor?",
                "What is the mayor of {x} called?",
                "Which person is the mayor of {x}?",
                "{x} has whom as mayor?",
                "Who is mayor in {x}?",
                "Whom did the people of {x} choose as mayor?",
            ),
            test=(
                "Which person is {x}'s mayor?",
                "What is the name of the mayor in {x}?",
                "What is {x}'s mayor called?",
                "Who is the mayor in {x} now?",
            ),
            clauses=(
                "who the mayor of {x} is",
                "who is mayor in {x}",
                "what the mayor of {x} is called",
            ),
            topics=("the name of {x}'s mayor", "the mayor of {x}"),
        ),
        follow=("And who is the mayor there?", "What is its mayor called?"),
    ),
}
THING: Mapping[str, Relation] = {
    "paint": Relation(
        kind="thing",
        states=(
            "{x} is {v}.",
            "The colour of {x} is {v}.",
            "{x} has the colour {v}.",
            "Somebody painted {x} {v}.",
            "You know {x} by its colour, which is {v}.",
        ),
        ask=Ask(
            train=(
                "What colour is {x}?",
                "Which colour is {x}?",
                "What is the colour of {x}?",
                "What colour does {x} have?",
                "{x} has what colour?",
                "In what colour is {x} painted?",
                "Tell me the colour, please: {x}.",
            ),
            test=(
                "Which colour does {x} have?",
                "{x} is what colour?",
                "In which colour is {x} painted?",
                "Which is the colour of {x}?",
            ),
            clauses=("what colour {x} is", "which colour {x} is", "what colour {x} has"),
            topics=("the colour of {x}",),
        ),
        follow=("And what colour is it?", "Which colour is it?"),
    ),
    "spot": Relation(
        kind="thing",
        states=(
            "{x} is in the {v}.",
            "You can find {x} in the {v}.",
            "Somebody put {x} in the {v}.",
            "The place of {x} is the {v}.",
            "{x} is always in the {v}.",
        ),
        ask=Ask(
            train=(
                "Where is {x}?",
                "Where can I find {x}?",
                "What is the place of {x}?",
                "{x} is where?",
                "In what place is {x}?",
                "Where did somebody put {x}?",
                "Where must I look for {x}?",
            ),
            test=(
                "Where should I look for {x}?",
                "In which place is {x}?",
                "In what place can I find {x}?",
                "{x} is in what place?",
            ),
            clauses=("where {x} is", "where I can find {x}", "in what place {x} is"),
            topics=("the place of {x}",),
        ),
        follow=("And where is it?", "Where can I find it?"),
    ),
}
RELATIONS: Mapping[str, Relation] = {**PERSON, **PET, **TOWN, **THING}
