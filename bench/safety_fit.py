"""Fit: labelled texts to a classifier. Numpy alone; a minute or two on one core.

Harm against harmless: logistic regression with an L2 penalty, both sides weighing the same,
minimised by L-BFGS (Nocedal and Wright, "Numerical Optimization", algorithms 7.4 and 7.5). The
kind: naive Bayes over the harmful texts whose kind is known. The limit is set so that a given
share of harmless texts that were not learned from is flagged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save
from safety_apart import place_of
from safety_texts import BENIGN, Labelled

from parrotlet.core.rundir import write_file
from parrotlet.safety.classifier import FORMAT, STRETCH, Classifier
from parrotlet.safety.features import BUCKETS, features

PENALTY = 0.5
STEPS = 60
MEMORY = 8  # pairs of L-BFGS
FALSE_ALARMS = 0.01  # of the calibration texts
CHUNKS = 3  # stretches of a long harmless text that are learned from

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Sparse rows: the values at `columns`, row i from bounds[i] to bounds[i + 1]."""

    columns: NDArray[np.int32]
    values: NDArray[np.float32]
    bounds: NDArray[np.int64]

    def times(self, weights: Vector) -> Vector:
        """Each row's product with the weights. Shape [rows]."""
        sums = np.concatenate([[0.0], np.cumsum(weights[self.columns] * self.values)])
        return np.asarray(sums[self.bounds[1:]] - sums[self.bounds[:-1]])

    def across(self, scales: Vector) -> Vector:
        """The sum of the rows, each times its scale. Shape [BUCKETS]."""
        each = np.repeat(scales, np.diff(self.bounds))
        return np.bincount(self.columns, each * self.values, BUCKETS).astype(np.float64)


def rows_of(texts: Sequence[str]) -> Rows:
    """The features of texts, scaled as the classifier scales them."""
    columns, values, sizes = [], [], []
    for text in texts:
        found = features(text)
        kinds = [each.buckets for each in (found.words, found.characters) if len(each.buckets)]
        columns += [each.astype(np.int32) for each in kinds]
        values += [np.full(len(each), len(each) ** -0.5, np.float32) for each in kinds]
        sizes.append(sum(map(len, kinds)))
    bounds = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return Rows(np.concatenate(columns), np.concatenate(values), bounds)


def stretches(texts: Sequence[Labelled]) -> list[Labelled]:
    """Long texts cut as the classifier will read them."""
    return [
        Labelled(each.text[at : at + STRETCH], each.category)
        for each in texts
        for at in range(0, min(len(each.text), CHUNKS * STRETCH), STRETCH)
    ]


def fit(
    training: Sequence[Labelled], calibration: Sequence[str], card: Mapping[str, Any]
) -> Classifier:
    """The classifier of some texts; `card` is what its file should say beside the settings."""
    cut = stretches(training)
    harmful = np.array([each.category != BENIGN for each in cut])
    rows = rows_of([each.text for each in cut])
    weights, bias = regression(rows, harmful)
    categories = tuple(sorted({each.category for each in cut} - {BENIGN, ""}))
    kinds, scales = bayes(rows, [each.category for each in cut], categories)
    harm = weights.astype(np.float16).astype(np.float32)
    raw = Classifier(harm, bias, kinds, scales, categories, {})
    logits = np.array([raw.logit(text) for text in calibration])
    limit = float(np.quantile(logits, 1 - FALSE_ALARMS, method="higher"))
    settings = {
        "format": FORMAT,
        "categories": categories,
        "bias": bias - limit,
        "penalty": PENALTY,
        "false alarms the limit was set for": FALSE_ALARMS,
        "texts": {"harmful": int(harmful.sum()), "harmless": int((~harmful).sum())},
        "learned from": digest(training),
    }
    return Classifier(harm, bias - limit, kinds, scales, categories, {**card, **settings})


def digest(training: Sequence[Labelled]) -> str:
    """A hash of all that was learned from, whatever its order."""
    lines = sorted(f"{place_of(each.text)} {each.category}" for each in training)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write(classifier: Classifier, path: Path) -> None:
    """Save as safetensors, the card in its metadata."""
    harm, kinds = classifier.harm.astype(np.float16), classifier.kinds
    arrays: dict[str, NDArray[Any]] = {"harm": harm, "kinds": kinds, "scales": classifier.scales}
    write_file(path, save(arrays, {"parrotlet": json.dumps(classifier.card)}))


def regression(rows: Rows, positive: NDArray[np.bool_]) -> tuple[Vector, float]:
    """(weights, bias) of a logistic regression in which both classes weigh the same."""
    target = positive.astype(float)
    share = np.where(positive, (~positive).sum() / max(positive.sum(), 1) / 2, 1.0)

    def loss(point: Vector) -> tuple[float, Vector]:
        logits = rows.times(point[:-1]) + point[-1]
        signed = np.where(positive, logits, -logits)
        value = share @ np.logaddexp(0, -signed) + PENALTY / 2 * (point[:-1] @ point[:-1])
        error = share * (1 / (1 + np.exp(-logits)) - target)
        slope = rows.across(error) + PENALTY * point[:-1]
        return float(value), np.append(slope, error.sum())

    point = minimise(loss, np.zeros(BUCKETS + 1))
    return point[:-1], float(point[-1])


def minimise(loss: Callable[[Vector], tuple[float, Vector]], point: Vector) -> Vector:
    """L-BFGS with a backtracking line search, up to STEPS steps."""
    value, slope = loss(point)
    pairs: list[tuple[Vector, Vector]] = []
    for _ in range(STEPS):
        way = -_scaled(slope, pairs)
        size = 1.0 if pairs else float(1 / np.linalg.norm(slope))
        after, turned = loss(point + size * way)
        while after > value + 1e-4 * size * (slope @ way) and size > 1e-9:
            size /= 2
            after, turned = loss(point + size * way)
        step, bend = size * way, turned - slope
        if step @ bend > 1e-12:
            pairs = [*pairs, (step, bend)][-MEMORY:]
        done = abs(value - after) <= 1e-5 * abs(value)
        point, value, slope = point + step, after, turned
        if done:
            break
    return point


def _scaled(slope: Vector, pairs: Sequence[tuple[Vector, Vector]]) -> Vector:
    """The inverse Hessian that the pairs suggest, times the slope: the two loops of L-BFGS."""
    way = slope.copy()
    shares = []
    for step, bend in reversed(pairs):
        shares.append((step @ way) / (step @ bend))
        way -= shares[-1] * bend
    if pairs:
        step, bend = pairs[-1]
        way *= (step @ bend) / (bend @ bend)
    for (step, bend), share in zip(pairs, reversed(shares), strict=True):
        way += (share - (bend @ way) / (step @ bend)) * step
    return way


def bayes(
    rows: Rows, labels: Sequence[str], categories: Sequence[str]
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Log-odds of every bucket by category, in 8 bits, with the scale of each column."""
    names = np.array(labels)
    counts = np.stack([rows.across((names == each).astype(float)) for each in categories], 1)
    smooth = counts + counts.sum() / counts.size
    odds = np.log(smooth / smooth.sum(0))
    odds -= odds.mean(1, keepdims=True)
    scales = np.abs(odds).max(0) / 127
    return np.round(odds / scales).astype(np.int8), (scales * 0.1).astype(np.float32)
