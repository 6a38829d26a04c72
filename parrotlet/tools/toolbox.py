"""The tools a chat model may call, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from parrotlet.tools.calculator import CALCULATOR
from parrotlet.tools.table import Tool

TOOLS: Final[Mapping[str, Tool]] = {CALCULATOR.name: CALCULATOR}
