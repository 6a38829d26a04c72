"""report.html: what a demo learned, as one page that a person likes to read and can mail."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from parrotlet.core.log import JsonLines
from parrotlet.core.rundir import RECIPE, SAMPLES, read_json
from parrotlet.evals.band import band_of_curve
from parrotlet.evals.curve import Curve, read_curves
from parrotlet.evals.doctor import examine, summary
from parrotlet.model.cost import num_parameters
from parrotlet.terminal.advice import suggestions, title_of
from parrotlet.terminal.charts import run_charts
from parrotlet.terminal.demo_stages import TIMES
from parrotlet.terminal.duration import duration
from parrotlet.terminal.own_text import DATA, left_out, text_lines
from parrotlet.terminal.page import bar, facts, heading, note, page, pairs, shares
from parrotlet.terminal.report import gain_rows
from parrotlet.terminal.svg import number
from parrotlet.train.checkpoint import find

STAGE_TITLES = {
    "base": "Reading",
    "sft": "Learning to talk",
    "dpo": "Learning what is better",
    "rl": "Practising",
}
LEADS = {
    "base": "Pretraining: guess the next token of documents, over and over.",
    "sft": "Fine-tuning: the same, on the assistant's words of conversations.",
    "dpo": "Preferences: of two replies to a question, the better one is to become likelier.",
    "rl": "Reinforcement learning: its own replies are graded, and the better ones made likelier.",
}


def report_page(directory: Path) -> str:
    """The page of a finished demo, every number from its files."""
    recipe = read_json(directory / RECIPE)
    abilities = read_json(directory / "abilities.json")
    curves = read_curves(directory)
    body = [
        *_head(directory, recipe, abilities, curves),
        *_abilities(abilities),
        *_gains(directory),
        *_own_text(directory),
    ]
    for curve in curves:
        body += _stage(curve)
        body += _samples(directory / curve.name, goes_on=curve.verb == "pretrain")
    body += [*_failures(abilities), *_times(directory)]
    body += [heading("What to try next"), '<ol class="next">']
    body += [
        f"<li>{escape(sentence(each))}</li>"
        for each in suggestions(recipe["config"], abilities, curves)
    ]
    body += ["</ol>", _foot(directory, curves)]
    return page(f"{directory.name}: report", body)


def sentence(text: str) -> str:
    """With a capital letter and a full stop."""
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _head(
    directory: Path,
    recipe: Mapping[str, Any],
    abilities: Mapping[str, Mapping[str, Any]],
    curves: list[Curve],
) -> list[str]:
    checkpoint = find(directory / curves[-1].name)
    seconds = sum(read_json(directory / TIMES).values())
    tokens = sum(
        record["units"] for curve in curves if curve.verb != "dpo" for record in curve.records
    )
    rates = [score["rate"] for score in abilities.values()]
    bits = [record["bits_per_byte"] for record in curves[0].records if "bits_per_byte" in record]
    numbers = {
        "parameters": number(num_parameters(checkpoint.config)),
        "tokens learned from": number(tokens),
        "from nothing to here": duration(seconds),
        "mean of the abilities": f"{sum(rates) / max(1, len(rates)):.0%}",
    }
    if bits:
        numbers["bits per unseen byte"] = f"{bits[-1]:.3f}"
    read = "your own text" if recipe["config"].get("data") else "a small invented world"
    return [
        '<p class="mark">parrotlet</p>',
        f"<h1>{escape(directory.name)}: a chat model from nothing</h1>",
        f'<p class="lead">It began as random numbers, read {read}, and learned to talk. '
        f"Recipe {escape(str(recipe['config'].get('recipe')))}, seed "
        f"{escape(str(recipe['config'].get('seed')))}.</p>",
        facts(numbers),
    ]


def _abilities(abilities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    bars = [
        bar(
            title_of(name),
            score["rate"],
            score["low"],
            score["high"],
            f"{score['passed']:g} of {score['count']}",
        )
        for name, score in abilities.items()
    ]
    lead = (
        "Questions that training never held, answered greedily. The bracket is the 95% interval: "
        "where the true rate lies, given so many questions."
    )
    return [heading("What it can do", lead), '<div class="bars">', *bars, "</div>"]


def _gains(directory: Path) -> list[str]:
    heads, *rows = gain_rows(directory) or [[]]
    if not heads:
        return []
    lead = (
        "The same unseen questions after every stage; in brackets the change in points, with the "
        "95% interval of paired questions."
    )
    lines = [
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in [("th", heads), *(("td", row) for row in rows)]
    ]
    return [heading("What each stage gained", lead), "<table>", *lines, "</table>"]


def _own_text(directory: Path) -> list[str]:
    if not (directory / DATA).exists():
        return []
    known = read_json(directory / DATA)
    first, *warnings = text_lines(known)
    lines = [f"<p>{escape(first)}.</p>", *(note(sentence(each), bad=True) for each in warnings)]
    skipped = left_out(known)
    if skipped:
        rows = "".join(f"<p>{escape(each)}</p>" for each in skipped[1:])
        lines.append(f"<details><summary>{escape(skipped[0])}</summary>{rows}</details>")
    return [heading("Your text"), *lines]


def _stage(curve: Curve) -> list[str]:
    band = band_of_curve(curve)
    drawn = [
        heading(STAGE_TITLES.get(curve.name, curve.name), LEADS.get(curve.name, "")),
        run_charts([curve], band),
        note(sentence(summary(curve, band))),
    ]
    drawn += [
        note(f"{each.name.capitalize()}: {each.sentence}", bad=True)
        for each in examine(curve, band)
    ]
    return drawn


def _samples(directory: Path, *, goes_on: bool) -> list[str]:
    """What it said, prompt by prompt, from its first words to its last."""
    said: dict[str, list[tuple[str, str]]] = {}
    for record in JsonLines(directory / SAMPLES):
        text = " ".join(record["text"].split()) or "(nothing)"
        said.setdefault(record["prompt"], []).append((f"step {record['step']:,}", text))
    lines = []
    for prompt, rows in said.items():
        shown = (
            f"“{prompt.strip()}{' …' if goes_on else ''}”" if prompt else "A document of its own"
        )
        lines += [f"<h3>{escape(shown)}</h3>", pairs("said", rows)]
    return lines


def _failures(abilities: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A few of the questions each ability was wrong on."""
    lines = [heading("What it got wrong", "The first failures of each ability, unedited.")]
    for name, score in abilities.items():
        if not score["failures"]:
            continue
        missed = f"{score['count'] - score['passed']:g} of {score['count']} wrong"
        lines.append(f"<details><summary>{escape(title_of(name))}<span>{missed}</span></summary>")
        for each in score["failures"]:
            rows = [("before", each["before"])] if each.get("before") else []
            rows += [("asked", each["asked"]), ("said", each["said"] or "(nothing)")]
            if each["wanted"]:
                rows.append(("wanted", each["wanted"]))
            lines.append(pairs("talk", rows))
        lines.append("</details>")
    return lines if len(lines) > 1 else []


def _times(directory: Path) -> list[str]:
    times = read_json(directory / TIMES)
    parts = {name: (seconds, duration(seconds)) for name, seconds in times.items()}
    return [heading("Where the time went"), shares(parts)]


def _foot(directory: Path, curves: list[Curve]) -> str:
    recipe = read_json(directory / curves[-1].name / RECIPE)
    made = f"parrotlet {recipe.get('parrotlet', '')}, PyTorch {recipe.get('torch', '')}, "
    made += f"{recipe.get('threads', '?')} threads"
    return (
        f"<footer><p>Talk to it: <code>parrotlet chat {escape(str(directory))}</code> · curves: "
        f"<code>parrotlet plot {escape(str(directory))}</code></p><p>{escape(made)}. Every number "
        "on this page was read from the run's own files.</p></footer>"
    )
