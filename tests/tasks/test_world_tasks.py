"""The world's tasks: references are right; wrong, empty, hedging and echoed replies are not."""

from __future__ import annotations

import re

import pytest

from parrotlet.core.errors import UsageError
from parrotlet.tasks.task import Example
from parrotlet.tasks.world import WORLD_TASKS, WorldTask
from parrotlet.text.chat import Message, Text, ToolCall, ToolResult
from parrotlet.world.entities import World
from parrotlet.world.talk_identity import IDENTITY
from parrotlet.world.talk_small import SMALL

WORLD = World(0)
CASES = 300
VALUES = ("fact", "fact_documents", "recall_name", "recall_word", "recall_two", "reading")


def say(text: str) -> Message:
    return Message.of("assistant", text)


def task(ability: str) -> WorldTask:
    return WORLD_TASKS[ability](WORLD, CASES)


def share(ability: str, change: object) -> float:
    """The grade of changed references, over all cases."""
    given = task(ability)
    assert callable(change)
    return sum(given.grade(each, change(each)) for each in given) / len(given)


def text_of(example: Example) -> str:
    return example.conversation.messages[-1].text


@pytest.mark.parametrize("ability", WORLD_TASKS)
def test_every_reference_is_right(ability: str) -> None:
    assert share(ability, lambda example: example.conversation.messages[-1]) == 1.0


@pytest.mark.parametrize("ability", WORLD_TASKS)
def test_empty_echoed_and_foreign_replies_are_wrong(ability: str) -> None:
    assert share(ability, lambda example: say("")) == 0
    assert share(ability, lambda example: say(" \n")) == 0
    assert share(ability, lambda example: say("Banana banana banana.")) == 0
    assert share(ability, lambda example: say(example.conversation.messages[-2].text)) == 0


@pytest.mark.parametrize("ability", WORLD_TASKS)
def test_another_cases_reference_is_wrong(ability: str) -> None:
    """A reply that does not look at the question is right by chance at most."""
    given = task(ability)
    count = range(len(given) - 1)
    lucky = sum(given.grade(given[i], given[i + 1].conversation.messages[-1]) for i in count)
    if ability in ("refusal", "refusal_verb", "unknown"):  # no is no, whoever asks
        assert lucky == len(count)
    elif ability in ("neighbour", "counting", "identity", "smalltalk"):
        assert lucky < 0.75 * len(count)
    else:
        assert lucky < 0.15 * len(count)


@pytest.mark.parametrize("ability", VALUES)
def test_hedges_lists_and_negations_are_wrong(ability: str) -> None:
    def hedge(example: Example) -> Message:
        other = sorted(example.data["others"])[0]
        return say(f"It is {example.answer} or {other}.")

    def listed(example: Example) -> Message:
        return say(", ".join([str(example.answer), *sorted(example.data["others"])]))

    def negated(example: Example) -> Message:
        return say(f"It is not {example.answer}.")

    def bare(example: Example) -> Message:
        return say(f"{example.answer}")

    assert share(ability, hedge) == 0
    assert share(ability, listed) == 0
    assert share(ability, negated) == 0
    assert share(ability, bare) == 1


@pytest.mark.parametrize("ability", VALUES)
def test_another_value_is_wrong(ability: str) -> None:
    def wrong(example: Example) -> Message:
        return say(text_of(example).replace(str(example.answer), sorted(example.data["others"])[0]))

    assert share(ability, wrong) == 0


def test_a_value_inside_a_longer_word_is_no_answer() -> None:
    given = task("fact")
    for example in given:
        assert given.grade(example, say(f"It is x{example.answer}x.")) == 0


def test_case_and_marks_do_not_matter_for_a_value() -> None:
    assert share("fact", lambda example: say(f"**{str(example.answer).upper()}**!")) == 1


def test_recall_of_the_other_thing_is_wrong() -> None:
    given = task("recall_two")
    for example in given:
        told = example.conversation.messages[0].text
        assert given.grade(example, say(told)) == 0


@pytest.mark.parametrize("ability", ["system", "system_pair"])
def test_an_order_that_is_not_kept_is_wrong(ability: str) -> None:
    given = task(ability)
    for example in given:
        names = dict(example.data["orders"])
        reply = text_of(example)
        if "capitals" in names:
            assert given.grade(example, say(reply.capitalize())) == 0
        if "one word" in names:
            assert given.grade(example, say(f"The answer is {reply}")) == 0
        if "end" in names:
            assert given.grade(example, say(f"{reply} Goodbye.")) == 0
        if "begin" in names or "thanks" in names:
            assert given.grade(example, say(f"Well, {reply}")) == 0
        if "question" in names:
            assert given.grade(example, say(reply.rstrip("?") + ".")) == 0
        if "twice" in names:
            assert given.grade(example, say(reply[: len(reply) // 2])) == 0
        if "called" in names:
            replaced = re.sub(names["called"], "parrotlet", reply, flags=re.IGNORECASE)
            assert given.grade(example, say(replaced)) == 0 or replaced == reply


def test_an_order_kept_without_the_answer_is_wrong() -> None:
    given = task("system")
    for example in given:
        reply = re.sub(str(example.answer), "banana", text_of(example), flags=re.IGNORECASE)
        assert given.grade(example, say(reply)) == 0


def test_a_sum_needs_the_tool_and_the_right_number() -> None:
    given = task("calculator")
    for example in given:
        call, result, words = example.conversation.messages[-1].parts
        assert isinstance(words, Text)
        assert given.grade(example, Message("assistant", (words,))) == 0
        off = Text(f"It is {int(str(example.answer)) + 1}.")
        hedge = Text(f"{words.text} Or {int(str(example.answer)) + 1}.")
        inside = Text(f"It is 9{example.answer}.")
        for wrong in (off, hedge, inside):
            assert given.grade(example, Message("assistant", (call, result, wrong))) == 0
        other_tool = (ToolCall("speller", "x"), ToolResult("y"), words)
        assert given.grade(example, Message("assistant", other_tool)) == 0


def test_a_tool_call_where_none_is_needed_is_wrong() -> None:
    given = task("fact")
    example = given[0]
    parts = (ToolCall("calculator", "1 + 1"), *example.conversation.messages[-1].parts)
    assert given.grade(example, Message("assistant", parts)) == 0


def test_counts_must_be_one_number_at_the_end() -> None:
    given = task("counting")
    for example in given:
        right = int(str(example.answer))
        assert given.grade(example, say(f"There are {right}.")) == 1
        assert given.grade(example, say(f"{right} or {right + 1}.")) == 0
        assert given.grade(example, say("1 2 3 4 5 6 7 8 9")) == 0
        assert given.grade(example, say(f"It has {right}. No, {right + 1}.")) == 0
    five = next(example for example in given if example.answer == "5")
    assert given.grade(five, say("It has five letters.")) == 1


def test_spelling_is_exact() -> None:
    given = task("spelling")
    for example in given:
        word = str(example.answer)
        assert given.grade(example, say("-".join(word.upper()))) == 1
        assert given.grade(example, say(f"It is {', '.join(word)}.")) == 1
        assert given.grade(example, say(f"The word is {word}.")) == 0
        assert given.grade(example, say(" ".join(word[:-1]))) == 0
        assert given.grade(example, say(" ".join(word + word[-1]))) == 0
        assert given.grade(example, say(f"{' '.join(word)}. Or {' '.join(word[::-1])}.")) == 0


def test_who_does_not_know_must_not_guess() -> None:
    given = task("unknown")
    for example in given:
        guess = sorted(example.data["others"])[0]
        assert given.grade(example, say(f"I do not know, perhaps {guess}.")) == 0
        assert given.grade(example, say(f"It is {guess}.")) == 0
        assert given.grade(example, say("I don't know that name.")) == 1


def test_refusing_and_helping_exclude_each_other() -> None:
    def both(example: Example) -> Message:
        return say("I cannot help with that. But take your time and ask a friend.")

    def refused(example: Example) -> Message:
        return say("I cannot help with that. It would do harm.")

    assert share("refusal", both) == 0
    assert share("neighbour", both) == 0
    assert share("refusal", refused) == 1
    assert share("neighbour", refused) == 0


def test_identity_needs_the_right_words_and_no_other_name() -> None:
    everything = " ".join(reply for topic in IDENTITY.values() for reply in topic.replies)
    assert share("identity", lambda example: say(everything)) == 0
    people = [entity.name for entity in WORLD.of("person")]
    assert share("identity", lambda example: say(f"{text_of(example)} Or {people[0]}.")) == 0
    asked = [example for example in task("identity") if example.answer == "parrotlet"]
    assert asked and task("identity").grade(asked[0], say("I am a parrot.")) == 0


def test_who_greets_with_a_name_may_be_greeted_by_it() -> None:
    given = task("smalltalk")
    named = [example for example in given if "name" in example.data]
    assert named
    for example in named:
        assert given.grade(example, say(f"Nice to meet you, {example.data['name']}!")) == 1
        assert given.grade(example, say("Nice to meet you, Blarno!")) == 0
        assert given.grade(example, say("Hello! How can I help you?")) == 1


def test_all_small_talk_at_once_is_wrong() -> None:
    everything = " ".join(small.replies[0] for small in SMALL.values())
    assert share("smalltalk", lambda example: say(everything)) == 0


def test_a_story_keeps_hero_and_place() -> None:
    given = task("story")
    for example in given:
        told, hero, place = text_of(example), example.data["hero"], example.data["place"]
        assert given.grade(example, say(told.replace(hero, "Ann"))) == 0
        assert given.grade(example, say(told.replace(place, "the town"))) == 0
        assert given.grade(example, say(told.split(". ")[0] + ".")) == 0
        assert given.grade(example, say(f"{told} Then Blarno came.")) == 0
        assert given.grade(example, say(f"{hero} was in {place}. " * 4)) == 0


def test_sizes_and_names_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="at least 1"):
        WorldTask(WORLD, 0, ability="fact")
    with pytest.raises(UsageError, match=r"no 'magic'.*identity"):
        WorldTask(WORLD, 5, ability="magic")
