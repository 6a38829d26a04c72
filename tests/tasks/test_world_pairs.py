"""What the world prefers: right before wrong, brief before long, graded by the abilities' rules."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from parrotlet.tasks.world_pairs import Wordings, WorldPairs, length
from parrotlet.text.chat import Message, ToolCall, ToolResult
from parrotlet.tools.calculator import calculate
from parrotlet.world.chance import Side
from parrotlet.world.entities import World
from parrotlet.world.talk_safety import REFUSALS

WORLD = World(0)


@pytest.mark.parametrize("side", ["train", "test"])
def test_manner_and_truth_in_turn(side: Side) -> None:
    pairs = list(WorldPairs(WORLD, side).pairs(80))
    assert pairs == list(WorldPairs(WORLD, side).pairs(80))
    for index, pair in enumerate(pairs):
        assert pair.chosen != pair.rejected
        assert pair.prompt.messages[-1].role == "user"
        if index % 2 == 0:  # the same answer, in more words
            assert length(pair.chosen.text) < length(pair.rejected.text)
            assert pair.rejected.text in Wordings(WORLD).of(pair.chosen.text)
        else:
            assert pair.rejected.text not in Wordings(WORLD).of(pair.chosen.text)


def test_sides_stay_apart_and_places_do_not_matter() -> None:
    learned = {pair.prompt for pair in WorldPairs(WORLD).pairs(200)}
    assert learned.isdisjoint(pair.prompt for pair in WorldPairs(WORLD, "test").pairs(200))
    assert list(WorldPairs(WORLD).pairs(5, start=20)) == list(WorldPairs(WORLD).pairs(25))[20:]


def test_wordings() -> None:
    wordings = Wordings(WORLD)
    short, long = (
        "You can wash Tim's cup with a little care.",
        "To wash Tim's cup, take your time and ask a friend.",
    )
    assert set(wordings.of(long)) >= {long}
    assert wordings.best("My name is parrotlet.") == "I am parrotlet."
    assert wordings.of("Something else.") == ("Something else.",)
    assert len(wordings.of(short)) == len(wordings.of(long)) == 2


def calls(reply: Message) -> list[tuple[str, str]]:
    """Every sum that the reply hands to the calculator, and what it says comes of it."""
    return [
        (each.arguments, result.text)
        for each, result in pairwise(reply.parts)
        if isinstance(each, ToolCall) and isinstance(result, ToolResult)
    ]


def test_wrong_numbers_are_mistakes_as_models_make_them() -> None:
    """A count goes wrong at some letter and stays wrong; a digit is twice, or left out."""
    shifts, changes, wrong_calls = set(), set(), 0
    made = WorldPairs(WORLD)
    for index in range(1, 1200, 2):
        pair = made.pair(index)
        both = [pair.chosen.text, pair.rejected.text]
        asked, other = calls(pair.chosen), calls(pair.rejected)
        if asked and other and asked != other:
            assert other == [(sum_, calculate(sum_)) for sum_, _ in other]
            wrong_calls += 1
            continue
        if len({re.sub(r"\d+", "", text) for text in both}) > 1:
            continue
        right, wrong = (re.findall(r"\d+", text) for text in both)
        if re.search(r"\b[a-z]\d", both[0]):
            off = [int(b) - int(a) for a, b in zip(right, wrong, strict=True)]
            begin = next(place for place, each in enumerate(off) if each)
            assert len(set(off[begin:])) == 1 or "0" in wrong[begin:]  # nothing is below 0
            shifts.add(off[-1])
        elif right:
            changes.add(len(wrong[-1]) - len(right[-1]))
    assert wrong_calls > 5
    assert shifts == {-1, 1}
    assert changes == {-1, 0, 1}


def test_no_refusal_is_rejected_for_an_answer() -> None:
    """Of two wordings of a refusal the longer one is: that is manner."""
    made = WorldPairs(WORLD)
    refusals = {text for each in REFUSALS for text in Wordings(WORLD).of(each)}
    assert not refusals & {made.pair(index).rejected.text for index in range(1, 600, 2)}


def test_orders_are_wrongly_obeyed_too() -> None:
    """Without the answer, or with it said again: what brevity alone would make of two orders."""
    made, wrong = WorldPairs(WORLD), set()
    for index in range(1, 1200, 2):
        pair = made.pair(index)
        if pair.prompt.messages[0].role == "system":
            both = [re.split(r"(?<=[.!?]) ", each.text) for each in (pair.chosen, pair.rejected)]
            if set(both[1]) <= set(both[0]):
                wrong.add((len(both[1]) > len(both[0])) - (len(both[1]) < len(both[0])))
    assert wrong >= {-1, 1}


def test_whom_it_knows_is_no_stranger() -> None:
    """Who bears a fact is denied in wrong replies alone; asked for names, it says the truth."""
    names = {each.name for each in WORLD.entities}
    denied, known, unknown = 0, 0, 0
    for pair in (WorldPairs(WORLD).pair(index) for index in range(1, 1600, 2)):
        asked, chosen, rejected = (
            pair.prompt.messages[-1].text,
            pair.chosen.text,
            pair.rejected.text,
        )
        stranger = re.fullmatch(r".*I do not know (?:anything about )?(.+)\.", rejected)
        if stranger and stranger[1] in names and "I know" not in chosen:
            denied += stranger[1] in asked
        if re.match(r"(Yes, )?I know", chosen):
            assert any(name in asked for name in names) and "I do not know" in rejected
            known += 1
        if re.match(r"(Yes, )?I know", rejected):
            assert not any(f"know {name}." in rejected for name in names)
            unknown += 1
    assert min(denied, known, unknown) > 2
    assert not any("I know" in pair.chosen.text for pair in WorldPairs(WORLD, "test").pairs(400))


def test_questions_without_capitals() -> None:
    """Of nobody a name is found in them (pair 539 of seed 43 is one)."""
    assert WorldPairs(World(43)).pair(539).rejected.text
