"""Rules: what can be recognised for certain. Secrets, personal data, a policy's own phrases.

Every pattern matches at most WINDOW characters of the clean view, so that a stream that holds
back as many never shows a part of a match; a secret that goes on after its match is taken out to
its end. Numbers that carry a check digit must have the right one (ISO/IEC 7812 for cards, ISO
13616 for IBANs). Time is linear in the text: a pattern begins at a border or a fixed prefix and
has bounded repeats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from parrotlet.safety.normalise import View

LONGEST_PHRASE = 40  # characters; spaced out it still fits WINDOW


@dataclass(frozen=True)
class Rule:
    """A pattern of a category. `needs`: a text without it cannot match, and is not searched."""

    category: str
    name: str
    pattern: re.Pattern[str]
    needs: str = ""
    holds: Callable[[str], bool] = bool  # of the matched text


def card_number(text: str) -> bool:
    """Whether the digits end in the right check digit (Luhn), and are not all the same."""
    digits = [int(each) for each in text if each.isdigit()]
    doubled = (sum(divmod(2 * each, 10)) for each in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0 and len(set(digits)) > 1


def iban(text: str) -> bool:
    """Whether the number leaves 1 when divided by 97, its first four characters put last."""
    packed = text.replace(" ", "").upper()
    return int("".join(str(int(each, 36)) for each in packed[4:] + packed[:4])) % 97 == 1


def _rule(
    category: str, name: str, pattern: str, needs: str = "", holds: Callable[[str], bool] = bool
) -> Rule:
    return Rule(category, name, re.compile(pattern, re.ASCII), needs, holds)


RULES: Final[Sequence[Rule]] = (
    _rule("private_key", "a private key", r"-----BEGIN (?:[A-Z]{2,9} ){0,3}PRIVATE KEY", "-B"),
    _rule("secret", "an AWS key", r"(?<![A-Z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Z0-9])", "IA"),
    _rule("secret", "a GitHub token", r"gh[pousr]_[A-Za-z0-9]{36}[A-Za-z0-9]*", "gh"),
    _rule("secret", "a Slack token", r"xox[abprs]-[A-Za-z0-9-]{10}[A-Za-z0-9-]*", "xox"),
    _rule("secret", "an API key", r"(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20}[A-Za-z0-9_-]*", "sk-"),
    _rule("secret", "a Google key", r"AIza[A-Za-z0-9_-]{35}", "AIza"),
    _rule(
        "secret", "a web token",
        r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,100}\.eyJ[A-Za-z0-9_.-]*", ".eyJ",
    ),
    _rule(
        "personal", "an e-mail address",
        r"(?<![\w.+-])[\w.+-]{1,40}@(?:[A-Za-z0-9-]{1,20}\.){1,3}[A-Za-z]{2,10}(?![A-Za-z0-9-])",
        "@",
    ),
    _rule(
        "personal", "a telephone number",
        r"(?<![\w+])(?:\+[1-9]\d{0,2}(?:[ .-]?\(?\d{2,4}\)?){2,5}"
        r"|\(?[2-9]\d\d\)?[ .-][2-9]\d\d[ .-]\d{4})(?!\w)",
    ),
    _rule(
        "personal", "a card number", r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])", holds=card_number
    ),
    _rule(
        "personal", "an account number",
        r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
        holds=iban,
    ),
    _rule(
        "personal", "a social security number",
        r"(?<![\d-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])", "-",
    ),
)  # fmt: skip
RULE_CATEGORIES: Final = ("secret", "private_key", "personal")


@dataclass(frozen=True)
class Match:
    """Where a rule matched, in the original text."""

    category: str
    name: str
    span: tuple[int, int]


def matches(view: View, rules: Sequence[Rule]) -> Iterator[Match]:
    """What the rules find in a clean view."""
    for rule in rules:
        if rule.needs in view.text:
            for found in rule.pattern.finditer(view.text):
                if rule.holds(found[0]):
                    yield Match(rule.category, rule.name, view.span(*found.span()))


@dataclass(frozen=True)
class Phrases:
    """A category's own phrases, found in whole words, however they are dressed up."""

    category: str
    pattern: re.Pattern[str]

    @staticmethod
    def of(category: str, phrases: Sequence[str]) -> Phrases:
        """`phrases` are words with single spaces, LONGEST_PHRASE characters at most."""
        spelled = "|".join(re.escape(each.lower()).replace(r"\ ", r"\W{1,3}") for each in phrases)
        return Phrases(category, re.compile(rf"(?<!\w)(?:{spelled})(?!\w)"))

    def matches(self, words: View) -> Iterator[Match]:
        """Where they are in a plain view."""
        for found in self.pattern.finditer(words.text):
            named = f"a phrase of the policy ({self.category})"
            yield Match(self.category, named, words.span(*found.span()))
