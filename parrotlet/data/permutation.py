"""A keyed permutation of range(size), computed for one index at a time and never stored.

A Feistel network permutes bit strings whatever its round function is (Luby and Rackoff 1988). An
output outside the range is sent through again until it falls inside ("cycle walking", Black and
Rogaway 2002), which stays a bijection. It shuffles; it hides nothing.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

ROUNDS = 6
MASK64 = (1 << 64) - 1


def derive_key(*parts: int | str) -> int:
    """64 bits that depend on every part: derive_key(seed, "order", epoch)."""
    text = "\0".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def permute(index: int, size: int, key: int) -> int:
    """Where `index` in range(size) goes under `key`."""
    return int(permute_many(np.array([index], dtype=np.int64), size, key)[0])


def permute_many(indices: NDArray[np.int64], size: int, key: int) -> NDArray[np.int64]:
    """Where each of `indices` in range(size) goes under `key`; the same shape."""
    assert size > 0 and (indices >= 0).all() and (indices < size).all()
    bits = (size - 1).bit_length()
    result = _encrypt(indices.astype(np.uint64), bits, key)
    while (outside := result >= size).any():  # the domain is under twice `size`: few turns
        result[outside] = _encrypt(result[outside], bits, key)
    return result.astype(np.int64)


def _encrypt(values: NDArray[np.uint64], bits: int, key: int) -> NDArray[np.uint64]:
    """Permute the strings of `bits` bits: two halves, in turn mixed into each other."""
    low_bits = np.uint64(bits // 2)
    low_mask = np.uint64((1 << (bits // 2)) - 1)
    high_mask = np.uint64((1 << (bits - bits // 2)) - 1)
    high, low = values >> low_bits, values & low_mask
    for turn in range(ROUNDS):
        round_key = np.uint64((key + (turn + 1) * 0x9E3779B97F4A7C15) & MASK64)
        if turn % 2 == 0:
            high = high ^ (_mix(low ^ round_key) & high_mask)
        else:
            low = low ^ (_mix(high ^ round_key) & low_mask)
    return (high << low_bits) | low


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """SplitMix64's finalizer (Steele, Lea, Flood 2014): each bit in moves every bit out."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
