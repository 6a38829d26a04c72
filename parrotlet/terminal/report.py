"""The report of a demo, from the files of its run: as a table at a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, SAMPLES, read_json
from parrotlet.terminal.copied import say
from parrotlet.terminal.duration import duration
from parrotlet.terminal.own_text import DATA, left_out, text_lines
from parrotlet.train.checkpoint import find

STAGES = ("base", "sft")


def show_report(directory: Path, console: Console) -> None:
    """Print what the run learned."""
    show_abilities(read_json(directory / "abilities.json"), console)
    for line in facts(directory):
        console.print(line, highlight=False)
    say(console, f"the whole report: {directory / 'report.md'}")


def show_abilities(abilities: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print scores with their intervals as a table."""
    table = Table(title="abilities, on cases that training never saw", title_justify="left")
    for heading in ("ability", "right", "of", "rate", "95% interval"):
        table.add_column(heading, justify="left" if heading == "ability" else "right")
    for name, score in abilities.items():
        table.add_row(name, *_cells(score))
    console.print(table)


def _cells(score: Mapping[str, Any]) -> tuple[str, str, str, str]:
    return (
        f"{score['passed']:g}",
        str(score["count"]),
        f"{score['rate']:.0%}",
        f"{score['low']:.0%} to {score['high']:.0%}",
    )


def facts(directory: Path) -> list[str]:
    """One line a stage: what it saw and where it ended; then the time."""
    lines = []
    for stage in STAGES:
        checkpoint = find(directory / stage)
        records = list(JsonLines(directory / stage / METRICS))
        tokens = sum(record["units"] for record in records)
        values = {
            name: value
            for record in records
            for name, value in record.items()
            if name in ("validation_loss", "bits_per_byte")
        }
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())
        lines.append(f"{stage}: {checkpoint.step:,} steps, {tokens:,} tokens learned from, {shown}")
    times = read_json(directory / "times.json")
    total = sum(times.values())
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in times.items())
    return [*lines, f"time: {duration(total)} ({parts})"]


def abilities_table(directory: Path) -> list[str]:
    """The abilities as lines of a Markdown table."""
    lines = ["| ability | right | of | rate | 95% interval |", "|---|---|---|---|---|"]
    for name, score in read_json(directory / "abilities.json").items():
        lines.append(f"| {name} | " + " | ".join(_cells(score)) + " |")
    return lines


def markdown_report(directory: Path) -> str:
    """The report as a document that stands alone."""
    lines = [f"# {directory.name}: report", ""]
    lines += [f"- {line}" for line in facts(directory)]
    if (directory / DATA).exists():
        known = read_json(directory / DATA)
        lines += [f"- {line}" for line in (*text_lines(known), *left_out(known))]
    lines += ["", *abilities_table(directory)]
    for stage in STAGES:
        lines += ["", f"## What it said while learning: {stage}", ""]
        for record in JsonLines(directory / stage / SAMPLES):
            said = " ".join(record["text"].split()) or "(nothing)"
            lines.append(f"- step {record['step']}, **{record['prompt'].strip()}** {said}")
    return "\n".join(lines) + "\n"
