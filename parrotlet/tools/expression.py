"""Expressions: the text of a calculation to its exact value, within budgets.

A lexer and a recursive-descent parser that computes while it reads. Nothing is compiled or looked
up by name, every size is bounded before it is paid for, and no timer is used, so any thread gets
the same answer. Precedence, // and % are Python's: -2 ** 2 is -4, and // rounds down.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any, Final, TypeAlias

from parrotlet.core.errors import ToolError

MOST_CHARACTERS = 200
MOST_DEPTH = 20  # parentheses, signs and powers inside one another
MOST_NODES = 100  # numbers, strings, names and operators
MOST_BITS = 4096  # of a numerator or denominator

Value: TypeAlias = Fraction | str | bool
_LEXEME = re.compile(
    r"""\s*(?:
        (?P<hex>0[xX][0-9A-Fa-f]+)
      | (?P<number>[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9]) | [0-9]+(?:\.[0-9]*)? | \.[0-9]+)
      | (?P<string>"[^"]*" | '[^']*')
      | (?P<name>[A-Za-z_]+)
      | (?P<operator>\*\*|//|[<>=!]=|[-+*/%^<>().,=×÷−])
      | (?P<end>\Z)
      | (?P<other>.)
    )""",
    re.VERBOSE | re.DOTALL,
)
_SPELLINGS: Final[Mapping[str, str]] = {
    "x": "*",
    "X": "*",
    "×": "*",
    "÷": "/",
    "−": "-",
    "^": "**",
}
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_PRODUCTS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}


def evaluate(expression: str) -> Value:
    """The exact value: a number, a string, or whether a comparison holds.

    Raises ToolError, in one short sentence, and nothing else, whatever the text.
    """
    if len(expression) > MOST_CHARACTERS:
        raise ToolError(
            f"the expression has {len(expression)} characters; at most {MOST_CHARACTERS} are read"
        )
    return _Parser(_lex(expression)).parse()


def _lex(expression: str) -> list[tuple[str, str]]:
    """(kind, text) of every lexeme, the last one of kind "end"."""
    lexemes: list[tuple[str, str]] = []
    for match in _LEXEME.finditer(expression):
        kind = match.lastgroup or ""
        text = match[kind]
        if kind == "hex":
            raise ToolError(f"{text} is hexadecimal; write it as a decimal number")
        if kind == "other":
            raise ToolError(f"{text!r} cannot be calculated with")
        lexemes.append((kind, text))
        if kind == "end":
            break
    if len(lexemes) > 1 and lexemes[-2][1] == "=":
        del lexemes[-2]
    return lexemes


class _Parser:
    """One expression on its way to its value. Every rule reads a little and returns a value."""

    def __init__(self, lexemes: list[tuple[str, str]]) -> None:
        self._lexemes = lexemes
        self._at = 0
        self._depth = 0
        self._nodes = 0

    def parse(self) -> Value:
        """The whole expression."""
        value = self._comparison()
        kind, text = self._lexemes[self._at]
        if kind != "end":
            raise ToolError(f"{text!r} was not expected there{_hint(kind, text)}")
        return value

    def _comparison(self) -> Value:
        """sum [ < sum [ <= sum ... ] ], a chain that holds where each link does."""
        left = self._sum()
        if self._peek() not in _COMPARISONS:
            return left
        holds = True
        while self._peek() in _COMPARISONS:
            compare = _COMPARISONS[self._take()]
            right = self._sum()
            holds = compare(_number(left), _number(right)) and holds
            left = right
        return holds

    def _sum(self) -> Value:
        """term + term - term ..."""
        value = self._term()
        while self._peek() in ("+", "-"):
            sign = self._take()
            right = _number(self._term())
            value = _bounded(_number(value) + (right if sign == "+" else -right))
        return value

    def _term(self) -> Value:
        """factor * factor / factor // factor % factor ..."""
        value = self._factor()
        while self._peek() in _PRODUCTS:
            sign = self._take()
            left, right = _number(value), _number(self._factor())
            if not right and sign != "*":
                raise ToolError("division by zero")
            value = _bounded(Fraction(_PRODUCTS[sign](left, right)))
        return value

    def _factor(self) -> Value:
        """A sign and a factor, or atom ** factor. Everything that nests comes through here."""
        self._depth += 1
        if self._depth > MOST_DEPTH:
            raise ToolError(f"the expression is nested more than {MOST_DEPTH} deep")
        if self._peek() in ("+", "-"):
            sign = self._take()
            value: Value = _number(self._factor()) * (1 if sign == "+" else -1)
        else:
            value = self._atom()
            if self._peek() == "**":
                self._take()
                value = _power(_number(value), _number(self._factor()))
        self._depth -= 1
        return value

    def _atom(self) -> Value:
        """A number, a string and what is asked of it, a call, or a parenthesis."""
        kind, text = self._lexemes[self._at]
        self._take()
        if kind == "number":
            return _bounded(Fraction(text.replace(",", "")))
        if kind == "string":
            return self._method(text[1:-1])
        if kind == "name":
            return self._call(text)
        if text == "(":
            value = self._comparison()
            self._expect(")")
            return value
        missing = "the end" if kind == "end" else repr(text)
        raise ToolError(f"a number was expected, not {missing}{_hint(kind, text)}")

    def _method(self, string: str) -> Value:
        """A string, or "string".count("part")."""
        if self._peek() != ".":
            return string
        self._take()
        name = self._take()
        if name != "count":
            raise ToolError(f"a text has no {name!r} here; there is count")
        self._expect("(")
        part = self._string()
        self._expect(")")
        return _count(string, part)

    def _call(self, name: str) -> Value:
        """count("string", "part") or len("string")."""
        if name not in ("count", "len"):
            raise ToolError(f"{name[:20]!r} is not known; there are count and len")
        self._expect("(")
        string = self._string()
        if name == "count":
            self._expect(",")
            value = _count(string, self._string())
        else:
            value = Fraction(len(string))
        self._expect(")")
        return value

    def _string(self) -> str:
        kind, text = self._lexemes[self._at]
        if kind != "string":
            raise ToolError("a text in quotes was expected")
        self._take()
        return text[1:-1]

    def _expect(self, wanted: str) -> None:
        kind, text = self._lexemes[self._at]
        if self._peek() != wanted:
            found = "the end" if kind == "end" else repr(text)
            raise ToolError(f"{wanted!r} was expected, not {found}")
        self._take()

    def _peek(self) -> str:
        """The next lexeme, other spellings of an operator made one; "" at the end."""
        _, text = self._lexemes[self._at]
        return _SPELLINGS.get(text, text)

    def _take(self) -> str:
        """Like _peek, and go on to the one after it."""
        text = self._peek()
        if self._at < len(self._lexemes) - 1:
            self._at += 1
            self._nodes += text not in ("(", ")", ",", ".")
        if self._nodes > MOST_NODES:
            raise ToolError(f"the expression has more than {MOST_NODES} numbers and operators")
        return text


def _hint(kind: str, text: str) -> str:
    """What to write instead, for the mistakes that are made most."""
    if text == "=":
        return "; compare with =="
    if text == ",":
        return "; commas stand between groups of three digits"
    return "; write * between factors" if kind in ("number", "string") or text == "(" else ""


def _number(value: Value) -> Fraction:
    if isinstance(value, Fraction):
        return value
    what = "a text" if isinstance(value, str) else "true and false"
    raise ToolError(f"{what} cannot be calculated with")


def _bounded(value: Fraction) -> Fraction:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > MOST_BITS:
        raise ToolError(f"the number is too large: more than {MOST_BITS} bits")
    return value


def _power(base: Fraction, exponent: Fraction) -> Fraction:
    """base ** exponent, refused before it is computed where it would be too large."""
    if exponent.denominator != 1:
        raise ToolError("the exponent is not a whole number")
    if not exponent:
        return Fraction(1)
    if not base and exponent < 0:
        raise ToolError("division by zero")
    if base in (0, 1, -1):  # their powers do not grow, so their exponents have no bound
        return base if exponent.numerator % 2 else base * base
    bits = max(abs(base.numerator).bit_length(), base.denominator.bit_length()) - 1
    if bits * abs(exponent.numerator) > MOST_BITS:
        raise ToolError(f"the number is too large: more than {MOST_BITS} bits")
    return _bounded(Fraction(base**exponent.numerator))


def _count(string: str, part: str) -> Fraction:
    if not part:
        raise ToolError("there is nothing to count between the quotes")
    return Fraction(string.count(part))
