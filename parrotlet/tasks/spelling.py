"""Spelling: writing a word letter by letter, and counting a letter with the calculator.

The words are given by whoever makes the task; what a test asks must not be among the words that
were learned from. The world has abilities of the same kind, solved without a tool.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_lowercase

from parrotlet.core.errors import UsageError
from parrotlet.tasks.numbers import numbers_in
from parrotlet.tasks.task import Example, Numbered
from parrotlet.text.chat import Conversation, Message, Text, ToolCall, ToolResult
from parrotlet.world.chance import stream

SPELL = ("Spell the word {}.", "How do you spell {}?", "Write {} letter by letter.")
COUNT = (
    "How many times is the letter {1} in {0}?",
    "How often does the letter {1} occur in the word {0}?",
    "Count the letter {1} in {0}.",
)
_TIMES = re.compile(r"\b(never|once|twice)\b")
_TIMES_VALUE = {"never": "0", "once": "1", "twice": "2"}


class _WordTask(Numbered):
    """Cases about words: the bounds and the drawing that both tasks share."""

    def __init__(self, words: Sequence[str], seed: int, size: int) -> None:
        """UsageError for a size below 1 or a word that is not 2 or more of the letters a to z."""
        super().__init__(size)
        for word in words:
            if not re.fullmatch("[a-z]{2,}", word):
                raise UsageError(f"{word!r} cannot be spelled: use words of the letters a to z")
        if not words:
            raise UsageError("there is no word to spell; give at least one")
        self.words = words
        self.seed = seed


class Spelling(_WordTask):
    """`size` words to be written with a space between their letters."""

    def __getitem__(self, index: int) -> Example:
        """Case `index`; IndexError outside of 0 to size - 1."""
        self.check(index)
        rng = stream(self.seed, "spelling", index)
        word = rng.choice(self.words)
        asked = rng.choice(SPELL).format(word)
        return Example(
            conversation=Conversation.of(("user", asked), ("assistant", " ".join(word))),
            answer=word,
        )

    def grade(self, example: Example, reply: Message) -> float:
        """1 for exactly the letters, apart by spaces, hyphens or commas; "word:" may lead."""
        said = reply.text.strip().lower().removesuffix(".")
        letters = re.split(r"\s*[-,]\s*|\s+", said.removeprefix(f"{example.answer}:").strip())
        return float(letters == list(example.answer or ""))


class LetterCount(_WordTask):
    """`size` questions how often a letter is in a word; the letter may not be in it at all."""

    def __getitem__(self, index: int) -> Example:
        """Case `index`; IndexError outside of 0 to size - 1."""
        self.check(index)
        rng = stream(self.seed, "letter count", index)
        word = rng.choice(self.words)
        letter = rng.choice(word if rng.random() < 0.8 else ascii_lowercase)
        count = sum(each == letter for each in word)
        times = "1 time" if count == 1 else f"{count} times"
        parts = (
            ToolCall("calculator", f'"{word}".count("{letter}")'),
            ToolResult(str(count)),
            Text(f"The letter {letter} is in {word} {times}."),
        )
        asked = rng.choice(COUNT).format(word, letter)
        return Example(
            conversation=Conversation((Message.of("user", asked), Message("assistant", parts))),
            answer=str(count),
            data={"word": word, "letter": letter},
        )

    def grade(self, example: Example, reply: Message) -> float:
        """1 where the one number of the text is the answer, in digits or as never, once, twice."""
        text = _TIMES.sub(lambda match: _TIMES_VALUE[match[0]], reply.text.lower())
        return float(numbers_in(text) == [int(example.answer or "")])
