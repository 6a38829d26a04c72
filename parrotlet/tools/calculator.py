"""The calculator: exact arithmetic on one short expression, and counting letters.

    12 + 30            42              1,234 * 2          2468
    7 / 2              3.5             1 / 3              0.333333
    7 // 2, 7 % 2      3, 1            2 ^ 10, 2 ** 10    1024
    3 x (4 - 6)        -6              0.1 + 0.2 == 0.3   true
    "strawberry".count("r")            3
    count("strawberry", "r")           3
    len("strawberry")                  10

Numbers are exact: integers, and fractions where something was divided. x, X, × and ÷ are accepted,
and ^ is a power. Commas may separate thousands, in groups of three. A trailing = is ignored.

Not covered: functions such as sqrt, exponents that are not whole numbers, units, variables.
"""

from __future__ import annotations

from fractions import Fraction

from parrotlet.core.errors import ToolError
from parrotlet.tools.expression import MOST_CHARACTERS, evaluate
from parrotlet.tools.table import Tool

EXACT_PLACES = 12  # a decimal that ends within so many places is given whole
ROUNDED_PLACES = 6  # any other has so many places; below 1, so many significant digits


def calculate(expression: str) -> str:
    """The value of `expression` as text; "true" or "false" for a comparison.

    Raises ToolError, in one short sentence, where it cannot be computed within the budgets of
    expression.py, and no other exception, whatever the text.
    """
    value = evaluate(expression)
    if isinstance(value, str):
        raise ToolError("a text is no result; count a letter in it, or ask for its length")
    return format_value(value)


def format_value(value: Fraction | bool) -> str:
    """A value as a person would write it; rounding is half to even, and zeros at the end go."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value.denominator == 1:
        return str(value.numerator)
    size = abs(value)
    places = EXACT_PLACES
    if (size * 10**places).denominator != 1:
        zeros = len(str(size.denominator // size.numerator)) - 1 if size < 1 else 0
        places = ROUNDED_PLACES + zeros
    digits = str(round(size * 10**places)).rjust(places + 1, "0")
    shown = f"{digits[:-places]}.{digits[-places:]}".rstrip("0").rstrip(".")
    return f"-{shown}" if value < 0 else shown


CALCULATOR = Tool(
    name="calculator",
    description=(
        "Computes one expression exactly: + - * / // % **, parentheses, comparisons, "
        'count("text", "part") and len("text").'
    ),
    schema={
        "type": "object",
        "properties": {
            "expression": {"type": "string", "maxLength": MOST_CHARACTERS, "examples": ["12 + 30"]}
        },
        "required": ["expression"],
        "additionalProperties": False,
    },
    run=calculate,
)
