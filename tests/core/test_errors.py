"""The tree of errors is the one that is drawn."""

from __future__ import annotations

import re

import pytest

from parrotlet.core import errors
from parrotlet.core.errors import ParrotletError

DRAWN = re.findall(r"[├└]── (\w+) +\((\d)\)", errors.__doc__ or "")
DEFINED = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def test_drawing_is_complete() -> None:
    assert {name for name, _ in DRAWN} == set(DEFINED) - {"ParrotletError"}


@pytest.mark.parametrize(("name", "status"), DRAWN)
def test_drawn_errors(name: str, status: str) -> None:
    error = DEFINED[name]
    assert error.__bases__ == (
        DEFINED["CheckpointError"] if name == "FormatError" else ParrotletError,
    )
    assert error.status == int(status)
    assert error.__doc__
    assert str(error("one sentence")) == "one sentence"


def test_base_is_an_ordinary_exception() -> None:
    assert ParrotletError.__bases__ == (Exception,)
    assert ParrotletError.status == 1
