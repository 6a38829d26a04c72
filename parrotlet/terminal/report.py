"""The report of a demo, from the files of its run: as a table at a terminal and as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import METRICS, RECIPE, SAMPLES, STAGES, read_json
from parrotlet.evals.curve import read_curves, unit_of
from parrotlet.evals.gains import gains
from parrotlet.terminal.advice import suggestions, title_of
from parrotlet.terminal.copied import say
from parrotlet.terminal.demo_stages import TIMES
from parrotlet.terminal.duration import duration
from parrotlet.terminal.own_text import DATA, left_out, text_lines
from parrotlet.train.checkpoint import find
from parrotlet.world.records import ABILITIES

SHOWN = ("before", "asked", "said", "wanted")  # of a failure
FAILURES = 2  # of each ability, in report.md; report.html has more
ENDS = ("validation_loss", "bits_per_byte", "validation_accuracy", "pass_at_1")  # of a stage


def show_report(directory: Path, console: Console) -> None:
    """Print what the run learned."""
    show_abilities(read_json(directory / "abilities.json"), console)
    _show("what each stage gained, in points, ± 95%", gain_rows(directory), console)
    for line in facts(directory):
        console.print(line, highlight=False)
    say(console, f"the whole report: {directory / 'report.md'}")


def show_abilities(abilities: Mapping[str, Mapping[str, Any]], console: Console) -> None:
    """Print scores with their intervals as a table."""
    _show("abilities, on cases that training never saw", ability_rows(abilities), console)


def _show(title: str, rows: Sequence[Sequence[str]], console: Console) -> None:
    """Print rows as a table, the heading first; nothing where there are none."""
    table = Table(title=title, title_justify="left")
    for index, heading in enumerate(rows[0] if rows else ()):
        table.add_column(heading, justify="right" if index else "left")
    for row in rows[1:]:
        table.add_row(*row)
    if rows:
        console.print(table)


def ability_rows(abilities: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Scores with their intervals, as rows of a table, the heading first."""
    rows = [["ability", "right", "of", "rate", "95% interval"]]
    for name, score in abilities.items():
        between = f"{score['low']:.0%} to {score['high']:.0%}"
        right, count = f"{score['passed']:g}", str(score["count"])
        shown = f"{title_of(name)} ({name})" if name in ABILITIES else name
        rows.append([shown, right, count, f"{score['rate']:.0%}", between])
    return rows


def gain_rows(directory: Path) -> list[list[str]]:
    """What each stage gained, as rows of a table, the heading first; [] where nobody measured."""
    path = directory / "gains.json"
    after = read_json(path) if path.exists() else {}
    if not after:
        return []
    rows = [["unseen questions", *(f"after {stage}" for stage in after)]]
    for group, found in gains(after).items():
        row = [""] * (len(after) - len(found))  # stages after which nobody asked
        for each in found.values():
            change = f" ({100 * each.difference:+.1f} ± {100 * each.half:.1f})"
            row.append(f"{each.rate:.0%}" + (change if any(row) else ""))
        rows.append([group, *row])
    return rows


def stages_in(directory: Path) -> list[str]:
    """The stages that a demo has run, in order."""
    return [stage for stage in STAGES if (directory / stage / METRICS).exists()]


def facts(directory: Path) -> list[str]:
    """One line a stage: what it saw and where it ended; then the time."""
    lines = []
    for stage in stages_in(directory):
        checkpoint = find(directory / stage)
        records = list(JsonLines(directory / stage / METRICS))
        units = sum(record["units"] for record in records)
        values = {
            name: value for record in records for name, value in record.items() if name in ENDS
        }
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in values.items())
        lines.append(
            f"{stage}: {checkpoint.step:,} steps, {units:,} {unit_of(stage)} learned from, {shown}"
        )
    times = read_json(directory / TIMES)
    total = sum(times.values())
    parts = ", ".join(f"{name} {duration(seconds)}" for name, seconds in times.items())
    return [*lines, f"time: {duration(total)} ({parts})"]


def tables(directory: Path) -> list[str]:
    """What each stage gained, and the abilities at the end, as lines of Markdown."""
    lines = []
    for rows in (gain_rows(directory), ability_rows(read_json(directory / "abilities.json"))):
        written = [f"| {' | '.join(row)} |" for row in rows]
        lines += ["", *written[:1], *["|---" * len(row) + "|" for row in rows[:1]], *written[1:]]
    return lines


def markdown_report(directory: Path) -> str:
    """The report as a document that stands alone."""
    lines = [f"# {directory.name}: report", ""]
    lines += [f"- {line}" for line in facts(directory)]
    if (directory / DATA).exists():
        known = read_json(directory / DATA)
        lines += [f"- {line}" for line in (*text_lines(known), *left_out(known))]
    lines += tables(directory)
    for stage in stages_in(directory):
        lines += ["", f"## What it said while learning: {stage}", ""]
        for record in JsonLines(directory / stage / SAMPLES):
            said = " ".join(record["text"].split()) or "(nothing)"
            prompt = " ".join(record["prompt"].split()) or "(a document of its own)"
            lines.append(f"- step {record['step']}, **{prompt}** {said}")
    abilities = read_json(directory / "abilities.json")
    lines += ["", "## What it got wrong", ""]
    for name, score in abilities.items():
        for each in score["failures"][:FAILURES]:
            words = {key: " ".join(str(each.get(key) or "").split()) for key in SHOWN}
            before, wanted = words["before"], words["wanted"]
            lines.append(
                f"- {title_of(name)}: {before and f'(after: {before}) '}**{words['asked']}** "
                f"{words['said'] or '(nothing)'}{wanted and f' (wanted: {wanted})'}"
            )
    lines += ["", "## What to try next", ""]
    config = read_json(directory / RECIPE)["config"]
    lines += [f"- {each}" for each in suggestions(config, abilities, read_curves(directory))]
    return "\n".join(lines) + "\n"
