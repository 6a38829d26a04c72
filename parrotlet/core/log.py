"""Metrics as lines of JSON: the one source of truth for curves, reports and plots.

A resumed run cuts the file back to the step it resumes from, so that the file reads as if nothing
had happened.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from parrotlet.core.errors import RunError
from parrotlet.core.rundir import advice_for, write_file


def get_logger(name: str) -> logging.Logger:
    """A standard logger; the command line decides where it goes."""
    return logging.getLogger(f"parrotlet.{name}")


class JsonLines:
    """An append-only file of JSON objects, each with a "step"."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Mapping[str, Any]) -> None:
        """Add one line, whole or not at all as far as one write can promise it.

        JSON has no NaN and no infinity: they are written as null and read back as NaN.
        """
        line = _line(record)
        try:
            with open(self.path, "ab") as file:
                file.write(line.encode())
        except OSError as error:
            raise RunError(
                f"cannot write {self.path}: {error.strerror or error}; {advice_for(error)}"
            ) from error

    def __iter__(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                record = json.loads(line)
                yield {key: math.nan if value is None else value for key, value in record.items()}
            except json.JSONDecodeError:  # the torn last line of a killed process
                return

    def cut(self, step: int) -> None:
        """Forget every line after `step`, and a torn last line."""
        self.rewrite([record for record in self if record["step"] <= step])

    def rewrite(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Put these in the place of all lines, at once."""
        write_file(self.path, "".join(map(_line, records)).encode())


def _line(record: Mapping[str, Any]) -> str:
    finite = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in record.items()
    }
    return json.dumps(finite, ensure_ascii=False, allow_nan=False) + "\n"
