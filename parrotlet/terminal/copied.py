"""Lines that a person copies: paths as a shell takes them, never wrapped, never read as markup."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.console import Console


def quoted(path: Path) -> str:
    """A path as a shell takes it."""
    return shlex.quote(str(path))


def say(console: Console, line: str) -> None:
    """Print a line as it stands."""
    console.print(line, markup=False, highlight=False, soft_wrap=True)
