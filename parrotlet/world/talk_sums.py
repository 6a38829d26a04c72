"""Sums: the assistant writes the sum down, the calculator does it.

A number belongs to one side for good; a test asks about numbers of the test side only.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from parrotlet.text.chat import Text, ToolCall, ToolResult
from parrotlet.world import lexicon
from parrotlet.world.case import Case, Turn
from parrotlet.world.chance import Side, listed, side_of
from parrotlet.world.entities import World
from parrotlet.world.phrasing import Ask

NUMBERS: Mapping[Side, Sequence[int]] = {
    "train": [number for number in range(2, 1000) if side_of(str(number)) == "train"],
    "test": [number for number in range(2, 1000) if side_of(str(number)) == "test"],
}


def _ask(sign: str, verb: str, topic: str) -> Ask:
    """Questions for one operation; {a} and {b} are its numbers."""
    return Ask(
        train=(
            f"What is {{a}} {sign} {{b}}?",
            f"How much is {{a}} {sign} {{b}}?",
            f"{{a}} {sign} {{b}}",
            f"{{a}} {sign} {{b}}?",
            f"{verb}.",
            f"Please {verb[0].lower()}{verb[1:]}.",
            f"{{a}} {sign} {{b}} is what?",
            f"Can you do {{a}} {sign} {{b}}?",
            f"What do I get for {{a}} {sign} {{b}}?",
            f"{{a}} {sign} {{b}}: how much is it?",
        ),
        test=(
            f"How much would {{a}} {sign} {{b}} be?",
            f"Could you do {{a}} {sign} {{b}}?",
            f"What is the answer to {{a}} {sign} {{b}}?",
            f"What does {{a}} {sign} {{b}} make?",
            f"Will you {verb[0].lower()}{verb[1:]}, please?",
        ),
        clauses=(f"what {{a}} {sign} {{b}} is", f"how much {{a}} {sign} {{b}} is"),
        topics=(topic,),
    )


ASKS: Mapping[str, Sequence[Ask]] = {
    "+": (
        _ask("+", "Add {a} and {b}", "the sum of {a} and {b}"),
        _ask("plus", "Add {b} to {a}", "the sum of {a} and {b}"),
    ),
    "-": (
        _ask("-", "Take {b} from {a}", "the difference between {a} and {b}"),
        _ask("minus", "Take {b} away from {a}", "the difference between {a} and {b}"),
    ),
    "*": (
        _ask("*", "Multiply {a} by {b}", "the product of {a} and {b}"),
        _ask("times", "Multiply {a} and {b}", "the product of {a} and {b}"),
    ),
}
TALES: Mapping[str, Ask] = {
    "+": Ask(
        train=(
            "{x} has {a} {f} and gets {b} more. How many {f} does {x} have?",
            "There are {a} {f} here and {b} {f} there. How many are there in all?",
            "I have {a} {f}. {x} gives me {b} more. How many do I have?",
            "{x} has {a} {f}. I have {b}. How many do we have together?",
            "{a} {f} are mine and {b} are from {x}. How many are there?",
            "{x} buys {a} {f} and then {b} {f}. How many {f} is that?",
            "At home {x} has {b} {f}. Now {x} gets {a}. How many {f} is that?",
            "{x} has {b} {f} at home and buys {a}. How many {f} does {x} have?",
            "{x} finds {a} {f} and has {b} in a bag. How many in all?",
            "I have {a} {f} and {x} has {b}. How many do we have in all?",
            "{x} gets {b} {f} and has {a} at home. How many {f} does {x} have?",
            "On Monday {x} ate {a} {f}, on Friday {b}. How many in all?",
            "There are {b} {f} in a box. {x} puts {a} more into it. How many are in the box?",
            "{x} has {a} {f} in a bag and {b} in a box. How many {f} does {x} have?",
            "I found {a} {f} and {x} found {b}. How many did we find?",
            "{x} ate {a} {f} before noon and {b} later. How many {f} did {x} eat?",
            "{x} bought {a} {f} and I bought {b}. How many did we buy?",
            "There are {a} {f} on the table and {b} in the kitchen. How many are there?",
            "{x} gives me {a} {f} today and {b} tomorrow. How many do I get?",
            "We need {a} {f} for {x} and {b} for me. How many do we need?",
        ),
        test=(
            "{x} sold {a} {f} on Monday and {b} on Tuesday. How many did {x} sell?",
            "There are {a} {f} in one basket and {b} in the other. How many {f} are there?",
            "My friend gave me {a} {f}, and {x} gave me {b}. How many did I get?",
            "{x} picked {a} {f} in the morning and {b} in the evening. How many {f} is that?",
            "{x} is given {a} {f} by one friend and {b} by another. How many {f} does {x} have?",
        ),
    ),
    "-": Ask(
        train=(
            "{x} has {a} {f} and gives away {b}. How many {f} does {x} have now?",
            "There were {a} {f}. {x} ate {b}. How many are there now?",
            "I had {a} {f} and lost {b}. How many do I have now?",
            "Of {a} {f}, {x} took {b}. How many are left?",
            "{x} had {a} {f}. {b} of them fell down. How many does {x} still have?",
            "I gave {x} {b} of my {a} {f}. How many do I have now?",
            "I had {a} {f} and {x} ate {b}. How many do I have now?",
            "I had {a} {f}, but {x} took {b}. How many are still mine?",
            "{x} ate {b} of my {a} {f}. How many do I have now?",
            "We had {a} {f} and gave {x} {b}. How many do we have now?",
            "{x} needs {a} {f} and has {b}. How many more must {x} buy?",
            "Of my {a} {f}, {b} are gone. How many are there now?",
            "{x} had {a} {f} and sold {b}. How many does {x} have now?",
            "There are {a} {f} in a box and {x} takes {b}. How many are left?",
        ),
        test=(
            "A box held {a} {f} until {x} took out {b}. How many {f} are still in it?",
            "{x} cooked {a} {f} and we ate {b}. How many {f} were left?",
            "I wanted {a} {f} but found only {b}. How many are missing?",
            "{x} carried {a} {f} home and dropped {b} on the way. How many came home?",
            "Of the {a} {f} on the table, {x} gave me {b}. How many stayed there?",
        ),
    ),
    "*": Ask(
        train=(
            "There are {a} boxes with {b} {f} each. How many {f} are there?",
            "{x} eats {b} {f} a day. How many in {a} days?",
            "I eat {b} {f} a day. How many in {a} days?",
            "{a} children have {b} {f} each. How many are there in all?",
            "I have {a} boxes and in each are {b} {f}. How many {f} do I have?",
            "{x} has {a} bags with {b} {f} in each. How many {f} are there in all?",
            "Every day {x} buys {b} {f}. How many is that in {a} days?",
            "{x} has {a} rows of {b} {f}. How many {f} does {x} have?",
            "In each of {a} boxes {x} has {b} {f}. How many {f} does {x} have in all?",
            "{x} has {a} baskets and {b} {f} in each. How many {f} does {x} have?",
            "{x} buys {b} {f} a day. How many in {a} days?",
            "One box has {b} {f}. How many {f} are in {a} boxes?",
            "{x} gives {b} {f} to each of {a} friends. How many is that?",
            "{x} cooks {b} {f} every hour. How many in {a} hours?",
        ),
        test=(
            "There are {b} {f} on each of {a} tables. How many {f} are there in all?",
            "Each guest of {x} gets {b} {f}, and {a} guests come. How many {f} does {x} need?",
            "{x} put {b} {f} into each of {a} bags. How many {f} did {x} use?",
            "A cake needs {b} {f}. How many {f} do {a} cakes need?",
            "For {a} days {x} ate {b} {f} every day. How many was that?",
        ),
    ),
}
COUNTABLE = listed("apples beans carrots eggs nuts pancakes pears plums")
SAYS = ("{a} {o} {b} is {v}.", "The answer is {v}.", "That is {v}.")


TALE = 0.25  # share of training's sums that are told as a tale


def sum_turn(rng: random.Random, side: Side, tales: float) -> Turn:
    """A question for a sum, the call, its result, and the answer; `tales` of them are told so."""
    sign = rng.choice("++--*")
    small = [number for number in NUMBERS[side] if number < 100]
    numbers = small if sign == "*" or rng.random() < 0.6 else NUMBERS[side]
    first, second = rng.choice(numbers), rng.choice(numbers)
    if sign == "-" and first < second:
        first, second = second, first
    value = {"+": first + second, "-": first - second, "*": first * second}[sign]
    ask = TALES[sign] if rng.random() < tales else rng.choice(ASKS[sign])
    who, what = lexicon.stranger(rng, side), rng.choice(COUNTABLE)
    question = ask.put(rng, side, a=str(first), b=str(second), x=who, f=what)
    written = f"{first} {sign} {second}"
    says = SAYS[0] if rng.random() < 0.7 else rng.choice(SAYS)
    reply = says.format(a=first, o=sign, b=second, v=value)
    parts = (ToolCall("calculator", written), ToolResult(str(value)), Text(reply))
    return Turn(user=question, parts=parts, answer=str(value), data={"sum": written})


def calculator(world: World, rng: random.Random, side: Side) -> Case:
    """One sum; in a test, asked for as a sum."""
    return Case(turns=(sum_turn(rng, side, TALE if side == "train" else 0),))


def sum_tale(world: World, rng: random.Random, side: Side) -> Case:
    """One sum told as a tale, which has to be understood first; in a test, in unseen wordings."""
    return Case(turns=(sum_turn(rng, side, 1),))
