"""Tool: a name, a JSON schema, a function. The table of tools a chat model may call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Tool:
    """`run` takes the call's argument text and returns the result text, or raises ToolError."""

    name: str
    description: str
    schema: Mapping[str, Any]
    run: Callable[[str], str]
