"""One self-contained HTML page: its frame, its style, and the few pieces pages are made of.

No script, no font, no picture and no address: a page can be mailed, archived and opened offline.
It follows the reader's choice of light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

STYLE = Path(__file__).parent / "page.css"


def page(title: str, body: Iterable[str]) -> str:
    """A whole document. `body` is HTML; the title is text."""
    style = STYLE.read_text(encoding="utf-8")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def heading(text: str, lead: str = "") -> str:
    """The title of a section and a sentence under it."""
    return f"<h2>{escape(text)}</h2>" + (f'<p class="lead">{escape(lead)}</p>' if lead else "")


def figure(title: str, unit: str, drawing: str) -> str:
    """A drawing with its title at the left and its unit at the right."""
    return (
        f"<figure><figcaption>{escape(title)}<span>{escape(unit)}</span></figcaption>\n{drawing}"
        "</figure>"
    )


def figures(drawn: Sequence[str]) -> str:
    """Figures beside each other, as many as fit."""
    return '<div class="charts">' + "\n".join(drawn) + "</div>"


def legend(names: Sequence[str], *, area: str = "") -> str:
    """Which colour is which; `area` names the shaded one."""
    keys = [
        f'<li><span class="key c{index % 6}"></span>{escape(name)}</li>'
        for index, name in enumerate(names)
    ]
    if area:
        keys.append(f'<li><span class="key area"></span>{escape(area)}</li>')
    return f'<ul class="legend">{"".join(keys)}</ul>'


def facts(values: Mapping[str, str]) -> str:
    """Numbers that matter, large, each over what it is."""
    cells = [
        f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>"
        for name, value in values.items()
    ]
    return f'<div class="facts">{"".join(cells)}</div>'


def bar(name: str, rate: float, low: float, high: float, said: str) -> str:
    """A rate as a bar, with its interval over it."""
    return (
        f'<div class="bar"><span>{escape(name)}</span>'
        f'<span class="track"><i style="width:{rate:.1%}"></i>'
        f'<u style="left:{low:.1%};right:{1 - high:.1%}"></u></span>'
        f'<span class="value"><b>{rate:.0%}</b> {escape(said)}</span></div>'
    )


def shares(values: Mapping[str, tuple[float, str]]) -> str:
    """Parts of a whole as one bar with its legend: {name: (size, the size as text)}."""
    pieces = [
        f'<i class="c{index % 6}" style="flex:{max(size, 1e-6):g}"></i>'
        for index, (size, _) in enumerate(values.values())
    ]
    names = [f"{name}: {text}" for name, (_, text) in values.items()]
    return f'<div class="time">{"".join(pieces)}</div>' + legend(names)


def pairs(kind: str, rows: Iterable[tuple[str, str]]) -> str:
    """Labels with their texts, as a list of definitions."""
    cells = [f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in rows]
    return f'<dl class="{kind}">{"".join(cells)}</dl>'


def note(text: str, *, bad: bool = False) -> str:
    """A sentence set apart."""
    return f'<p class="note{" bad" if bad else ""}">{escape(text)}</p>'
