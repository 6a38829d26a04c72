"""The calculator: hand-computed cases, budgets, and Python's own Fractions as the oracle."""

from __future__ import annotations

import ast
import json
import random
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parrotlet.core.errors import ToolError
from parrotlet.tools.calculator import CALCULATOR, calculate, format_value
from parrotlet.tools.toolbox import TOOLS

VALUES = {
    "12 + 30": "42",
    "100-50-30-15": "5",
    "-2 ** 2": "-4",
    "2 ** -1": "0.5",
    "2 ** 3 ** 2": "512",
    "2 ^ 10": "1024",
    "(1 + 2) * -3": "-9",
    "- - 3": "3",
    "7 / 2": "3.5",
    "-7 // 2": "-4",
    "-7 % 3": "2",
    "1/3": "0.333333",
    "2/3": "0.666667",
    "1/30": "0.0333333",
    "-1/3": "-0.333333",
    "22/7": "3.142857",
    "1000000/3": "333333.333333",
    "1/8": "0.125",
    "0.1 + 0.2": "0.3",
    "0.1234567": "0.1234567",
    "1 - 1/10**13": "1",
    "10 / 2": "5",
    ".5 + 5.": "5.5",
    "1,234 + 1": "1235",
    "1,234,567.5 * 2": "2469135",
    "3 x 4": "12",
    "3x(4 - 6)": "-6",
    "3 × 4 ÷ 2 − 1": "5",
    "12 + 30 =": "42",
    "0 ** 0": "1",
    "0 ** 5": "0",
    "(-1) ** 99999": "-1",
    "1 ** 99999": "1",
    "007 + 1": "8",
    "2 < 3": "true",
    "3 <= 2": "false",
    "1 < 2 < 2": "false",
    "0.1 + 0.2 == 0.3": "true",
    "1/3 != 2/6": "false",
    '"strawberry".count("r")': "3",
    "count('strawberry', 'r')": "3",
    'count("banana", "an")': "2",
    '"a,b,c".count(",")': "2",
    '"a,b,c".count(",")==2': "true",
    'count("Anna", "a")': "1",
    'len("strawberry") - 1': "9",
    'count("naïve 🦜🦜", "🦜")': "2",
    "2 ** 4095": str(2**4095),
}

REFUSED = {
    "": "a number was expected, not the end",
    "2 +": "a number was expected, not the end",
    "(2": "')' was expected, not the end",
    "2)": "')' was not expected there",
    "2 3": "write * between factors",
    "2(3)": "write * between factors",
    "2 = 2": "compare with ==",
    "1,23": "groups of three digits",
    "1,2345": "groups of three digits",
    "1 / 0": "division by zero",
    "1 % 0": "division by zero",
    "1 // (2 - 2)": "division by zero",
    "0 ** -1": "division by zero",
    "4 ** 0.5": "the exponent is not a whole number",
    "2 ** 4096": "too large",
    "(1/2) ** 4096": "too large",
    "9**9**9": "too large",
    "9**9**9**9**9**9": "too large",
    "3 ** -99999": "too large",
    "*".join(["2**2000"] * 3): "too large",
    "1e999": "'e' was not expected there",
    "nan": "'nan' is not known",
    "inf": "'inf' is not known",
    "1_000": "'_' was not expected there",
    "0x10": "hexadecimal",
    "1j": "'j' was not expected there",
    "٣ + 1": "cannot be calculated with",
    "２ + 1": "cannot be calculated with",
    "1 + \0": "cannot be calculated with",
    "\\": "cannot be calculated with",
    '"a" + "b"': "a text cannot be calculated with",
    '"a" * 1000000000': "a text cannot be calculated with",
    "(1 < 2) + 1": "true and false cannot be calculated with",
    '"abc"': "a text is no result",
    '"a".ljust(1000000000).count("a")': "'ljust'",
    '"a".zfill(1000000000)': "'zfill'",
    '"a".center(1000000000)': "'center'",
    '"{:>1000000000}".format(1)': "'format'",
    '"a".__class__': "'__class__'",
    '"a".count': "'(' was expected, not the end",
    '"a".count(1)': "a text in quotes was expected",
    'count("a", "")': "nothing to count",
    "__import__('os')": "is not known",
    "(1).real": "'.' was not expected there",
    "[1]": "'[' cannot be calculated with",
    "lambda: 1": "':' cannot be calculated with",
    "(" * 3000 + "1" + ")" * 3000: "6001 characters",
    "(" * 21 + "1" + ")" * 21: "nested more than 20 deep",
    "-" * 21 + "1": "nested more than 20 deep",
    "2**" * 21 + "1": "nested more than 20 deep",
    "+".join("1" * 51): "more than 100 numbers and operators",
    "1" * 201: "201 characters",
}


@pytest.mark.parametrize(("expression", "value"), VALUES.items())
def test_values(expression: str, value: str) -> None:
    assert calculate(expression) == value


@pytest.mark.parametrize(("expression", "reason"), REFUSED.items())
def test_refusals_are_one_short_sentence_at_once(expression: str, reason: str) -> None:
    started = time.thread_time()
    with pytest.raises(ToolError) as caught:
        calculate(expression)
    assert time.thread_time() - started < 0.05
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 100


def test_bounds_are_inclusive() -> None:
    assert calculate("1" * 200) == "1" * 200
    assert calculate("(" * 19 + "1" + ")" * 19) == "1"
    assert calculate("+".join("1" * 50)) == "50"
    assert calculate(f"2 ** 4095 + {2**100} - 2**100") == str(2**4095)


def test_memory_stays_small() -> None:
    tracemalloc.start()
    for expression in REFUSED:
        with pytest.raises(ToolError):
            calculate(expression)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Fraction(1, 3), "0.333333"),
        (Fraction(5, 2 * 10**12), "0.0000000000025"),
        (Fraction(1, 10**12), "0.000000000001"),
        (Fraction(-10, 3), "-3.333333"),
        (Fraction(2, 3 * 10**8), "0.00000000666667"),
        (Fraction(9999999, 10**7) + Fraction(1, 3 * 10**9), "1"),
        (Fraction(12), "12"),
        (True, "true"),
    ],
)
def test_numbers_are_written_for_people(value: Fraction | bool, shown: str) -> None:
    assert format_value(value) == shown


def random_expression(rng: random.Random, depth: int) -> tuple[str, str]:
    """One expression in our notation and in Python's, with Fractions for its numbers."""
    kind = rng.choice(("number", "sum", "product", "power", "sign", "parentheses"))
    if depth == 0 or kind == "number":
        number = rng.choice((f"{rng.randrange(1000)}", f"{rng.randrange(100)}.{rng.randrange(99)}"))
        return number, f"F('{number}')"
    ours, theirs = random_expression(rng, depth - 1)
    if kind == "parentheses":
        return f"({ours})", f"({theirs})"
    if kind == "sign":
        return f"-{ours}", f"-{theirs}"
    if kind == "power":
        exponent = rng.randrange(-3, 4)
        return f"({ours}) ^ {exponent}", f"({theirs}) ** {exponent}"
    sign = rng.choice(("+", "-") if kind == "sum" else ("*", "/", "//", "%"))
    ours_right, theirs_right = random_expression(rng, depth - 1)
    space = rng.choice(("", " "))
    return f"{ours}{space}{sign}{space}{ours_right}", f"{theirs}{sign}{theirs_right}"


class FloorsAreFractions(ast.NodeTransformer):
    """Fraction // Fraction is an int, and int ** -1 would be a float."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.FloorDiv):
            return node
        return ast.Call(func=ast.Name(id="F", ctx=ast.Load()), args=[node], keywords=[])


def python_value(expression: str) -> Fraction:
    """What Python's own parser and Fractions make of it."""
    tree = FloorsAreFractions().visit(ast.parse(expression, mode="eval"))
    code = compile(ast.fix_missing_locations(tree), "oracle", "eval")
    return Fraction(eval(code, {"F": Fraction}))


def check_against_fractions(count: int, seed: int) -> None:
    rng = random.Random(seed)
    divided_by_zero = 0
    for _ in range(count):
        ours, theirs = random_expression(rng, 3)
        if len(ours) > 200:
            continue
        try:
            expected = python_value(theirs)
        except ZeroDivisionError:
            divided_by_zero += 1
            with pytest.raises(ToolError, match="division by zero"):
                calculate(ours)
            continue
        shown = calculate(ours)
        assert set(shown) <= set("-.0123456789"), (ours, shown)
        error = abs(Fraction(shown) - expected)
        if (expected * 10**12).denominator == 1:
            assert error == 0, (ours, shown, expected)
        else:
            half_a_step = Fraction(1, 2 * 10**6) if abs(expected) >= 1 else abs(expected) / 200_000
            assert error <= half_a_step, (ours, shown, expected)
    assert 0 < divided_by_zero < count / 2


def test_against_fractions() -> None:
    check_against_fractions(5_000, seed=1)


@pytest.mark.slow
def test_against_fractions_at_length() -> None:
    check_against_fractions(100_000, seed=2)


LIKELY = st.text(alphabet="0123456789+-*/%().,\"' xcountle^<>=!", max_size=60)


@settings(max_examples=1_000, deadline=None)
@given(st.one_of(LIKELY, st.text(max_size=250)))
def test_any_text_gives_text_or_a_tool_error(text: str) -> None:
    try:
        assert calculate(text)
    except ToolError as error:
        assert "\n" not in str(error)


@pytest.mark.slow
def test_likely_texts_stay_within_the_budget_of_time() -> None:
    rng = random.Random(3)
    parts = ["9", "99999", "**", "*", "/", "+", "-", "(", ")", "%", "//", "^", " ", "1/3", "<", "x"]
    for _ in range(100_000):
        text = "".join(rng.choices(parts, k=rng.randrange(1, 60)))
        started = time.thread_time()
        with suppress(ToolError):
            calculate(text)
        assert time.thread_time() - started < 0.05, text


def test_same_in_every_thread() -> None:
    expressions = [*VALUES, *REFUSED] * 5

    def outcome(expression: str) -> str:
        try:
            return calculate(expression)
        except ToolError as error:
            return f"error: {error}"

    alone = [outcome(each) for each in expressions]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(outcome, expressions)) == alone


def test_table_of_tools() -> None:
    assert TOOLS["calculator"] is CALCULATOR
    for name, tool in TOOLS.items():
        assert tool.name == name and tool.description
        json.dumps(tool.schema)
    assert CALCULATOR.run("6 * 7") == "42"
