"""Forms of a word: in small letters, Capitalised, and IN CAPITALS.

" oak", " Oak" and " OAK" are three ids that have nothing to do with each other, and byte-level BPE
cuts a word in capitals, which is rare, into other pieces than the same word in small letters. A
large model reads each of them often enough; one that is trained for minutes knows that "The tree is
an oak." and cannot say so in capitals. Two things mend this, and what comes out is an ordinary
tokenizer and an ordinary model: `mirrored` chooses tokens that cut a word alike in every form, and
Forms tells an optimizer which rows have a word in common (optim/shared.py).

Scripts without capitals have one form. Source: ours; LOG.md of 2026-12-01 has what it is worth.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain, pairwise

from parrotlet.text.bpe import NUM_BYTES
from parrotlet.text.template import NATIVE
from parrotlet.text.tokenizer import Tokenizer

SMALL, CAPITALISED, CAPITALS = range(3)
SELDOM = 3  # a token that is used less often in the text a tokenizer learns from is not worth an id


@dataclass(frozen=True)
class Forms:
    """Of every id of a vocabulary: which word it is a form of, and which form.

    Ids of one word differ in capitals alone. Control tokens are words of their own.
    """

    words: tuple[int, ...]
    forms: tuple[int, ...]

    @property
    def num_words(self) -> int:
        """How many different words there are."""
        return max(self.words, default=-1) + 1

    def with_rows(self, rows: int) -> Forms:
        """As many ids as a table has rows: some models have more of them than their tokenizer."""
        more = range(self.num_words, self.num_words + rows - len(self.words))
        return Forms((*self.words, *more), (*self.forms, *(SMALL for _ in more)))


def forms_of(tokenizer: Tokenizer) -> Forms:
    """The forms of a tokenizer's ids, control tokens included."""
    known: dict[bytes | str, int] = {}
    names: list[bytes | str] = [*map(small, tokenizer.tokens), *tokenizer.template.specials]
    words = tuple(known.setdefault(name, len(known)) for name in names)
    forms = [form(token) for token in tokenizer.tokens]
    return Forms(words, (*forms, *(SMALL for _ in tokenizer.template.specials)))


@cache
def written(token: bytes) -> tuple[bytes, bytes, bytes]:
    """A token in small letters, capitalised and in capitals; as it is where it has no such forms.

    Bytes that are only a part of a character have none.
    """
    try:
        text = token.decode().lower()
    except UnicodeDecodeError:
        return token, token, token
    first = next((at for at, character in enumerate(text) if character.isalpha()), 0)
    capitalised = text[:first] + text[first : first + 1].upper() + text[first + 1 :]
    if any(each.lower() != text for each in (capitalised, text.upper())):  # as "ß", in two letters
        return token, token, token
    made = text.encode(), capitalised.encode(), text.upper().encode()
    return made if token in made else (token, token, token)


def small(token: bytes) -> bytes:
    """A token in small letters."""
    return written(token)[SMALL]


def form(token: bytes) -> int:
    """Which form a token is in: " A" is capitalised, "A", which goes on with a word, in capitals.

    What has no forms counts as in small letters.
    """
    _, capitalised, capitals = written(token)
    if token == small(token):
        return SMALL
    begins_a_word = not token[:1].isalpha()
    if token == capitals and not (token == capitalised and begins_a_word):
        return CAPITALS
    return CAPITALISED


def mirrored(merges: Sequence[bytes], words: Mapping[str, int], size: int) -> list[bytes]:
    """Tokens that cut a word alike in every form: `size` of them, fewer where merges are too few.

    merges: tokens learned from text in small letters, the first the most frequent. Each is followed
    by its other forms, of which those stay that the text uses. words: how often each is in it, as
    it is written. Merges count for as long as there is room.
    """
    low, high = 0, len(merges)
    while low < high:  # the most merges whose tokens are not too many
        middle = (low + high + 1) // 2
        fits = len(_used(_ranked(merges[:middle]), words)) <= size
        low, high = (middle, high) if fits else (low, middle - 1)
    kept, ranked = _used(_ranked(merges[:low]), words), _ranked(merges[: low + 1])
    wanted = _used(ranked, words) - kept
    more = [token for token in ranked if token in wanted]
    kept |= set(more[: size - len(kept)])
    return [token for token in ranked if token in kept]


def _ranked(merges: Sequence[bytes]) -> list[bytes]:
    """The bytes, then each merge in all its forms: the parts of a form come before it."""
    single = (bytes([value]) for value in range(NUM_BYTES))
    return list(dict.fromkeys(chain(single, *map(written, merges))))


def _used(ranked: Sequence[bytes], words: Mapping[str, int]) -> set[bytes]:
    """All bytes, the tokens that are used, and what these are merged from."""
    cut, used = Tokenizer("bpe", tuple(ranked), NATIVE), Counter[int]()
    for word, count in words.items():
        for rank in cut.encode(word):
            used[rank] += count
    kept = {ranked[rank] for rank, count in used.items() if count >= SELDOM}
    ranks = {token: rank for rank, token in enumerate(ranked)}
    return kept.union(ranked[:NUM_BYTES], *(_steps(token, ranks) for token in kept))


def _steps(token: bytes, ranks: Mapping[bytes, int]) -> set[bytes]:
    """The tokens that come up while a token is put together from its bytes."""
    parts, made = [bytes([value]) for value in token], set[bytes]()
    while len(parts) > 1:
        joins = [left + right for left, right in pairwise(parts)]
        best = min(range(len(joins)), key=lambda at: ranks.get(joins[at], len(ranks)))
        parts[best : best + 2] = [joins[best]]
        made.add(joins[best])
    return made
