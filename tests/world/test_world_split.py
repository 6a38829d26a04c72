"""The split: what the tests ask is nowhere in training, by construction and in fact."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import combinations

import pytest

from parrotlet.text.chat import Conversation
from parrotlet.world import (
    lexicon,
    orders,
    phrasing,
    talk_fact,
    talk_identity,
    talk_letters,
    talk_reading,
    talk_recall,
    talk_safety,
    talk_small,
    talk_story,
    talk_sums,
    talk_system,
)
from parrotlet.world.chance import Pool, Side, side_of, stream
from parrotlet.world.documents import count_letter, count_letters
from parrotlet.world.entities import World
from parrotlet.world.phrasing import Ask
from parrotlet.world.records import ABILITIES, case, conversations, documents
from parrotlet.world.relations_other import RELATIONS

WORLD = World(0)
TRAINING, CASES = 20_000, 500
ASKS: dict[str, Ask] = {
    **{name: relation.ask for name, relation in RELATIONS.items()},
    **{f"identity {name}": topic.ask for name, topic in talk_identity.IDENTITY.items()},
    **{f"recall {name}": memory.ask for name, memory in talk_recall.MEMORIES.items()},
    "recall name": talk_recall.NAME.ask,
    "spell": talk_letters.SPELL,
    "count": talk_letters.COUNT,
    "count one": talk_letters.COUNT_ONE,
    "capitals": talk_letters.CAPITALS,
    "safety": talk_safety.ASK,
    "story": talk_story.ASK,
    **{
        f"sum {sign} {i}": ask
        for sign, asks in talk_sums.ASKS.items()
        for i, ask in enumerate(asks)
    },
    **{f"tale {sign}": ask for sign, ask in talk_sums.TALES.items()},
}
POOLS: dict[str, Pool] = {
    **{f"order {name}": order.wordings for name, order in orders.ORDERS.items()},
    **{f"small {name}": small.says for name, small in talk_small.SMALL.items()},
    "clauses": phrasing.CLAUSE_FRAMES,
    "topics": phrasing.TOPIC_FRAMES,
    "openers": phrasing.OPENERS,
    "reading": talk_reading.FRAMES,
    "spelling": lexicon.SPELLING,
    "strangers": lexicon.STRANGERS,
}


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9+*{} -]", "", text.lower()).strip()


def wordings(ask: Ask, side: str) -> set[str]:
    direct, clauses, topics = (
        (ask.train, phrasing.CLAUSE_FRAMES.train, phrasing.TOPIC_FRAMES.train)
        if side == "train"
        else (ask.test, phrasing.CLAUSE_FRAMES.test, phrasing.TOPIC_FRAMES.test)
    )
    framed = [frame.replace("{it}", it) for frame in clauses for it in ask.clauses]
    framed += [frame.replace("{it}", it) for frame in topics for it in ask.topics]
    return {plain(text) for text in (*direct, *framed)}


def conversation_prompts(conversation: Conversation) -> list[str]:
    """What stands before each reply of the assistant."""
    messages = conversation.messages
    return [
        plain(" / ".join(f"{message.role} {message.text}" for message in messages[:index]))
        for index, message in enumerate(messages)
        if message.role == "assistant"
    ]


@cache
def training() -> tuple[Conversation, ...]:
    return tuple(conversations(WORLD, TRAINING))


@pytest.mark.parametrize("name", ASKS)
def test_questions_of_the_two_sides_differ(name: str) -> None:
    train, test = wordings(ASKS[name], "train"), wordings(ASKS[name], "test")
    assert not train & test
    assert len(test) >= 2
    assert len(train) >= 14


def test_no_question_of_a_test_is_a_training_question_of_another_intent() -> None:
    everywhere = set().union(*(wordings(ask, "train") for ask in ASKS.values()))
    for name, ask in ASKS.items():
        assert not wordings(ask, "test") & everywhere, name


def in_any_order(texts: Iterable[str]) -> set[tuple[str, ...]]:
    return {tuple(sorted(plain(text).split())) for text in texts}


def test_no_question_of_a_test_is_a_training_one_in_another_order() -> None:
    everywhere = in_any_order(text for ask in ASKS.values() for text in wordings(ask, "train"))
    for name, ask in ASKS.items():
        assert not in_any_order(wordings(ask, "test")) & everywhere, name
    for name, pool in POOLS.items():
        assert not in_any_order(pool.test) & in_any_order(pool.train), name


def test_sums_and_tales_are_asked_apart() -> None:
    assert all(len(ask.test) >= 5 for ask in talk_sums.TALES.values())
    for index in range(CASES):
        told = case(WORLD, "sum_tale", index).last
        assert "How many" in told.user, told
        numbers = [int(number) for number in re.findall(r"\d+", told.data["sum"])]
        assert all(side_of(str(number)) == "test" for number in numbers), told
        asked = case(WORLD, "calculator", index).last.user
        assert "How many" not in asked, asked


def test_letters_that_come_again_are_counted_more_often_in_training() -> None:
    def several(side: Side) -> float:
        drawn = (talk_letters.count_turn(stream(0, "several", i), side) for i in range(2_000))
        replies = [each.reply for each in drawn if "The letter" in each.reply]
        return sum(not reply.endswith(" 1 time.") for reply in replies) / len(replies)

    assert several("train") > several("test") + 0.1
    assert count_letter("book", "o") == "o: b o1 o2 k. The letter o is in book 2 times."
    assert count_letter("book", "k") == "k: b o o k1. The letter k is in book 1 time."
    assert count_letter("cat", "x") == "x: c a t. The letter x is in cat 0 times."
    assert count_letters("cat") == "c1 a2 t3. The word cat has 3 letters."


@pytest.mark.parametrize("name", POOLS)
def test_pools_are_apart(name: str) -> None:
    pool = POOLS[name]
    assert not {plain(text) for text in pool.train} & {plain(text) for text in pool.test}
    assert len(set(pool.train)) == len(pool.train) and len(set(pool.test)) == len(pool.test)


def test_pairs_of_orders_are_apart() -> None:
    train, test = (
        {frozenset(pair) for pair in talk_system.PAIRS[side]} for side in ("train", "test")
    )
    assert not train & test
    assert set().union(*test) <= set().union(*train)
    triples = {frozenset(pair) for three in talk_system.TRIPLES for pair in combinations(three, 2)}
    assert not triples & test


@pytest.mark.parametrize("ability", ABILITIES)
def test_no_prompt_of_a_test_is_in_training(ability: str) -> None:
    seen = {prompt for made in training() for prompt in conversation_prompts(made)}
    asked = {
        plain(message.text)
        for made in training()
        for message in made.messages
        if message.role == "user"
    }
    for index in range(CASES):
        made = case(WORLD, ability, index).conversation
        assert conversation_prompts(made)[-1] not in seen
        if not ability.startswith("system"):  # there, the order is what is new
            assert plain(made.messages[-2].text) not in asked


def test_nobody_asks_about_the_quiet_in_training() -> None:
    names = {entity.name for entity in WORLD.silent}
    quiet = re.compile("|".join(rf"\b{re.escape(name)}\b" for name in names))
    known = (*talk_fact.HEARD_OF, *talk_fact.ABOUT)
    heard_of = {text.format(x=name) for text in known for name in names}
    for made in training():
        for message in made.messages:
            spoken_of = message.role != "assistant" and quiet.search(message.text)
            assert not spoken_of or message.text in heard_of, message.text
    asked = " ".join(case(WORLD, "fact_documents", i).last.user for i in range(CASES))
    assert all(re.search(rf"\b{re.escape(name)}\b", asked) for name in names)


def test_words_of_the_test_side_stay_out_of_training() -> None:
    pieces = [message.text for made in training() for message in made.messages]
    pieces += [made.text for made in documents(WORLD, 6_000)]
    written = {word for text in pieces for word in re.findall(r"[a-z]+", text.lower())}
    assert not {name.lower() for name in lexicon.STRANGERS.test} & written
    assert not set(lexicon.SPELLING.test) & written
    held = set()
    for ability in ("recall_word", "reading", "unknown", "spelling", "system", "smalltalk"):
        for index in range(CASES):
            made = case(WORLD, ability, index)
            words = set(re.findall(r"[a-z]+", made.last.user.lower()))
            held |= {word for word in words if _invented(word)}
    assert len(held) > 800
    assert not held & written


def test_held_out_words_are_never_spelled_in_training() -> None:
    pieces = [message.text for made in training() for message in made.messages]
    pieces += [made.text for made in documents(WORLD, 6_000)]
    spelled = {
        re.sub(r"[0-9 ]", "", run)
        for text in pieces
        for run in re.findall(r"\b[a-z]\d*(?: [a-z]\d*)+\b", text)
    }
    assert len(spelled) > 1_000
    assert not set(lexicon.SPELLING.test) & spelled
    assert set(lexicon.SPELLING.train) <= spelled


def test_numbers_of_the_test_side_are_in_no_training_sum() -> None:
    for made in training():
        for message in made.messages:
            for part in message.parts:
                for number in re.findall(r"\d+", getattr(part, "arguments", "")):
                    assert side_of(number) == "train"
    for index in range(CASES):
        for number in re.findall(r"\d+", case(WORLD, "calculator", index).last.data["sum"]):
            assert side_of(number) == "test"


def _invented(word: str) -> bool:
    """Whether a lower-case word is one that lexicon.invent made for the test side."""
    syllables = (
        f"({'|'.join(lexicon.ONSETS)})[aeiou]({'|'.join(lexicon.MIDDLES)})[aeiou]"
        f"({'|'.join(set(lexicon.CODAS))})"
    )
    spliced = f"({'|'.join(lexicon.HEADS)})({'|'.join(lexicon.TAILS)})"
    known = {name.lower() for name in (*lexicon.STRANGERS.train, *WORLD.by_name)} | SENTENCES
    return (
        re.fullmatch(f"{syllables}|{spliced}", word) is not None
        and len(word) > 4
        and side_of(word) == "test"
        and word not in lexicon.WORDS | known | {*lexicon.UNFIT}
    )


SENTENCES = frozenset(
    word
    for text in (
        *(text for ask in ASKS.values() for text in wordings(ask, "test")),
        *(text for pool in POOLS.values() for text in pool.test),
        *(name.lower() for name in lexicon.STRANGERS.test),
    )
    for word in re.findall(r"[a-z]+", plain(text))
)


def test_verbs_that_training_never_has() -> None:
    never = {verb for verbs in talk_safety.NEVER_MET.values() for verb in verbs}
    talk = " ".join(each.text for talk in training() for each in talk.messages)
    read = " ".join(each.text for each in documents(WORLD, TRAINING // 10))
    assert never.isdisjoint(re.findall(r"\w+", f"{talk} {read}".lower()))
    for index in range(100):
        asked = case(WORLD, "refusal_verb", index).last.user
        assert never & set(re.findall(r"\w+", asked.lower())), asked
