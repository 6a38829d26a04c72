"""Policy: which categories there are, what is done about each, from which score on, in which words.

A TOML file with a version. Everything in it is checked when it is read, so that a slip stops a
program at its start and never shows as a filter that does nothing.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from parrotlet.core.errors import UsageError
from parrotlet.safety.filter import DIRECTIONS, SEVERITY, Action, Direction
from parrotlet.safety.rules import LONGEST_PHRASE, RULE_CATEGORIES

VERSION = 1
DEFAULT = Path(__file__).parent / "policy.toml"
TEXTS = ("refuse", "redact", "withhold")
MOST_PHRASES = 1_000
WORDS = {  # of categories, where their names are no words for people
    "illicit": "something illegal",
    "cyber": "an attack on computers",
    "sexual": "sex",
    "privacy": "the private life of others",
    "child_abuse": "child abuse",
    "self_harm": "self-harm",
}


def in_words(category: str) -> str:
    """A category, for people."""
    return WORDS.get(category, category.replace("_", " "))


@dataclass(frozen=True, kw_only=True)
class Category:
    """What a policy says of one category. A direction without an action is allowed."""

    name: str
    action: Mapping[Direction, Action]
    limit: Mapping[Direction, float]  # of the classifier's score; none for exact rules
    phrases: tuple[str, ...] = ()
    refuse: str = ""  # the refusal's own text; "" for the policy's


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy that was read and checked. `digest` is the start of its file's hash."""

    categories: tuple[Category, ...]
    texts: Mapping[str, str]
    digest: str

    def text(self, kind: str, category: str) -> str:
        """What to say: "refuse", "redact" or "withhold", for a category."""
        own = next((each.refuse for each in self.categories if each.name == category), "")
        if kind == "refuse" and own:
            return own
        return self.texts[kind].replace("{category}", category.replace("_", " "))


def read_policy(path: Path, classified: Sequence[str]) -> Policy:
    """The policy in a file; UsageError, in one sentence, where anything in it cannot be meant.

    `classified`: the categories of the classifier that will be used.
    """
    try:
        data = path.read_bytes()
        read = tomllib.loads(data.decode("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"the policy {path} cannot be read: {error}") from error
    return _Reader(str(path), classified).policy(read, hashlib.sha256(data).hexdigest()[:12])


class _Reader:
    """Turns TOML into a Policy; every slip is told with its place in the file."""

    def __init__(self, path: str, classified: Sequence[str]) -> None:
        self.path = path
        self.known = (*classified, *RULE_CATEGORIES)
        self.classified = frozenset(classified)

    def slip(self, what: str) -> UsageError:
        return UsageError(f"the policy {self.path} cannot be used: {what}")

    def policy(self, read: Mapping[str, Any], digest: str) -> Policy:
        self.keys(read, ("version", "texts", "categories"), "at the top")
        if read.get("version") != VERSION:
            raise self.slip(f"its version is {read.get('version')!r}; this one reads {VERSION}")
        texts = self.table(read, "texts", "")
        self.keys(texts, TEXTS, "in [texts]")
        for name in TEXTS:
            self.text(texts.get(name), f"texts.{name}")
        categories = self.table(read, "categories", "")
        self.keys(categories, self.known, "in [categories]", "category")
        made = tuple(
            self.category(name, self.table(categories, name, "categories.")) for name in categories
        )
        return Policy(categories=made, texts=texts, digest=digest)

    def category(self, name: str, read: Mapping[str, Any]) -> Category:
        where = f"categories.{name}"
        self.keys(read, ("action", "limit", "phrases", "refuse"), f"in [{where}]")
        actions = self.table(read, "action", f"{where}.")
        limits = self.table(read, "limit", f"{where}.") if "limit" in read else {}
        for given, label in ((actions, "action"), (limits, "limit")):
            self.keys(given, DIRECTIONS, f"in {where}.{label}", "direction")
        for direction, action in actions.items():
            self.action(name, direction, action, limits)
        for direction, limit in limits.items():
            if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= 1:
                raise self.slip(
                    f"{where}.limit.{direction} is {limit!r}; it must be above 0 and at most 1"
                )
        if limits and name not in self.classified:
            raise self.slip(f"{where} is an exact rule and has no limit; take it out")
        refuse = self.text(read["refuse"], f"{where}.refuse") if "refuse" in read else ""
        phrases = self.phrases(read.get("phrases", []), f"{where}.phrases")
        checked = cast(Mapping[Direction, Action], actions)
        limited = cast(Mapping[Direction, float], limits)
        return Category(name=name, action=checked, limit=limited, phrases=phrases, refuse=refuse)

    def action(self, name: str, direction: str, action: Any, limits: Mapping[str, Any]) -> None:
        where = f"categories.{name}.action.{direction}"
        if action not in SEVERITY:
            raise self.slip(f"{where} is {action!r}; it must be one of {', '.join(SEVERITY)}")
        if name in self.classified and action == "redact":
            raise self.slip(f"{where} is 'redact', but {name} is judged on whole texts; use refuse")
        if name in self.classified and action != "allow" and direction not in limits:
            raise self.slip(f"{where} needs categories.{name}.limit.{direction}, from 0 to 1")

    def phrases(self, given: Any, where: str) -> tuple[str, ...]:
        if not isinstance(given, list) or len(given) > MOST_PHRASES:
            raise self.slip(f"{where} must be a list of at most {MOST_PHRASES} texts")
        for each in given:
            if not isinstance(each, str) or not 2 <= len(each.strip()) <= LONGEST_PHRASE:
                raise self.slip(
                    f"{where} has {each!r}; a phrase has 2 to {LONGEST_PHRASE} characters"
                )
        return tuple(" ".join(each.split()) for each in given)

    def table(self, read: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
        found = read.get(name)
        if not isinstance(found, dict):
            raise self.slip(f"[{where}{name}] is missing or is no table")
        return found

    def text(self, given: Any, where: str) -> str:
        if not isinstance(given, str) or not given.strip():
            raise self.slip(f"{where} is {given!r}; it must be a text")
        return given

    def keys(
        self, read: Mapping[str, Any], known: Sequence[str], where: str, what: str = "setting"
    ) -> None:
        for name in read:
            if name not in known:
                raise self.slip(f"{name!r} {where} is no {what}; there are {', '.join(known)}")
