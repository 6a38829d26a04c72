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
from functools import lru_cache
from itertools import chain

from parrotlet.text.bpe import NUM_BYTES, parts_of
from parrotlet.text.template import NATIVE
from parrotlet.text.tokenizer import Tokenizer

SMALL, CAPITALISED, CAPITALS = FORMS = range(3)
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


@lru_cache(maxsize=1 << 17)
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
    within_a_word = token.decode()[0].isalpha()
    if token == capitals and (within_a_word or token != capitalised):
        return CAPITALS
    return CAPITALISED


def mirrored(merges: Sequence[bytes], words: Mapping[str, int], size: int) -> list[bytes]:
    """Tokens that cut a word alike in every form: `size` of them, fewer where merges are too few.

    merges: tokens learned from text in small letters, the most frequent first. Each is followed by
    its other forms, and those stay that are used SELDOM times or more in `words`, which says how
    often each word is written so; rarer forms are cut into smaller pieces. As many merges count as
    there is room for.
    """
    parts = _parts(merges)
    ranked = [*(bytes([value]) for value in range(NUM_BYTES)), *parts]
    low, high = NUM_BYTES, len(ranked)
    while low < high:  # the most tokens of which not too many are used
        middle = (low + high + 1) // 2
        fits = len(_used(ranked[:middle], parts, words)) <= size
        low, high = (middle, high) if fits else (low, middle - 1)
    while low < len(ranked) and form(ranked[low]) != SMALL:  # all forms of a merge, or none
        low -= 1
    kept = _used(ranked[:low], parts, words)
    unused = sorted(ranked[NUM_BYTES:low], key=form) + sorted(ranked[low:], key=form)
    for token in unused:  # where there is room
        if len(kept) < size and kept.issuperset(parts[token]):
            kept.add(token)
    return [token for token in ranked if token in kept]


def _parts(merges: Sequence[bytes]) -> dict[bytes, tuple[bytes, bytes]]:
    """Each merge in all its forms, in order, with the two tokens that it is joined from.

    Forms that cannot be made from what is there before are left out: in scripts whose letters are
    several bytes a capital may have no byte in common with its small letter.
    """
    ranks = {bytes([value]): value for value in range(NUM_BYTES)}
    parts: dict[bytes, tuple[bytes, bytes]] = {}
    for token in chain.from_iterable(map(written, merges)):
        found = [] if token in ranks else parts_of(token, ranks, len(ranks))
        if len(found) == 2:
            ranks[token] = len(ranks)
            parts[token] = (found[0], found[1])
    return parts


def _used(
    ranked: Sequence[bytes], parts: Mapping[bytes, tuple[bytes, bytes]], words: Mapping[str, int]
) -> set[bytes]:
    """All bytes, the tokens that are used, and what these are joined from."""
    cut, used = Tokenizer("bpe", tuple(ranked), NATIVE), Counter[int]()
    for word, count in words.items():
        for rank in cut.encode(word):
            used[rank] += count
    kept = {bytes([value]) for value in range(NUM_BYTES)}
    left = [ranked[rank] for rank, count in used.items() if count >= SELDOM]
    while left:
        token = left.pop()
        if token not in kept:
            kept.add(token)
            left += parts[token]
    return kept
