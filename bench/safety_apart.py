"""Keeping test texts apart from what is learned from: which texts say the same as one of some."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence

from parrotlet.core.errors import DataError

GRAM = 13  # so many words in a row in two texts: one was copied
ALIKE = 0.8  # so large a share of common words in two short texts: the same


def words_of(text: str) -> tuple[str, ...]:
    """The words of a text as they are compared: lower case, no signs."""
    return tuple(re.findall(r"\w+", text.lower()))


def place_of(text: str) -> str:
    """A hash of the words of a text."""
    return hashlib.sha256(" ".join(words_of(text)).encode()).hexdigest()


def grams_of(text: str) -> set[tuple[str, ...]]:
    """Every run of GRAM words."""
    words = words_of(text)
    return {words[at : at + GRAM] for at in range(len(words) - GRAM + 1)}


class Copies:
    """Finds what says the same as one of some texts: the same words, 13 words in a row, or,
    of texts shorter than that, eight in ten words the same.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.count = len(texts)
        self._places = {place_of(text) for text in texts}
        self._grams = {gram for text in texts for gram in grams_of(text)}
        self._short = [
            words for words in (set(words_of(each)) for each in texts) if len(words) < GRAM
        ]
        self._having: dict[str, list[int]] = {}
        for index, words in enumerate(self._short):
            for word in words:
                self._having.setdefault(word, []).append(index)

    def has(self, text: str) -> bool:
        """Whether `text` is a copy of one of them."""
        if place_of(text) in self._places or self._grams & grams_of(text):
            return True
        words = set(words_of(text))
        if len(words) * ALIKE >= GRAM:
            return False
        shared = Counter(index for word in words for index in self._having.get(word, ()))
        return any(
            both >= ALIKE * (len(words) + len(self._short[index]) - both)
            for index, both in shared.items()
        )


def check_apart(training: Iterable[str], tests: Sequence[str]) -> int:
    """How many pairs were compared; DataError, quoting one, where a test was learned from."""
    copies = Copies(tests)
    texts = list(training)
    for text in texts:
        if copies.has(text):
            raise DataError(f"a text of a test set is learned from: {text[:80]!r}; take it out")
    return len(texts) * len(tests)
