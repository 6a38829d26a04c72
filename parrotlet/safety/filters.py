"""Filters: all that a policy asks for, in every direction, as one object. The way in to safety/.

text -> clean view -> rules, phrases -> classifier -> allow, warn, redact, refuse or end
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from parrotlet.core.errors import UsageError
from parrotlet.safety.classifier import Classifier
from parrotlet.safety.config import SafetyConfig
from parrotlet.safety.filter import WINDOW, Action, Direction, Filter, Verdict, chain, worse
from parrotlet.safety.normalise import clean, plain
from parrotlet.safety.policy import DEFAULT, VERSION, Policy, in_words, read_policy
from parrotlet.safety.rules import RULES, Phrases, Rule, matches
from parrotlet.safety.stream import OutputStream
from parrotlet.text.chat import Message

SAID: Mapping[Direction, str] = {
    "input": "the message",
    "output": "the reply",
    "tool": "the result",
}


@dataclass(frozen=True)
class Moderation:
    """What a text looks like. Scores are from 0 to 1; exact rules give 0 or 1."""

    flagged: bool
    categories: Mapping[str, bool]  # whether the policy would do something about it, as an input
    scores: Mapping[str, float]


@dataclass(frozen=True)
class ExactFilter:
    """The rules and phrases of a policy that mean something in one direction."""

    direction: Direction
    rules: Sequence[Rule]
    phrases: Sequence[Phrases]
    actions: Mapping[str, Action]

    @property
    def span(self) -> int:
        """WINDOW where there is anything to look for."""
        return WINDOW if self.rules or self.phrases else 0

    def check(self, text: str, context: Sequence[Message]) -> Verdict:
        """The gravest match, with the spans of all that are to be taken out."""
        view = clean(text)
        found = [*matches(view, self.rules)]
        words = plain(view) if self.phrases else view
        for each in self.phrases:
            found += each.matches(words)
        worst = Verdict("allow", direction=self.direction)
        for match in found:
            reason = f"{SAID[self.direction]} holds {match.name}"
            action = self.actions[match.category]
            worst = worse(worst, Verdict(action, match.category, 1.0, reason, self.direction))
        spans = tuple(each.span for each in found if self.actions[each.category] == "redact")
        return replace(worst, spans=spans)


SHORTEST = 18  # characters; less is too little for n-grams to say anything: "Why not?"


@dataclass(frozen=True)
class ClassifierFilter:
    """The classifier, with a policy's limits and actions in one direction."""

    direction: Direction
    classifier: Classifier
    limits: Mapping[str, float]
    actions: Mapping[str, Action]
    span: int = 0

    def check(self, text: str, context: Sequence[Message]) -> Verdict:
        """The gravest category whose score reaches its limit."""
        worst = Verdict("allow", direction=self.direction)
        if not self.limits or len(text.strip()) < SHORTEST:
            return worst
        for name, score in self.classifier.scores(text).items():
            if name in self.limits and score >= self.limits[name]:
                reason = f"{SAID[self.direction]} seems to be about {in_words(name)}"
                verdict = Verdict(self.actions[name], name, score, reason, self.direction)
                worst = worse(worst, verdict)
        return worst


class Filters:
    """The filters of a policy; `more` are a person's own, asked about outputs and inputs alike."""

    def __init__(self, policy: Policy, classifier: Classifier, more: Sequence[Filter] = ()) -> None:
        self.policy = policy
        self.classifier = classifier
        self.categories = tuple(each.name for each in policy.categories)
        self.version = f"{VERSION}-{policy.digest}"
        self._phrases = [
            Phrases.of(each.name, each.phrases) for each in policy.categories if each.phrases
        ]
        self._filters: dict[Direction, tuple[Filter, ...]] = {
            direction: (*self._made(direction), *more) for direction in ("input", "output", "tool")
        }

    def check(self, direction: Direction, text: str, context: Sequence[Message] = ()) -> Verdict:
        """The verdict on a whole text, said after `context`."""
        verdict = chain(self._filters[direction], text, context)
        return replace(verdict, direction=direction)

    def screen(
        self, direction: Direction, text: str, context: Sequence[Message] = ()
    ) -> tuple[str, Verdict]:
        """The text as it may be passed on, redacted or replaced where need be, and why."""
        verdict = self.check(direction, text, context)
        if verdict.stops:
            kind = "withhold" if direction == "tool" else "refuse"
            silent = verdict.action == "end" and direction != "tool"
            return "" if silent else self.policy.text(kind, verdict.category), verdict
        return self._redacted(text, verdict), verdict

    def stream(self, context: Sequence[Message] = ()) -> OutputStream:
        """A judge of one reply while it is written."""
        return OutputStream(self._filters["output"], context, self.policy.text)

    def moderate(self, text: str) -> Moderation:
        """Every category's score, and whether the policy would act on it as an input."""
        view = clean(text)
        exact = {each.category for each in matches(view, RULES)}
        words = plain(view)
        exact |= {each.category for phrases in self._phrases for each in phrases.matches(words)}
        found = self.classifier.scores(text)
        scores = {name: 1.0 if name in exact else found.get(name, 0.0) for name in self.categories}
        flags = {
            each.name: each.action.get("input", "allow") != "allow"
            and scores[each.name] >= each.limit.get("input", 1.0)
            for each in self.policy.categories
        }
        return Moderation(any(flags.values()), flags, scores)

    def _made(self, direction: Direction) -> tuple[Filter, ...]:
        active = [
            each for each in self.policy.categories
            if each.action.get(direction, "allow") != "allow"
        ]  # fmt: skip
        actions = {each.name: each.action[direction] for each in active}
        rules = [each for each in RULES if each.category in actions]
        phrases = [each for each in self._phrases if each.category in actions]
        limits = {each.name: each.limit[direction] for each in active if direction in each.limit}
        return (
            ExactFilter(direction, rules, phrases, actions),
            ClassifierFilter(direction, self.classifier, limits, actions),
        )

    def _redacted(self, text: str, verdict: Verdict) -> str:
        mark = self.policy.text("redact", verdict.category)
        shown, end = "", 0
        for start, stop in verdict.spans:
            if start >= end:
                shown += text[end:start] + mark
            end = max(end, stop)
        return shown + text[end:]


def filters_for(config: SafetyConfig, api_url: str | None = None) -> Filters | None:
    """The filters that a person asked for; none where a server answers, which has its own.

    UsageError for flags that contradict one another.
    """
    if api_url is not None:
        if config != SafetyConfig():
            raise UsageError("the server's own filters count: leave out --policy and --no-filter")
        return None
    if config.filter:
        return load_filters(config.policy)
    if config.policy is not None:
        raise UsageError(f"--policy {config.policy} beside --no-filter: leave one of them out")
    return None


def load_filters(path: Path | None = None, more: Sequence[Filter] = ()) -> Filters:
    """The filters of the policy in a file, or of the default one.

    UsageError where the policy cannot be used, DataError where the classifier is damaged.
    """
    classifier = Classifier.load()
    return Filters(read_policy(path or DEFAULT, classifier.categories), classifier, more)
