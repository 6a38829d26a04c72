"""Features: the hashed n-grams of a text that the classifier weighs.

Words, pairs and triples of neighbouring words, and runs of 3 to 5 characters that cross no space,
each hashed into one of a fixed number of buckets (Weinberger et al., "Feature Hashing for Large
Scale Multitask Learning", ICML 2009). All of it is array arithmetic over code points, linear in
the text: a word's hash is the difference of two running sums of code * BASE ** place, taken back
to place 0 by the inverse power, all modulo 2 ** 64.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from parrotlet.safety.normalise import clean, codes_of, is_word, plain

BITS = 18
BUCKETS = 1 << BITS
WORD_RUNS = (1, 2, 3)
CHARACTER_RUNS = (3, 4, 5)
BASE = 0x9E3779B97F4A7C15
_BASE = np.uint64(BASE)
_INVERSE = np.uint64(pow(BASE, -1, 1 << 64))
_MIX = np.uint64(0xD6E8FEB86659FD93)
_SPACE = 32

Whole = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Grams:
    """n-grams of one kind: the bucket of each, and where in the read text it is. Shapes [n]."""

    buckets: Whole
    places: Whole


@dataclass(frozen=True)
class Features:
    """What the classifier sees of a text that is `length` characters long as it is read."""

    words: Grams
    characters: Grams
    length: int


def features(text: str) -> Features:
    """The features of a text, normalised first."""
    read = _spaced(codes_of(plain(clean(text)).text))
    return Features(_words(read), _characters(read), len(read))


def _spaced(codes: NDArray[np.uint32]) -> Hashes:
    """Words with one space before, between and after; everything else is a space."""
    word = is_word(codes)
    kept = word.copy()
    kept[1:] |= word[:-1]  # the first character of a gap
    middle = np.where(word, codes, _SPACE)[kept].astype(np.uint64)
    end = [] if len(middle) and middle[-1] == _SPACE else [_SPACE]
    return np.concatenate([np.array([_SPACE], np.uint64), middle, np.array(end, np.uint64)])


def _words(read: Hashes) -> Grams:
    spaces = np.flatnonzero(read == _SPACE)
    starts, ends = spaces[:-1] + 1, spaces[1:]
    powers = np.cumprod(np.concatenate([[np.uint64(1)], np.full(len(read) - 1, _BASE)]))
    sums = np.concatenate([[np.uint64(0)], np.cumsum(read * powers)])
    back = np.cumprod(np.concatenate([[np.uint64(1)], np.full(len(read) - 1, _INVERSE)]))
    hashes = (sums[ends] - sums[starts]) * back[starts]
    grams = []
    for size in WORD_RUNS:
        if len(hashes) >= size:
            run = _run(hashes, size)
            grams.append(Grams(_bucket(run + np.uint64(size)), ends[size - 1 :]))
    return _joined(grams)


def _characters(read: Hashes) -> Grams:
    space = read == _SPACE
    spaces = np.concatenate([[0], np.cumsum(space)])
    grams = []
    for size in CHARACTER_RUNS:
        count = len(read) - size + 1
        if count > 0:
            inside = spaces[size - 1 : size - 1 + count] == spaces[1 : 1 + count]
            places = np.flatnonzero(inside)
            run = _run(read, size)[places]
            grams.append(Grams(_bucket(run + np.uint64(1000 + size)), places))
    return _joined(grams)


def _run(values: Hashes, size: int) -> Hashes:
    """A hash of every `size` neighbours."""
    count = len(values) - size + 1
    total = values[:count].copy()
    for at in range(1, size):
        total *= _BASE
        total += values[at : at + count]
    return total


def _bucket(hashes: Hashes) -> Whole:
    mixed = (hashes ^ (hashes >> np.uint64(32))) * _MIX
    return (mixed >> np.uint64(64 - BITS)).astype(np.int64)


def _joined(grams: list[Grams]) -> Grams:
    none = np.zeros(0, np.int64)
    return Grams(
        np.concatenate([none, *(each.buckets for each in grams)]),
        np.concatenate([none, *(each.places for each in grams)]),
    )
