"""Sources: anything that yields documents, in an order that never changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Document:
    """One text, and where it came from (a file and, where it has rows, a row number)."""

    text: str
    origin: str


class Source(Protocol):
    """A deterministic sequence of documents, readable again and again."""

    def documents(self) -> Iterator[Document]:
        """Every document, in the same order each time."""
        ...
