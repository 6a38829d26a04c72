"""What to try next after a demo, derived from its results: weak abilities, curves, the text."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from parrotlet.evals.band import band_of_curve
from parrotlet.evals.curve import Curve
from parrotlet.evals.doctor import examine

OF_THE_MACHINE = ("slowing down", "a stalled loader or a busy machine")  # change no result
GOOD = 0.9  # an ability whose interval reaches this is left alone
MOST = 3  # weak abilities that are named
FALLING = 0.01  # of the validation loss, in the last fifth of a stage
TITLES: Mapping[str, str] = {
    "identity": "Says who it is",
    "fact": "Facts, asked in new words",
    "fact_documents": "Facts only read about",
    "recall_name": "Recalls your name",
    "recall_word": "Recalls a word you said",
    "recall_two": "Recalls one of two things",
    "system": "Obeys a system prompt",
    "system_pair": "Obeys two orders at once",
    "reading": "Answers from a passage",
    "calculator": "Sums with the calculator",
    "sum_tale": "Sums told as a tale",
    "counting": "Counts letters",
    "spelling": "Spells words",
    "unknown": "Says it does not know",
    "refusal": "Refuses what does harm",
    "refusal_verb": "Refuses by new verbs",
    "neighbour": "Helps where it looks alike",
    "story": "Tells a story",
    "smalltalk": "Small talk",
}
READ_MORE = "facts and stories come from reading: give pretraining more time"
TALK_MORE = (
    "copying words it has never seen is learned late, from many different conversations: give "
    "fine-tuning more time, or the model more width"
)
LETTERS = "letters are hidden inside tokens: a smaller vocabulary shows more of them"
JUDGEMENT = "it depends on having seen many ways of asking: give fine-tuning more time"
KNOBS: Mapping[str, str] = {
    "fact": READ_MORE,
    "fact_documents": READ_MORE,
    "story": READ_MORE,
    "recall_name": TALK_MORE,
    "recall_word": TALK_MORE,
    "recall_two": TALK_MORE,
    "reading": TALK_MORE,
    "system": TALK_MORE,
    "system_pair": TALK_MORE,
    "counting": LETTERS,
    "spelling": LETTERS,
}


def title_of(ability: str) -> str:
    """An ability as a reader knows it."""
    return TITLES.get(ability, ability.replace("_", " ").capitalize())


def suggestions(
    config: Mapping[str, Any], abilities: Mapping[str, Mapping[str, Any]], curves: Sequence[Curve]
) -> list[str]:
    """Sentences, the most useful first. `config` is the demo's, as in its recipe.json."""
    found = [
        f"{each.name} in {curve.name}: {each.sentence}{_whose(each.sentence, curve)}"
        for curve in curves
        for each in examine(curve, band_of_curve(curve))
        if each.name not in OF_THE_MACHINE
    ]
    minutes = sum((curve.config or {}).get("budget", {}).get("minutes") or 0 for curve in curves)
    falling = [each for each in map(_still_falling, curves) if each]
    if falling:
        asked = ["parrotlet demo", *_own(config), f"--minutes {2 * minutes:.3g} --name longer"]
        more = " ".join(asked) if minutes else ""
        what = f": {more}" if more else " (--steps, --minutes)"
        where = " and ".join(falling)
        found.append(
            f"the validation loss was still falling at the end of {where}, so it is not done "
            f"learning; train longer{what}"
        )
    found += _weak(abilities)
    if not config.get("data"):
        found.append("let it read your own text: parrotlet demo --data FOLDER --name mine")
    return found


def _whose(sentence: str, curve: Curve) -> str:
    """Which command takes the flags that are named: a demo takes its recipe's values."""
    return f" (flags of `parrotlet {curve.verb}`, not of demo)" if "--" in sentence else ""


def _own(config: Mapping[str, Any]) -> list[str]:
    """The flags of a demo on a person's files that are needed to read the same ones again."""
    files = [shlex.quote(str(each)) for each in config.get("data") or ()]
    flags = ["--data", *files] if files else []
    for name in ("column", "vocab_size"):
        if config.get(name) is not None:
            flags += [f"--{name.replace('_', '-')}", shlex.quote(str(config[name]))]
    return flags


def _still_falling(curve: Curve) -> str:
    """Whether the validation loss fell to the end, in words; "" where it did not."""
    points = curve.validation
    if len(points) < 5:
        return ""
    before = next(loss for step, loss in reversed(points) if step <= 0.8 * points[-1][0])
    now = points[-1][1]
    if now > before * (1 - FALLING):
        return ""
    return f"{curve.name} ({before:.3f} to {now:.3f})"


def _weak(abilities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The weakest abilities, those with the same remedy in one sentence."""
    weak = sorted(
        (score["rate"], name) for name, score in abilities.items() if score["high"] < GOOD
    )[:MOST]
    remedies: dict[str, list[str]] = {}
    for rate, name in weak:
        remedy = KNOBS.get(name, JUDGEMENT)
        remedies.setdefault(remedy, []).append(f"“{title_of(name)}” ({rate:.0%})")
    return [f"weak in {', '.join(names)}: {remedy}" for remedy, names in remedies.items()]
