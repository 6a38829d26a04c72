"""Stop strings, split over pieces in every way, against a search letter by letter."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.chat.stops import StopMatcher

few_letters = st.text("ab\u00e9", max_size=40)
stop_strings = st.lists(st.text("ab\u00e9", min_size=1, max_size=5), max_size=4)


def cut_plainly(text: str, stops: list[str]) -> str:
    """The text up to the first stop string that is complete."""
    for end in range(len(text) + 1):
        complete = [stop for stop in stops if text[:end].endswith(stop)]
        if complete:
            return text[: end - max(map(len, complete))]
    return text


@settings(max_examples=400, deadline=None)
@given(few_letters, stop_strings, st.data())
def test_however_it_is_split(text: str, stops: list[str], data: st.DataObject) -> None:
    expected = cut_plainly(text, stops)
    matcher = StopMatcher(stops)
    shown, rest = "", text
    while rest:
        size = data.draw(st.integers(1, len(rest)))
        shown += matcher.push(rest[:size])
        rest = rest[size:]
        assert expected.startswith(shown), "shown too early, and it cannot be taken back"
    shown += matcher.flush()
    assert shown == expected
    assert not any(stop in shown for stop in stops)
    assert matcher.hit == any(stop in text for stop in stops)


def test_holds_back_no_more_than_it_must() -> None:
    matcher = StopMatcher(["</end>", "\n\n"])
    assert matcher.push("a < b") == "a < b"
    assert matcher.push(" <") == " "
    assert matcher.push("/e") == ""
    assert matcher.push("at\n") == "</eat"
    assert matcher.push("x") == "\nx"
    assert matcher.push("\n") == ""
    assert matcher.push("\nand more") == ""
    assert matcher.hit
    assert matcher.push("no") == "" and matcher.flush() == ""


def test_complete_first_wins_and_the_longest_of_those() -> None:
    assert StopMatcher(["abc", "b"]).push("xabc") == "xa"
    assert StopMatcher(["b", "ab"]).push("xab") == "x"
