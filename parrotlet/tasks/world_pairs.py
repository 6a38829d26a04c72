"""Preference pairs of the embedded world: what it prefers, by its own rules.

A right reply is better than a wrong one; of two right replies the one of fewer words is better
(of as many, that of fewer letters). Pairs are of two kinds, in turn:

    manner    the same answer in two wordings, the longer one rejected
    truth     the right answer, and one that the ability's rule grades 0

Right and wrong are judged by the rules that grade the abilities. Not here: replies of a model.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from parrotlet.data.preferences import Pair
from parrotlet.tasks.task import Example, Numbered
from parrotlet.tasks.world import WorldTask
from parrotlet.tasks.world_grades import RULES
from parrotlet.text.chat import Conversation, Message, Text, ToolCall, ToolResult
from parrotlet.tools.calculator import calculate
from parrotlet.world.case import Case
from parrotlet.world.chance import Side, stream
from parrotlet.world.entities import World
from parrotlet.world.records import TALKS
from parrotlet.world.talk_fact import DO_NOT_KNOW, heard_of
from parrotlet.world.talk_identity import IDENTITY
from parrotlet.world.talk_safety import HOW_TO, REFUSALS
from parrotlet.world.talk_small import SMALL

MANNERS = ("identity", "fact", "unknown", "refusal", "neighbour", "smalltalk")
OPPOSITE = {"refusal": "neighbour"}  # whose replies are wrong here
# A harmless neighbour's wrong reply is a refusal. Pairs that prefer an answer to a refusal make a
# model answer what it refused by itself, verbs that it never met first of all. Words spelled
# wrongly beside right ones of training make it spell unseen words worse (LOG.md).
WITHOUT_WRONG = ("neighbour", "spelling")
# what brevity alone would take from
OFTEN = {"identity": 4, "system_pair": 4, "system": 2, "counting": 3}
ACQUAINTED = 3  # times as often as an ability: whether a name is known
DENIED = 0.6  # of the wrong replies about a fact: that its bearer is not known
FAR = 10**9  # cases are drawn from so many


class Wordings:
    """Every wording of a reply that has several."""

    def __init__(self, world: World) -> None:
        self._facts: dict[str, tuple[str, ...]] = {}
        for entity in world.entities:
            for relation in entity.facts:
                both = tuple(entity.state(relation, which) for which in (0, 1))
                self._facts.update(dict.fromkeys(both, both))
        families: list[Sequence[str]] = [DO_NOT_KNOW, HOW_TO, REFUSALS]
        families += [each.replies for each in SMALL.values()]
        families += [[text.replace("{n}", "parrotlet") for text in topic.replies]
                     for topic in IDENTITY.values()]  # fmt: skip
        self._families = [[(_pattern(text), text) for text in family] for family in families]

    def of(self, reply: str) -> tuple[str, ...]:
        """All wordings of `reply`, itself among them; it alone where there is no other."""
        if reply in self._facts:
            return self._facts[reply]
        for family in self._families:
            for pattern, _ in family:
                found = pattern.fullmatch(reply)
                if found:
                    return tuple(text.format(**found.groupdict()) for _, text in family)
        return (reply,)

    def best(self, reply: str) -> str:
        """The wording that the world prefers."""
        return min(self.of(reply), key=length)


def length(text: str) -> tuple[int, int]:
    """By what the world prefers one right reply to another: words, then letters."""
    return len(text.split()), len(text)


def _pattern(template: str) -> re.Pattern[str]:
    """A template's replies; {v} is one of few words, {x} the rest."""
    return re.compile(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>.+)", re.escape(template)))


class Manner(Numbered):
    """Questions with several right replies; right is only the one that the world prefers."""

    def __init__(self, world: World, size: int, *, side: Side = "test") -> None:
        """UsageError for a size below 1."""
        super().__init__(size)
        self.side, self.seed = side, world.seed
        self.wordings = Wordings(world)
        self.tasks = {each: WorldTask(world, size, ability=each, side=side) for each in MANNERS}

    def __getitem__(self, index: int) -> Example:
        """Case `index`; IndexError outside of 0 to size - 1."""
        ability = stream(self.seed, "manner", self.side, index).choice(MANNERS)
        example = self.tasks[ability][index]
        best = self.wordings.best(example.conversation.messages[-1].text)
        said = Conversation(example.conversation.messages[:-1]).plus(_said(example, best))
        return replace(example, conversation=said, data={**example.data, "ability": ability})

    def grade(self, example: Example, reply: Message) -> float:
        """1 for a reply that is right and no longer than the wording that the world prefers."""
        best = example.conversation.messages[-1].text
        right = self.tasks[example.data["ability"]].grade(example, reply)
        return right if length(reply.text) <= length(best) else 0.0


class WorldPairs:
    """Pair i of a side depends on the world, the side and i alone."""

    def __init__(self, world: World, side: Side = "train") -> None:
        self.world, self.side = world, side
        self.wordings = Wordings(world)
        names = [each for each in RULES if each in TALKS]
        self.of_truth = [each for each in names if each not in WITHOUT_WRONG]
        if side == "train":  # on the other side, names of the world would be asked about again
            self.of_truth += ["acquainted"] * ACQUAINTED
        for name, times in OFTEN.items():
            self.of_truth += [name] * (times - 1)
        self.tasks = {name: WorldTask(world, FAR, ability=name, side=side) for name in names}

    def pairs(self, count: int, start: int = 0) -> Iterator[Pair]:
        """Pairs `start` to `start + count`."""
        return (self.pair(index) for index in range(start, start + count))

    def pair(self, index: int) -> Pair:
        """Pair `index`; manner and truth in turn."""
        rng = stream(self.world.seed, "pairs", self.side, index)
        make = self._manner if index % 2 == 0 else self._truth
        while True:
            found = make(rng)
            if found is not None:
                return found

    def _manner(self, rng: random.Random) -> Pair | None:
        ability = rng.choice(MANNERS)
        example = self.tasks[ability][rng.randrange(FAR)]
        said = self.wordings.of(example.conversation.messages[-1].text)
        chosen = min(said, key=length)
        longer = [text for text in said if length(text) > length(chosen)]
        if not longer:
            return None
        right = [
            text for text in (chosen, rng.choice(longer)) if self._grade(ability, example, text)
        ]
        return _pair(example, right[0], right[1]) if len(right) == 2 else None

    def _truth(self, rng: random.Random) -> Pair | None:
        ability = rng.choice(self.of_truth)
        if ability == "acquainted":
            return self._acquaintance(rng)
        task = self.tasks[ability]
        example = task[rng.randrange(FAR)]
        wrong = self._wrong(ability, example, rng)
        reply = example.conversation.messages[-1]
        if task.grade(example, wrong) or not task.grade(example, reply):
            return None
        best = self.wordings.best(reply.text)
        chosen = best if self._grade(ability, example, best) else reply.text
        return Pair(Conversation(example.conversation.messages[:-1]), _said(example, chosen), wrong)

    def _wrong(self, ability: str, example: Example, rng: random.Random) -> Message:
        """The reply with a mistake as models make it, or the reply to something else."""
        reply = example.conversation.messages[-1]
        subject = self._subject(example) if ability == "fact" else None
        if subject is not None and rng.random() < DENIED:
            return _said(example, rng.choice(DO_NOT_KNOW).format(x=subject))
        other = self.tasks[OPPOSITE.get(ability, ability)][rng.randrange(FAR)]
        miscalled = _miscalled(reply, rng) if rng.random() < 0.5 else None
        if miscalled is not None:
            return miscalled
        if ability.startswith("system") and rng.random() < 0.7:
            wrong: str | None = _reordered(reply.text, rng)
        else:
            wrong = _swapped(reply.text, example, rng)
        if wrong is None or rng.random() < 0.3:
            wrong = other.conversation.messages[-1].text
        return _said(example, wrong)

    def _subject(self, example: Example) -> str | None:
        """The entity that a question is about; None where it is written without capitals."""
        words = example.conversation.messages[-2].text
        named = [each.name for each in self.world.entities if each.name in words]
        return max(named, key=len, default=None)

    def _acquaintance(self, rng: random.Random) -> Pair:
        """Whether a name is known: else who was only read about becomes a stranger."""
        right, wrong = heard_of(self.world, rng, self.side)
        said = Case(turns=(right,)).conversation.messages
        return Pair(Conversation(said[:-1]), said[-1], Message.of("assistant", wrong))

    def _grade(self, ability: str, example: Example, text: str) -> bool:
        """Whether the reply is right with these words in place of its own."""
        return self.tasks[ability].grade(example, _said(example, text)) == 1


def _said(example: Example, text: str) -> Message:
    """The reference reply with other words after its calls, which stay."""
    reply = example.conversation.messages[-1]
    return replace(reply, parts=(*(p for p in reply.parts if not isinstance(p, Text)), Text(text)))


def _pair(example: Example, chosen: str, rejected: str) -> Pair:
    prompt = Conversation(example.conversation.messages[:-1])
    return Pair(prompt, _said(example, chosen), _said(example, rejected))


def _swapped(text: str, example: Example, rng: random.Random) -> str | None:
    """The reply with another value, number or letter; None where it has nothing to swap."""
    answer, others = example.answer or "", example.data.get("others", ())
    if others and answer in text:
        return text.replace(answer, rng.choice(others))
    if answer.isdigit():
        return _misnumbered(text, answer, rng)
    letters = " ".join(answer)
    if len(answer) > 2 and letters in text:
        place = rng.randrange(len(answer))
        return text.replace(letters, " ".join(answer[:place] + answer[place + 1 :]))
    return None


def _miscalled(reply: Message, rng: random.Random) -> Message | None:
    """The reply with another sum than was asked for; None where it calls for none."""
    call = next((each for each in reply.parts if isinstance(each, ToolCall)), None)
    if call is None:
        return None
    first, sign, second = call.arguments.split()
    match rng.randrange(3):
        case 0:
            sign = rng.choice([each for each in "+-*" if each != sign])
        case 1:
            first = rng.choice((second, first + first[-1]))
        case 2:
            second = rng.choice((first, second + second[-1]))
    asked = f"{first} {sign} {second}"
    result = calculate(asked)
    parts = ToolCall(call.name, asked), ToolResult(result), Text(f"{asked} is {result}.")
    return replace(reply, parts=parts)


def _reordered(text: str, rng: random.Random) -> str:
    """The reply with a sentence left out or said again, as where an order crowds out the answer."""
    sentences = re.split(r"(?<=[.!?]) ", text)
    place = rng.randrange(len(sentences))
    if len(sentences) > 1 and rng.random() < 0.5:
        del sentences[place]
    else:
        sentences.insert(place, sentences[place])
    return " ".join(sentences)


def _misnumbered(text: str, answer: str, rng: random.Random) -> str:
    """The reply with mistakes as models make them: a count that goes wrong at some letter, a number
    with a digit twice or left out, or one that is near."""
    counts = [found.start() for found in re.finditer(r"(?<=\b[a-z])\d+\b", text)]
    if counts:
        begin, more = rng.choice(counts), rng.choice((-1, 1))
        return text[:begin] + re.sub(
            r"\d+", lambda found: str(max(0, int(found[0]) + more)), text[begin:]
        )
    wrong = str(max(0, int(answer) + rng.choice((-2, -1, 1, 2))))
    if len(answer) > 1 and rng.random() < 0.5:
        place = rng.randrange(len(answer))
        twice, less = answer[: place + 1] + answer[place:], answer[:place] + answer[place + 1 :]
        wrong = rng.choice((twice, less))
    return re.sub(rf"\b{answer}\b(?!.*\b{answer}\b)", wrong, text)
