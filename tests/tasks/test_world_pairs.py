"""What the world prefers: right before wrong, brief before long, graded by the abilities' rules."""

from __future__ import annotations

import pytest

from parrotlet.tasks.world_pairs import Wordings, WorldPairs, length
from parrotlet.world.chance import Side
from parrotlet.world.entities import World

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
