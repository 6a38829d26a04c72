"""What runs wrote, as tables to draw: one row a step, no more rows than a screen can show."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from parrotlet.core.rundir import METRICS, RECIPE, SAMPLES, STAGES

COLUMNS = (
    "loss", "gradient_norm", "lr", "validation_loss", "bits_per_byte", "accuracy", "reward",
)  # fmt: skip
MOST_POINTS = 800  # of a line
WINDOWS = 50  # a smoothed value is the mean over this part of the run


@dataclass(frozen=True)
class Judgement:
    """What is to be said about a run, by whoever knows curves."""

    summary: str
    findings: Sequence[tuple[str, str]]  # a name, and a sentence or two
    band: Sequence[tuple[float, float, float]]  # step, low, high of its recipe's own runs


@dataclass(frozen=True)
class Run:
    """A run's curve: `table` has a row a step."""

    path: Path
    table: pd.DataFrame
    total: int  # steps planned

    @property
    def finished(self) -> bool:
        """Whether every planned step is done."""
        return bool(len(self.table) and self.table["step"].iloc[-1] >= self.total)


def find_runs(runs: Mapping[str, Path]) -> dict[str, Path]:
    """The runs with a curve: those given first, then their neighbours; of demos the stages."""
    found: dict[str, Path] = {}
    for path in runs.values():
        found |= {f"{each.parent.name}/{each.name}": each for each in _stages(path)}
    for path in runs.values():
        top = path.parent.parent if path.name in STAGES else path.parent
        for near in sorted(top.iterdir()) if top.is_dir() else ():
            for each in _stages(near):
                found.setdefault(f"{each.parent.name}/{each.name}", each)
    return found


def _stages(path: Path) -> list[Path]:
    if (path / METRICS).is_file():
        return [path]
    if (path.parent / METRICS).is_file():  # a checkpoint of a run
        return [path.parent]
    return [path / name for name in STAGES if (path / name / METRICS).is_file()]


def read_run(path: Path) -> Run:
    """The run as it is now; read again only where its file has grown."""
    stat = (path / METRICS).stat()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@st.cache_data(show_spinner=False, max_entries=32)
def _read(path: Path, size: int, changed: int) -> Run:
    table = pd.DataFrame(list(lines(path / METRICS)))
    planned = 0
    if (path / RECIPE).is_file():
        planned = json.loads((path / RECIPE).read_bytes()).get("steps") or 0
    if table.empty:
        return Run(path, table, planned)
    for name in COLUMNS:
        table[name] = pd.to_numeric(table[name]) if name in table else float("nan")
    window = max(1, max(planned, len(table)) // WINDOWS)
    table["smooth"] = table["loss"].rolling(window, min_periods=1).mean()
    table["tokens"] = table["units"].cumsum()
    table["minutes"] = table["seconds"] / 60
    speed = table["units"] / table["lap"].clip(lower=1e-9)
    table["speed"] = speed.rolling(window, min_periods=1).median()
    return Run(path, table, max(planned, int(table["step"].iloc[-1])))


def thinned(table: pd.DataFrame) -> pd.DataFrame:
    """At most MOST_POINTS rows, the last among them."""
    stride = -(-len(table) // MOST_POINTS) or 1
    return table.iloc[::-1].iloc[::stride].iloc[::-1]


def samples(path: Path) -> dict[int, list[tuple[str, str]]]:
    """(prompt, text) by step."""
    found: dict[int, list[tuple[str, str]]] = {}
    for line in lines(path / SAMPLES):
        pair = (str(line.get("prompt", "")), str(line.get("text", "")))
        found.setdefault(int(line["step"]), []).append(pair)
    return found


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file of JSON lines, up to one that is torn."""
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            yield json.loads(line)
        except ValueError:
            return
