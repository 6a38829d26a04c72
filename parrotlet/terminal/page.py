"""One self-contained HTML page: its frame, its style, and the few pieces pages are made of.

No script, no font, no picture and no address: a page can be mailed, archived and opened offline.
It follows the reader's choice of light or dark.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

STYLE = """
:root { color-scheme: light dark; --paper: #faf9f5; --card: #ffffff; --ink: #1b211d;
  --soft: #5d6a62; --rule: #e2e4dc; --accent: #14744a; --wash: #e5f1e9; --warn: #fbefe0;
  --c0: #14744a; --c1: #2563c9; --c2: #c2600a; --c3: #a52f83; --c4: #0d7d8c; --c5: #8a6d00; }
@media (prefers-color-scheme: dark) { :root { --paper: #101412; --card: #181d1a; --ink: #e4eae6;
  --soft: #98a69e; --rule: #2b332e; --accent: #5fd09a; --wash: #1b3327; --warn: #3a2a18;
  --c0: #5fd09a; --c1: #7daaf8; --c2: #f2a05a; --c3: #e58ccb; --c4: #5cc9d8; --c5: #d9bd4f; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui,
  -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; overflow-wrap: anywhere; }
main { max-width: 1020px; margin: 0 auto; padding: 44px 20px 72px; }
h1 { font-size: 2rem; line-height: 1.15; margin: 0 0 6px; letter-spacing: -0.02em; }
h2 { font-size: 1.2rem; margin: 52px 0 4px; letter-spacing: -0.01em; }
h3 { font-size: .95rem; margin: 26px 0 8px; }
p { margin: 6px 0; } .lead { color: var(--soft); max-width: 50rem; margin: 0 0 14px; }
code, pre { font: .86em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
code { background: var(--wash); border-radius: 4px; padding: 1px 5px; }
.mark { color: var(--accent); font-weight: 650; font-size: .84rem; margin: 0 0 10px; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(148px, 1fr)); gap: 1px;
  background: var(--rule); border: 1px solid var(--rule); border-radius: 12px; overflow: hidden;
  margin: 26px 0 0; }
.facts div { background: var(--card); padding: 14px 16px; }
.facts b { display: block; font-size: 1.4rem; line-height: 1.2; letter-spacing: -0.01em; }
.facts span { color: var(--soft); font-size: .84rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  gap: 14px; }
figure { margin: 0; background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 14px 14px 8px; min-width: 0; }
figcaption { font-weight: 600; font-size: .92rem; display: flex; gap: 8px; flex-wrap: wrap;
  justify-content: space-between; margin-bottom: 6px; }
figcaption span { color: var(--soft); font-weight: 400; }
.chart { display: block; width: 100%; height: auto; }
.tick { fill: var(--soft); font-size: 11.5px; } .grid { stroke: var(--rule); }
.line, .behind { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; }
.behind { stroke-width: 1; opacity: .28; } .dashed { stroke-dasharray: 5 4; }
.dot { fill: currentColor; } .band { fill: var(--soft); opacity: .2; }
.c0 { color: var(--c0); } .c1 { color: var(--c1); } .c2 { color: var(--c2); }
.c3 { color: var(--c3); } .c4 { color: var(--c4); } .c5 { color: var(--c5); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: .86rem; padding: 0;
  margin: 10px 0; list-style: none; }
.key { display: inline-block; width: 14px; height: 4px; border-radius: 2px; margin-right: 7px;
  background: currentColor; vertical-align: middle; }
.key.area { height: 10px; background: var(--soft); opacity: .4; }
.bars { background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
  padding: 10px 16px; }
.bar { display: grid; grid-template-columns: minmax(9rem, 15rem) 1fr 9.6rem; gap: 14px;
  align-items: center; padding: 5px 0; font-size: .93rem; }
.track { position: relative; height: 12px; border-radius: 6px; background: var(--rule); }
.track i { position: absolute; inset: 0 auto 0 0; border-radius: 6px; background: var(--accent); }
.track u { position: absolute; top: -3px; bottom: -3px; border: solid var(--ink);
  border-width: 0 1.5px; }
.track u::after { content: ""; position: absolute; left: 0; right: 0; top: 50%;
  border-top: 1.5px solid var(--ink); }
.value { color: var(--soft); font-size: .84rem; font-variant-numeric: tabular-nums;
  white-space: nowrap; }
.value b { display: inline-block; min-width: 3.1em; color: var(--ink); font-size: .95rem; }
.time { display: flex; height: 26px; border-radius: 8px; overflow: hidden; gap: 2px; }
.time i { background: currentColor; min-width: 2px; }
.said { border-left: 2px solid var(--rule); padding: 0 0 0 14px; margin: 0 0 8px; display: grid;
  grid-template-columns: 5.6rem 1fr; gap: 2px 12px; font-size: .93rem; }
.said dt { color: var(--soft); font-variant-numeric: tabular-nums; } .said dd { margin: 0; }
details { background: var(--card); border: 1px solid var(--rule); border-radius: 10px;
  padding: 9px 14px; margin: 8px 0; } summary { cursor: pointer; font-weight: 600; }
summary span { color: var(--soft); font-weight: 400; font-size: .88rem; margin-left: 6px; }
.talk { display: grid; grid-template-columns: 4.6rem 1fr; gap: 1px 12px; margin: 12px 0;
  font-size: .92rem; } .talk dt { color: var(--soft); } .talk dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { text-align: left; padding: 6px 10px 6px 0; border-bottom: 1px solid var(--rule); }
.note { border-left: 3px solid var(--accent); background: var(--wash); border-radius: 0 8px 8px 0;
  padding: 9px 14px; margin: 10px 0; font-size: .93rem; }
.note.bad { border-color: var(--c2); background: var(--warn); }
ol.next { padding-left: 1.2rem; } ol.next li { margin: 8px 0; }
footer { color: var(--soft); font-size: .84rem; margin-top: 56px; border-top: 1px solid var(--rule);
  padding-top: 14px; }
@media (max-width: 620px) { main { padding: 28px 14px 48px; } h1 { font-size: 1.6rem; }
  .bar { grid-template-columns: 1fr auto; gap: 3px 10px; padding: 8px 0; }
  .track { grid-column: 1 / -1; grid-row: 2; } .said { grid-template-columns: 1fr; }
  .said dd { margin-bottom: 6px; }
  .facts div:last-child:nth-child(odd) { grid-column: 1 / -1; } }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole document. `body` is HTML; the title is text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
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
