"""Chance: random streams that depend on names alone, and the two sides of every split.

Record i of a kind is drawn from `stream(seed, kind, i)` and from nothing else, so any record can
be made again without those before it, on any machine. What is split between training and test is
split by what it is (a list it stands in, or a checksum of it), never by when it was drawn.
"""

from __future__ import annotations

import hashlib
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Side = Literal["train", "test"]
T = TypeVar("T")
HELD_OUT = 4  # one in this many of the values split by checksum belongs to the test side


def stream(seed: int, *names: str | int) -> random.Random:
    """A random generator of its own for these names; the same in every process."""
    key = "/".join(str(name) for name in (seed, *names))
    return random.Random(int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest()))


def side_of(value: str) -> Side:
    """The side a word, or any other value written as text, belongs to."""
    return "test" if zlib.crc32(value.encode()) % HELD_OUT == 0 else "train"


def listed(text: str, mark: str | None = None) -> Sequence[str]:
    """The items of a list written as one text, apart by `mark` or by space."""
    return tuple(text.split(mark))


def weighted(rng: random.Random, weights: Mapping[str, float]) -> str:
    """One of the keys, by weight."""
    return rng.choices(list(weights), list(weights.values()))[0]


@dataclass(frozen=True)
class Pool:
    """Wordings of one thing: those that training uses and those that only a test uses."""

    train: Sequence[str]
    test: Sequence[str]

    def pick(self, rng: random.Random, side: Side) -> str:
        """One wording of that side."""
        return rng.choice(self.train if side == "train" else self.test)
