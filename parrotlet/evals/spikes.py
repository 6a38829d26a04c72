"""Spikes: where a loss jumps, and whether it jumps at the same place of every epoch.

What is "far above" is measured on the curve itself: against the usual distance from the median of
the steps around. Torch-free.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median

from parrotlet.evals.curve import Curve

LOCAL = 25  # steps around a step that say what loss was to be expected there
SPIKE = 6.0  # times the usual distance from what was expected
SPIKE_SHARE = 0.1  # of the loss, at least
PLACES = 50  # parts of an epoch that are told apart


def loss_spikes(curve: Curve) -> list[int]:
    """Indices whose loss is far above what the steps around it say."""
    losses = curve.losses
    expected = [median(_around(losses, index)) for index in range(len(losses))]
    distances = [abs(a - b) for a, b in zip(losses, expected, strict=True) if math.isfinite(a)]
    usual = median(distances) if distances else 0.0
    start = max(5, len(losses) // 20)  # the first losses fall too fast to be judged
    return [
        index
        for index in range(start, len(losses))
        if losses[index] - expected[index] > max(SPIKE * usual, SPIKE_SHARE * expected[index])
    ]


def repeating_places(curve: Curve) -> list[tuple[int, int]]:
    """(place in the epoch, in how many epochs) where the loss jumps in two and in most of them."""
    if not curve.epoch_steps or curve.epoch_steps < 2:
        return []
    epochs = math.ceil(curve.steps[-1] / curve.epoch_steps)
    seen = {(place_of(curve, index), _epoch(curve, index)) for index in loss_spikes(curve)}
    counts = Counter(place for place, _ in seen)
    return [(place, n) for place, n in counts.most_common() if n >= max(2, 0.6 * (epochs - 1))]


def place_of(curve: Curve, index: int) -> int:
    """The part of the epoch that a record lies in."""
    if not curve.epoch_steps:
        return -1
    return int((curve.steps[index] - 1) % curve.epoch_steps / curve.epoch_steps * PLACES)


def _epoch(curve: Curve, index: int) -> int:
    return int((curve.steps[index] - 1) / (curve.epoch_steps or math.inf))


def border_drops(curve: Curve) -> list[float]:
    """How far the loss falls at each border of epochs, as a share of it, beyond its usual fall."""
    size = curve.epoch_steps or math.inf
    part = max(2, min(20, int(min(size, 1e6) // 5)))
    drops = []
    border = size
    while border + part <= len(curve.losses):
        at = round(border)
        middle = round(border - size / 2)
        before = median(curve.losses[max(0, at - part) : at])
        after = median(curve.losses[at : at + part])
        left = curve.losses[max(0, middle - part) : middle]
        inside = median(left) - median(curve.losses[middle : middle + part]) if left else 0.0
        drops.append((before - after - max(0.0, inside)) / max(before, 1e-9))
        border += size
    return drops


def _around(values: Sequence[float], index: int) -> list[float]:
    """Finite values on both sides, as many before as after: a falling curve then is its median."""
    half = min(LOCAL, index, len(values) - 1 - index)
    near = values[index - half : index + half + 1]
    return [each for each in near if math.isfinite(each)] or [math.inf]
