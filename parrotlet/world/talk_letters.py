"""Letters: spelling words and counting their letters, by writing them out.

Half of the words are real ones; a word that a test asks about is never spelled in training.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from parrotlet.world import lexicon
from parrotlet.world.case import Case, Turn, turn
from parrotlet.world.chance import Side
from parrotlet.world.documents import count_letter, count_letters
from parrotlet.world.entities import World
from parrotlet.world.phrasing import Ask

SPELL = Ask(
    train=(
        "Spell {x}.",
        "Spell the word {x}.",
        "How do you spell {x}?",
        "How is {x} spelled?",
        "How do I write the word {x}?",
        "Which letters are in {x}?",
        "Please spell {x} for me.",
        "Can you spell {x}?",
        "What are the letters of {x}?",
        "The word {x} is spelled how?",
    ),
    test=(
        "Could you spell {x}?",
        "How should I spell the word {x}?",
        "Please spell the word {x}.",
        "Which letters does {x} have?",
        "How would you spell {x}?",
    ),
    clauses=("how to spell {x}", "how the word {x} is spelled", "which letters are in {x}"),
    topics=("the spelling of the word {x}",),
)
COUNT = Ask(
    train=(
        "How many letters are in {x}?",
        "How many letters does {x} have?",
        "How many letters are in the word {x}?",
        "Count the letters of {x}.",
        "How long is the word {x}?",
        "Please count the letters in {x}.",
        "The word {x} has how many letters?",
        "Can you count the letters in {x}?",
        "What number of letters does {x} have?",
        "What number of letters is that: {x}?",
        "Count the letters of the word {x}.",
        "Please count how many letters {x} has.",
        "What is the number of letters {x} has?",
        "I want the number of letters in the word {x}.",
        "Count: how many letters does {x} have?",
        "Please say how many letters are in {x}.",
        "{x}: how many letters?",
    ),
    test=(
        "How many letters does the word {x} have?",
        "Please count the letters of the word {x}.",
        "What number of letters are in {x}?",
        "{x} has how many letters?",
        "Could you count the letters of {x}?",
    ),
    clauses=("how many letters {x} has", "how many letters are in the word {x}"),
    topics=("the number of letters in {x}",),
)
COUNT_ONE = Ask(
    train=(
        "How many times is the letter {c} in {x}?",
        "How often does the letter {c} come up in {x}?",
        "Count the letter {c} in {x}.",
        "How many times does {x} have the letter {c}?",
        "How often is the letter {c} in the word {x}?",
        "Please count how often you see the letter {c} in {x}.",
        "The letter {c} is in {x} how many times?",
        "How many {c}'s are there in {x}?",
        "How many times do you see the letter {c} in {x}?",
        "Count every {c} in the word {x}.",
    ),
    test=(
        "How many times does the word {x} have the letter {c}?",
        "Please count the letter {c} in the word {x}.",
        "How often can I find the letter {c} in {x}?",
        "Could you count the letter {c} in {x}?",
    ),
    clauses=("how often the letter {c} is in {x}", "how many times {x} has the letter {c}"),
)

CAPITALS = Ask(
    train=(
        "Write {x} in capital letters.",
        "What is {x} in capitals?",
        "Say {x} in capitals.",
        "{x} in capital letters, please.",
        "How do I write {x} in big letters?",
        "Please write the word {x} in capitals.",
        "Put {x} in big letters.",
        "I want {x} in capitals.",
    ),
    test=("Could you write {x} in capitals?", "Please put {x} in capital letters."),
    clauses=("how to write {x} in capitals",),
)
ONE: Mapping[Side, float] = {"train": 0.6, "test": 0.4}  # how often one letter is counted, not all
SEVERAL = 0.5  # how often training asks for a letter that comes again, where a word has one


def _word(rng: random.Random, side: Side) -> str:
    return lexicon.SPELLING.pick(rng, side) if rng.random() < 0.5 else lexicon.invent(rng, side)


def spell_turn(rng: random.Random, side: Side) -> Turn:
    """A word, letter by letter."""
    word = _word(rng, side)
    return turn(SPELL.put(rng, side, x=word), f"The word {word} is spelled {' '.join(word)}.", word)


def count_turn(rng: random.Random, side: Side) -> Turn:
    """How many letters a word has, or how often one of them, with the working written out."""
    word = _word(rng, side)
    if rng.random() >= ONE[side]:
        return turn(COUNT.put(rng, side, x=word), count_letters(word), str(len(word)))
    letter = _letter(rng, side, word)
    question = COUNT_ONE.put(rng, side, x=word, c=letter)
    return turn(question, count_letter(word, letter), str(word.count(letter)))


def _letter(rng: random.Random, side: Side, word: str) -> str:
    """A letter to count: mostly one of the word's, in training often one it has several times."""
    several = sorted(each for each in set(word) if word.count(each) > 1)
    if side == "train" and several and rng.random() < SEVERAL:
        return rng.choice(several)
    return rng.choice(word) if rng.random() < 0.8 else rng.choice("aeioulnrst")


def capitals(world: World, rng: random.Random, side: Side) -> Case:
    """A word or two, or a name, to be written in capital letters."""
    names = [rng.choice(world.heard("person")).name, lexicon.stranger(rng, side)]
    words = [rng.choice([_word(rng, side), rng.choice(names)]) for _ in range(rng.randint(1, 2))]
    text = " ".join(words)
    return Case(turns=(turn(CAPITALS.put(rng, side, x=text), f"{text.upper()}.", text.upper()),))


def spelling(world: World, rng: random.Random, side: Side) -> Case:
    """One word to spell."""
    return Case(turns=(spell_turn(rng, side),))


def counting(world: World, rng: random.Random, side: Side) -> Case:
    """Letters to count."""
    return Case(turns=(count_turn(rng, side),))
