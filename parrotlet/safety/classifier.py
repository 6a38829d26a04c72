"""Classifier: how much a text looks like harm, and like which kind. Linear, without torch.

The score is the logistic function of the weights met, added up and divided by the root of their
number, for words and characters apart, minus the limit that was set on harmless texts in
training: 0.5 is where those begin to be flagged. A long text is read in overlapping stretches,
and its score is that of its worst. The kind is judged on that stretch, by one more row of weights
a category.

It knows words and their neighbours, and nothing of who asks or why.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from parrotlet.core.errors import DataError
from parrotlet.safety.features import BUCKETS, Features, Grams, features

FORMAT = 1
FILE = Path(__file__).parent / "classifier.safetensors"
STRETCH, STEP = 300, 150  # characters of a stretch, and between the starts of two
HARM = "harm"  # the name of the score that is no category's

Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Classifier:
    """`harm` has shape [BUCKETS], `kinds` [BUCKETS, categories]; `bias` is added to the sum."""

    harm: Weights
    bias: float
    kinds: NDArray[np.int8]
    scales: Weights
    categories: tuple[str, ...]
    card: Mapping[str, Any]

    @staticmethod
    def load(path: Path = FILE) -> Classifier:
        """Read a file that `save` wrote; DataError where it is none."""
        try:
            with safe_open(path, "numpy") as file:
                card = json.loads((file.metadata() or {})["parrotlet"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if card["format"] != FORMAT or arrays["harm"].shape != (BUCKETS,):
                raise KeyError("format")
            return Classifier(
                arrays["harm"].astype(np.float32),
                float(card["bias"]),
                arrays["kinds"],
                arrays["scales"].astype(np.float32),
                tuple(card["categories"]),
                card,
            )
        except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
            raise DataError(
                f"{path} is no classifier of this version ({error}); "
                "install parrotlet again, or train one with bench/safety.py"
            ) from error

    def scores(self, text: str) -> dict[str, float]:
        """The score of every category, each from 0 to 1; the highest is the text's score."""
        found = features(text)
        logits, starts = self._stretches(found)
        worst = int(np.argmax(logits))
        harm = 1 / (1 + np.exp(-np.clip(logits[worst], -50, 50)))
        start, end = starts[worst], starts[worst] + STRETCH if len(starts) > 1 else found.length
        kinds = sum(
            self.kinds[_within(grams, start, end)].sum(0, dtype=np.int64) * self.scales
            for grams in (found.words, found.characters)
        )
        share = np.exp(kinds - np.max(kinds))
        return {name: float(harm * part) for name, part in zip(self.categories, share, strict=True)}

    def logit(self, text: str) -> float:
        """The score of the text before the logistic function."""
        return float(self._stretches(features(text))[0].max())

    def _stretches(self, found: Features) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """(logit of every stretch, where it starts)."""
        last = found.length - STRETCH
        starts = np.append(np.arange(0, last, STEP), max(last, 0))
        ends = starts + STRETCH
        parts = (
            _means(grams, self.harm, found.length, starts, ends)
            for grams in (found.words, found.characters)
        )
        return sum(parts, np.full(len(starts), self.bias)), starts


def _within(grams: Grams, start: int, end: int) -> NDArray[np.int64]:
    """The buckets of the n-grams of one stretch."""
    return grams.buckets[(grams.places >= start) & (grams.places < end)]


def _means(
    grams: Grams, weights: Weights, length: int, starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Of every stretch: the weights of its n-grams, over the root of their number."""
    met = np.bincount(grams.places, weights[grams.buckets], length + 1)
    sums = np.concatenate([[0.0], np.cumsum(met)])
    counts = np.concatenate([[0], np.cumsum(np.bincount(grams.places, minlength=length + 1))])
    ends = np.minimum(ends, length + 1)
    number = counts[ends] - counts[starts]
    return np.asarray((sums[ends] - sums[starts]) / np.sqrt(np.maximum(number, 1)))
