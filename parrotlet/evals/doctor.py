"""The doctor: what is wrong with a curve, the evidence, and what to do. Torch-free.

Each rule is a function from a Curve to a Finding or None, and says nothing rather than guess. The
bounds are rules of thumb, tested on made-up curves that must and must not trigger them. That four
readings of the data are about as good as fresh text is Muennighoff et al. 2023 (arXiv 2305.16264).
Not covered: what the model says, which is for samples and evaluations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from parrotlet.evals.band import Band, compare
from parrotlet.evals.curve import Curve, smoothed
from parrotlet.evals.spikes import (
    PLACES,
    border_drops,
    loss_spikes,
    place_of,
    repeating_places,
)

LEAST_STEPS = 20  # fewer say nothing
EPOCHS = 4.0
SLOW = 3.0  # times the median of a step


@dataclass(frozen=True)
class Finding:
    """One thing that is seen in a curve."""

    name: str
    evidence: str
    advice: str

    @property
    def sentence(self) -> str:
        """The evidence, then the advice."""
        return f"{self.evidence}. {self.advice[0].upper()}{self.advice[1:]}."


Rule = Callable[[Curve, Band | None], Finding | None]


def skipped(curve: Curve, band: Band | None) -> Finding | None:
    """Steps whose gradient was not finite, or whose loss was not."""
    bad = [
        record["step"]
        for record in curve.records
        if record.get("skipped") or not math.isfinite(record["loss"])
    ]
    if not bad:
        return None
    return Finding(
        "skipped steps",
        f"{len(bad)} of {len(curve.records)} steps had no finite gradient and changed nothing, the "
        f"first at step {bad[0]}",
        "one or two do no harm; if they go on, halve the learning rates, or use --dtype float32",
    )


def diverging(curve: Curve, band: Band | None) -> Finding | None:
    """The loss rises again and stays up."""
    smooth = smoothed(curve.losses, max(5, curve.window))
    settled = range(min(5, len(smooth) - 1), len(smooth))
    best = min(settled, key=lambda index: _or_infinity(smooth[index]))
    low, now = smooth[best], smooth[-1]
    recent = [each for each in curve.losses[-10:] if math.isfinite(each)]
    high = min(recent, default=math.inf)  # not one of the last steps was nearly as good
    if not math.isfinite(low) or now <= low * 1.15 + 0.05 or high <= low * 1.05:
        return None
    return Finding(
        "diverging",
        f"the loss was {low:.3f} at step {curve.steps[best]} and is {now:.3f} at step "
        f"{curve.steps[-1]}",
        "stop it; start again with half the learning rates (--matrix-lr, --embedding-lr) or with "
        "--clip 1.0; if it began at one step, look at the text there with --show-batch",
    )


def rate_too_high(curve: Curve, band: Band | None) -> Finding | None:
    """Spikes all over the run, or a gradient norm that grows and grows."""
    places = {each for each, _ in repeating_places(curve)}
    spikes = [index for index in loss_spikes(curve) if place_of(curve, index) not in places]
    norms = [each for each in curve.column("gradient_norm") if math.isfinite(each)]
    quarter = len(norms) // 4
    grown = 1.0
    if quarter >= 5:
        grown = median(norms[-quarter:]) / max(median(norms[quarter : 2 * quarter]), 1e-12)
    many = len(spikes) >= max(3, len(curve.losses) // 200)
    if not many and grown <= 4.0:
        return None
    seen = []
    if many:
        first = ", ".join(str(curve.steps[index]) for index in spikes[:4])
        seen.append(f"the loss jumps up in {len(spikes)} steps (among them {first})")
    if grown > 4.0:
        seen.append(f"the gradient norm has grown {grown:.1f}-fold since the first half")
    return Finding(
        "learning rate too high",
        " and ".join(seen),
        "try half the learning rates (--matrix-lr, --embedding-lr), a longer --warmup-steps, or "
        "--clip 1.0",
    )


def rate_too_low(curve: Curve, band: Band | None) -> Finding | None:
    """The loss hardly falls, though nothing shakes it."""
    falls = _fall(curve.smooth)
    verdict = compare(curve, band)
    advice = "try twice the learning rates (--matrix-lr, --embedding-lr), then twice again"
    if band is not None and verdict is not None:
        first = sum(band.at(0.0)) / 2
        usual = first - (verdict.low + verdict.high) / 2
        mine = first - verdict.loss
        if verdict.word == "worse" and -0.05 * first < mine < 0.6 * usual:
            return Finding(
                "learning rate too low",
                f"the loss has fallen by {mine:.3f} by step {verdict.step}, where runs of the "
                f"recipe fall by {usual:.3f}",
                advice,
            )
        return None
    early = len(curve.losses) < max(100, 0.2 * curve.total)
    if early or diverging(curve, band) or curve.verb != "pretrain" or not 0 <= falls < 0.1:
        return None
    return Finding(
        "learning rate too low",
        f"in {curve.steps[-1]} steps the loss has gone from {_first(curve.smooth):.3f} to "
        f"{curve.smooth[-1]:.3f}, a tenth or less",
        advice,
    )


def overfitting(curve: Curve, band: Band | None) -> Finding | None:
    """Validation rises while training falls."""
    points = [each for each in curve.validation if math.isfinite(each[1])]
    if len(points) < 4:
        return None
    best = min(range(len(points)), key=lambda index: points[index][1])
    (best_step, low), (last_step, now) = points[best], points[-1]
    if len(points) - 1 - best < 2 or now < low * 1.01 + 0.005:
        return None
    then = curve.smooth[curve.steps.index(best_step)]
    if curve.smooth[-1] >= then:
        return None
    return Finding(
        "overfitting",
        f"validation loss was lowest at step {best_step} ({low:.3f}) and is {now:.3f} at step "
        f"{last_step}, while the training loss fell from {then:.3f} to {curve.smooth[-1]:.3f}",
        f"train for about {best_step} steps (--steps {best_step}), on more text, or a smaller "
        "model (--depth)",
    )


def repeating(curve: Curve, band: Band | None) -> Finding | None:
    """The same data over and over: many epochs, or a loss that drops at every epoch's border."""
    if not curve.epoch_steps:
        return None
    epochs = curve.steps[-1] / curve.epoch_steps
    drops = border_drops(curve)
    saw = len(drops) >= 2 and min(drops) > 0.02
    if epochs <= EPOCHS and not saw:
        return None
    evidence = f"the data has been read {epochs:.1f} times"
    if saw:
        evidence += (
            f"; at each of {len(drops)} epoch borders the loss drops, by {median(drops):.0%} in "
            "the middle: the model has learned rows by heart"
        )
    return Finding(
        "data repeating",
        evidence,
        "after about four readings more steps teach little: add text, or train for fewer steps or "
        "a smaller model",
    )


def bad_shard(curve: Curve, band: Band | None) -> Finding | None:
    """The loss jumps at the same place of every epoch."""
    places = repeating_places(curve)
    if not places or curve.epoch_steps is None:
        return None
    place, epochs = places[0]
    step = round(place / PLACES * curve.epoch_steps)
    return Finding(
        "a bad shard",
        f"the loss jumps at the same place in {epochs} epochs: about step {step} of the "
        f"{curve.epoch_steps:.0f} that read the data once ({place / PLACES:.0%} of it)",
        "look at the text there for binary rubbish, another language or one line repeated, and "
        "leave it out",
    )


def slow_steps(curve: Curve, band: Band | None) -> Finding | None:
    """Steps that take far longer than the others: a loader that stalls, or a busy machine."""
    laps = curve.column("lap")[2:]  # the first ones compile and allocate
    usual = median(laps)
    slow = [each for each in laps if each > SLOW * usual]
    lost = sum(slow) - usual * len(slow)
    if len(slow) < 3 or lost < 0.1 * sum(laps):
        return None
    return Finding(
        "a stalled loader or a busy machine",
        f"{len(slow)} of {len(laps)} steps took more than {SLOW:g} times the usual {usual:.3f} s; "
        f"they cost {lost:.1f} s of {sum(laps):.1f} s",
        "close other programs; put --runs on a local disk; if the steps are evenly spaced, "
        "something else runs at that rhythm",
    )


def slowing(curve: Curve, band: Band | None) -> Finding | None:
    """Steps that become slower and stay so."""
    laps = curve.column("lap")[2:]
    quarter = len(laps) // 4
    if quarter < 10:
        return None
    before, now = median(laps[:quarter]), median(laps[-quarter:])
    if now < 1.5 * before:
        return None
    return Finding(
        "slowing down",
        f"a step took {before:.3f} s at first and takes {now:.3f} s now",
        "another program started, or the machine is hot and runs slower: the result is the same, "
        "only later",
    )


OF_ANY = ("skipped", "slow_steps", "slowing")  # the rest are about a loss that is to fall
RULES: dict[str, Rule] = {
    "diverging": diverging,
    "skipped": skipped,
    "rate_too_high": rate_too_high,
    "rate_too_low": rate_too_low,
    "overfitting": overfitting,
    "repeating": repeating,
    "bad_shard": bad_shard,
    "slow_steps": slow_steps,
    "slowing": slowing,
}


def examine(curve: Curve, band: Band | None = None) -> list[Finding]:
    """Everything the rules see; nothing where the run is too short to say."""
    if len(curve.records) < LEAST_STEPS:
        return []
    rules = RULES if curve.measure == "loss" else {name: RULES[name] for name in OF_ANY}
    found = [rule(curve, band) for rule in rules.values()]
    return [each for each in found if each is not None]


def summary(curve: Curve, band: Band | None = None) -> str:
    """One sentence on how far the run is and where its loss stands."""
    text = (
        f"step {curve.steps[-1]:,} of {curve.total:,}, "
        f"{curve.measure} {_first(curve.smooth):.3f} to {curve.smooth[-1]:.3f}"
    )
    if curve.validation:
        text += f", validation loss {curve.validation[-1][1]:.3f}"
    verdict = compare(curve, band)
    return text + (f"; {verdict}" if verdict else "")


def _or_infinity(value: float) -> float:
    return value if math.isfinite(value) else math.inf


def _first(values: Sequence[float]) -> float:
    return next((each for each in values if math.isfinite(each)), math.nan)


def _fall(smooth: Sequence[float]) -> float:
    """The share by which the loss has fallen, to its lowest."""
    first = _first(smooth)
    return (first - min(map(_or_infinity, smooth))) / first if first else 0.0
