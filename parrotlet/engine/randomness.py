"""Random numbers that are a function of (seed, choice, position), with no state. Torch-free."""

from __future__ import annotations

MASK64 = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def mix(value: int) -> int:
    """A bijection of 64-bit integers in which every input bit stirs every output bit.

    The finaliser of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014).
    """
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK64
    return value ^ (value >> 31)


def random_key(seed: int, choice: int) -> int:
    """The 64-bit start of one answer's random stream; `seed` may be any integer."""
    return mix((mix((seed + GOLDEN) & MASK64) + (choice + 1) * GOLDEN) & MASK64)


def uniform(key: int, position: int) -> float:
    """Number `position` of the stream: in [0, 1), a multiple of 2**-24 (exact in float32)."""
    return (mix((key + (position + 1) * GOLDEN) & MASK64) >> 40) * 2.0**-24
