"""Normalise: what a text says, whatever it is dressed up as, with the way back to its characters.

Two views. `clean` is for precise rules: compatibility forms (Unicode's NFKC), invisible
characters and combining marks gone, look-alike letters made Latin. `plain` goes further, for
words: lower case, spaced out letters closed up ("b o m b"), digits read as the letters they stand
for ("b0mb").

Every step looks at most a few characters to either side, so that a stretch of the result depends
on a bounded stretch of the text. Not covered: base64, rot13, other languages, letters drawn with
several signs.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
Places = NDArray[np.int64]
Values = TypeVar("Values", NDArray[np.bool_], NDArray[np.uint32])

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_GROUPS = (  # a Latin letter, then letters of other scripts, and phonetic ones, drawn like it
    "aаαɑᴀ bвʙᖯ cсϲᴄ dԁժᴅ eеεҽᴇ fғꜰ gɡɢց hһнհʜ iіιɩıɪ jјᴊյ kкκᴋ lӏʟⅼ mмᴍ nпηոɴ oоοօᴏσ pрρᴘ "
    "qԛզ rгʀ sѕꜱ tтτᴛ uυսᴜ vѵνᴠ wԝωᴡ xхχ yуγүʏ zᴢʐ AАΑ BВΒ CСϹ EЕΕ HНΗ IІΙӀ JЈ KКΚ MМΜ NΝ "
    "OОΟ PРΡ QԚ SЅ TТΤ WԜ XХΧ YҮΥ ZΖ"
)
_LOOK_ALIKES = {ord(other): group[0] for group in _GROUPS.split() for other in group[1:]}
_LEET = np.zeros(128, np.uint32)
for _digit, _letter in zip("013457@$!", "oieastasi", strict=True):
    _LEET[ord(_digit)] = ord(_letter)
_BETWEEN = np.zeros(128, bool)  # what may stand between spaced out letters
_BETWEEN[[ord(each) for each in " ._-*/|"]] = True
_LEET_RUN = 5  # so many digits in a row are read as letters, beside a letter


@dataclass(frozen=True)
class View:
    """A text as it is read, and for every character of it the place it came from."""

    text: str
    origin: Places  # one place more than characters: the length of the original

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the original that the characters from start to end came from."""
        if start >= end:
            return int(self.origin[start]), int(self.origin[start])
        return int(self.origin[start]), int(self.origin[end - 1]) + 1


def codes_of(text: str) -> Codes:
    """The code points of a text, as an array."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def text_of(codes: Codes) -> str:
    """The text of an array of code points."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


def clean(text: str) -> View:
    """The view for rules. Linear in the text; the text itself where it is plain ASCII."""
    if text.isascii() and not _CONTROLS.search(text):
        return View(text, np.arange(len(text) + 1))
    codes = codes_of(text)
    highest = int(codes.max()) + 1  # tables of all of Unicode would cost more than a short text
    seen = np.zeros(highest, bool)
    seen[codes] = True
    there = np.flatnonzero(seen)
    forms = [_form(int(code)) for code in there]
    sizes = np.array([len(form) for form in forms])
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    table = np.zeros(highest, np.int64)
    table[there] = np.arange(len(there))
    which = table[codes]
    repeats = sizes[which]
    origin = np.repeat(np.arange(len(codes)), repeats)
    begun = np.cumsum(repeats) - repeats  # where each character's form begins in the result
    inside = np.arange(len(origin)) - np.repeat(begun, repeats)
    shown = codes_of("".join(forms))[np.repeat(starts[which], repeats) + inside]
    return View(text_of(shown), np.append(origin, len(text)))


def plain(view: View) -> View:
    """The view for words, made from the clean one. Linear."""
    codes = codes_of(view.text)
    kept = ~_between_single_letters(codes)
    codes = lower(codes[kept])
    return View(text_of(_letters_for_digits(codes)), view.origin[np.append(kept, True)])


def lower(codes: Codes) -> Codes:
    """ASCII in lower case; other letters are folded already."""
    return np.where((codes >= 65) & (codes <= 90), codes + 32, codes).astype(np.uint32)


def is_word(codes: Codes) -> NDArray[np.bool_]:
    """Letters and digits of ASCII, and everything beyond ASCII."""
    small = codes | 32
    return (
        ((small >= 97) & (small <= 122) & (codes < 128))
        | ((codes >= 48) & (codes <= 57))
        | (codes > 127)
    )


@cache
def _form(code: int) -> str:
    """What a character is read as: "" for one that cannot be seen."""
    char = chr(code)
    category = unicodedata.category(char)
    if category in ("Cf", "Mn", "Me") or (category == "Cc" and char not in "\t\n\r"):
        return ""
    if char.isascii():
        return char
    form = unicodedata.normalize("NFKD", char)
    bare = "".join(each for each in form if unicodedata.category(each) not in ("Mn", "Me"))
    if not bare.translate(_LOOK_ALIKES).isascii():
        return unicodedata.normalize("NFKC", char).casefold()
    return bare.translate(_LOOK_ALIKES)


def _shifted(values: Values, by: int) -> Values:
    """values[i - by] at i; 0 or False from outside."""
    moved = np.zeros_like(values)
    if by > 0:
        moved[by:] = values[:-by]
    else:
        moved[:by] = values[-by:]
    return moved


def _between_single_letters(codes: Codes) -> NDArray[np.bool_]:
    """The separators inside three or more single letters, the same one each time: "b.o.m.b"."""
    if len(codes) < 5:
        return np.zeros(len(codes), bool)
    word = is_word(codes)
    single = word & ~_shifted(word, 1) & ~_shifted(word, -1)
    between = _BETWEEN[np.minimum(codes, 127)] & _shifted(single, 1) & _shifted(single, -1)
    sign = np.where(between, codes, 0)
    again = (sign == _shifted(sign, 2)) | (sign == _shifted(sign, -2))
    gap = (codes == 32) & (_shifted(codes, 1) == 32)  # the second space of a gap between words
    alone = _shifted(gap, 2) | _shifted(gap, -3)  # "t o" between such gaps is a word of two letters
    return np.asarray(between & (again | alone))


def _letters_for_digits(codes: Codes) -> Codes:
    """Digits and signs beside a letter, at most five in a row, as the letters they stand for."""
    low = np.minimum(codes, 127)
    digit = _LEET[low] > 0
    if len(codes) < 2 or not digit.any():
        return codes
    letter = ((codes >= 97) & (codes <= 122)) | (codes > 127)
    ends = (codes == ord("!")) | (codes == ord("@"))  # these need a letter on both sides
    for _ in range(_LEET_RUN):
        before, after = _shifted(letter, 1), _shifted(letter, -1)
        letter = letter | (digit & np.where(ends, before & after, before | after))
    read = letter & digit
    return np.where(read | _beside(codes, read, digit), _LEET[low], codes).astype(np.uint32)


def _beside(codes: Codes, read: NDArray[np.bool_], digit: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whole words of such digits, "70", beside a word in which some were read as letters."""
    word = np.cumsum(codes <= 32)
    count = int(word[-1]) + 1
    dressed = np.bincount(word, read, count) > 0
    bare = np.bincount(word, ~digit & (codes > 32), count) == 0
    found = bare & (_shifted(dressed, 1) | _shifted(dressed, -1))
    return np.asarray(found[word] & digit)
