"""Numbers in a text, as graders see them: exact values, in the order they are written."""

from __future__ import annotations

import re
from fractions import Fraction

_NUMBER = re.compile(
    r"""(?<![\w.,])        # not inside a word or another number
    -?(?: \d{1,3}(?:,\d{3})+(?:\.\d+)? | \d+(?:\.\d+)? | \.\d+ )
    (?![\w]|[.,]\d)        # nor followed by more of one
    | (?<=\d)-\d+(?![\w.]) # 12-30: a minus between two numbers belongs to neither
    """,
    re.VERBOSE | re.ASCII,
)


def numbers_in(text: str) -> list[Fraction]:
    """Every number of `text`: 1,234 and 1234 are the same, and so are 2.50 and 2.5.

    A sign counts where no digit stands before it. Digits glued to letters are no number.
    """
    found = []
    for match in _NUMBER.finditer(text.replace("−", "-")):
        written = match[0].replace(",", "")
        glued = match.start() > 0 and text[match.start() - 1].isdigit()
        found.append(Fraction(written.lstrip("-") if glued else written))
    return found
