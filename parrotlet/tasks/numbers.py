"""Numbers in a text, as graders see them: exact values, in the order they are written."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(
    r"""(?<![\w.,])     # not inside a word or another number
    (?: [0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)? | [0-9]+(?:\.[0-9]+)? | \.[0-9]+ )
    (?!\w|[.,][0-9])    # nor going on as one
    """,
    re.VERBOSE,
)


def numbers_in(text: str) -> list[Fraction]:
    """Every number of `text`: 1,234 and 1234 are the same, and so are 2.50 and 2.5.

    A minus directly before a number is its sign, unless a digit or letter stands before the minus
    (12-30). Digits glued to letters are no number, nor are odd groups as in 1,23.
    """
    text = text.replace("−", "-")
    found = []
    for match in _NUMBER.finditer(text):
        value = Fraction(match[0].replace(",", ""))
        before = text[max(0, match.start() - 2) : match.start()]
        negative = before.endswith("-") and not before[:-1].isalnum()
        found.append(-value if negative else value)
    return found
