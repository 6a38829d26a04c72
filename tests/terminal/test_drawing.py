"""Charts and pages: what is drawn lies where the numbers say, and the pages stand alone."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from rich.console import Console

from parrotlet.evals.band import Band
from parrotlet.evals.curve import Curve
from parrotlet.terminal.advice import suggestions
from parrotlet.terminal.braille import draw
from parrotlet.terminal.charts import run_charts
from parrotlet.terminal.page import bar, legend, note, page, pairs
from parrotlet.terminal.plot import plot_page
from parrotlet.terminal.progress import StageDisplay
from parrotlet.terminal.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Line,
    chart,
    number,
    thinned,
    ticks,
)
from parrotlet.train.drive import Progress


def points_of(svg: str, kind: str) -> list[tuple[float, float]]:
    (found,) = [
        each for each in ElementTree.fromstring(svg).iter() if kind in each.get("class", "").split()
    ]
    return [tuple(map(float, pair.split(","))) for pair in found.attrib["points"].split()]  # type: ignore[misc]


def test_a_line_lies_where_its_numbers_say() -> None:
    svg = chart([Line(name="a", points=[(0, 0), (5, 5), (10, 10)])], label="a line")
    first, middle, last = points_of(svg, "line")
    assert first == (LEFT, HEIGHT - BOTTOM)
    assert last[0] == WIDTH - RIGHT and TOP < last[1] < TOP + 15  # a little room above
    assert middle == pytest.approx(((first[0] + last[0]) / 2, (first[1] + last[1]) / 2), abs=0.1)


def test_a_band_encloses_its_line() -> None:
    band = [(0.0, 1.0, 3.0), (10.0, 0.5, 2.5)]
    svg = chart([Line(name="a", points=[(0, 2), (10, 1.5)])], label="a", band=band)
    area, line = points_of(svg, "band"), points_of(svg, "line")
    assert len(area) == 4
    assert area[0][1] > line[0][1] > area[-1][1]  # y grows downwards
    assert area[1][1] > line[1][1] > area[2][1]


def test_what_is_no_number_is_left_out_and_heights_are_cut() -> None:
    line = Line(name="a", points=[(0, 50), (1, 2), (2, math.nan), (3, 1)])
    drawn = points_of(chart([line], label="a", high=3), "line")
    assert len(drawn) == 2
    assert chart([], label="nothing at all").endswith("</svg>")


def test_ticks_and_numbers_by_hand() -> None:
    assert ticks(0, 10, 5) == [0, 2, 4, 6, 8, 10]
    assert ticks(1.13, 1.42, 4) == pytest.approx([1.2, 1.3, 1.4])
    assert ticks(3, 3, 4) == [3]
    assert [number(each) for each in (0.25, 3, 1234, 2_500_000)] == ["0.25", "3", "1.23k", "2.5M"]


def test_thinning_keeps_the_ends_and_every_peak() -> None:
    points = [(float(x), 100.0 if x == 777 else math.sin(x / 50)) for x in range(5000)]
    thin = thinned(points, 200)
    assert len(thin) <= 202
    assert (777.0, 100.0) in thin and thin[-1] == points[-1]
    assert [x for x, _ in thin] == sorted(x for x, _ in thin)


def test_braille_draws_a_falling_line_from_corner_to_corner() -> None:
    rows = [row.plain for row in draw([[(0, 1.0), (10, 0.0)]], width=30, height=5)]
    assert len(rows) == 6
    cells = [row[9:] for row in rows[:5]]
    assert cells[0][0] != "\u2800" and cells[4][-1] != "\u2800"
    assert cells[0][-1] == cells[4][0] == "\u2800"
    assert rows[0].startswith("      1 ") and rows[4].startswith("      0 ")
    assert [row.plain for row in draw([[(0, math.nan)]], width=30, height=5)] == ["nothing to draw"]


class Tags(HTMLParser):
    """Fails on tags that do not match; collects addresses."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        for name, value in attributes:
            assert name not in ("src", "href", "onclick"), (tag, name, value)
        if tag not in ("meta", "circle", "line", "polyline", "polygon"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("circle", "line", "polyline", "polygon"):
            assert self.open.pop() == tag


def check_alone(text: str) -> set[str]:
    """That a page is well formed and asks nothing of the network; its tags."""
    tags = Tags()
    tags.feed(text)
    assert tags.open == []
    assert not re.search(r"https?://|url\(|@import|<script|<img|<link", text)
    assert "prefers-color-scheme: dark" in text
    return tags.seen


def curve(name: str = "run", steps: int = 60) -> Curve:
    records = [
        {
            "step": step, "loss": 5 / step + 1, "gradient_norm": 1.0, "lr": 1.0, "units": 100,
            "lap": 0.1, **({"validation_loss": 5 / step + 1.1} if step % 6 == 0 else {}),
        }
        for step in range(1, steps + 1)
    ]  # fmt: skip
    return Curve(name=name, records=records, total=steps)


def test_pages_stand_alone_and_escape_what_they_show() -> None:
    evil = "<script>alert('x')</script> & \"so\""
    body = [
        note(evil),
        pairs("said", [(evil, evil)]),
        legend([evil]),
        bar(evil, 0.5, 0.4, 0.6, "1"),
    ]
    text = page(evil, body)
    check_alone(text)
    assert text.count("&lt;script&gt;") == 6


def test_the_plot_of_several_runs() -> None:
    text = plot_page({"pretrain": [curve("one"), curve("two & more")], "sft": [curve("tuned")]})
    assert "svg" in check_alone(text)
    assert "two &amp; more" in text and text.count("<svg") == 8


def test_a_bar_is_as_long_as_its_rate() -> None:
    assert "width:25.0%" in bar("a", 0.25, 0.1, 0.5, "1 of 4")
    assert "left:10.0%;right:50.0%" in bar("a", 0.25, 0.1, 0.5, "1 of 4")


def test_the_band_is_drawn_and_named() -> None:
    band = Band(
        recipe="r", stage="pretrain", runs=3, steps=(60, 60), settings={},
        points=((0.5, 1.0, 2.0), (1.0, 0.9, 1.4)),
    )  # fmt: skip
    text = run_charts([curve()], band)
    assert 'class="band"' in text and "3 seeds" in text
    assert 'class="band"' not in run_charts([curve()])


@pytest.mark.parametrize(
    ("verb", "axis"),
    [
        ("sft", "nats a token"), ("dpo", "share of the pairs"), ("rl", "mean of the replies"),
    ],
)  # fmt: skip
def test_an_axis_says_what_it_measures(verb: str, axis: str) -> None:
    records = [
        {"step": step, "loss": 1.0, "accuracy": 0.5, "reward": 1.1, "gradient_norm": 1.0, "lr": 1.0,
         "units": 8, "lap": 1.0} for step in range(1, 21)
    ]  # fmt: skip
    assert f"<span>{axis} by step</span>" in run_charts(
        [Curve(name="run", records=records, total=20, verb=verb)]
    )


def test_the_progress_line_says_where_the_run_stands() -> None:
    band = Band(
        recipe="r", stage="pretrain", runs=3, steps=(100, 100), settings={},
        points=((0.01, 1.0, 2.0), (1.0, 1.0, 2.0)),
    )  # fmt: skip
    for loss, word in ((1.5, "(on track)"), (0.5, "(better)"), (3.0, "(worse)")):
        console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: SIM115
        with console.file, StageDisplay("x", console, band=band) as display:
            for step in range(1, 101):
                display.show(Progress(step, 100, loss, 10.0, 1.0))
        assert word in console.export_text().splitlines()[-1]


def test_the_bar_follows_the_steps_there_are() -> None:
    console = Console(width=120, file=open("/dev/null", "w"), force_terminal=True)  # noqa: SIM115
    with console.file, StageDisplay("x", console) as display:
        for step, total in ((1, 100), (40, 100), (41, 60), (60, 60)):
            display.show(Progress(step, total, 1.0, 10.0, 1.0))
        assert display._bar is not None and display._bar.finished
        assert display._bar.tasks[0].total == 60


def test_what_to_try_next_follows_from_the_results() -> None:
    def score(rate: float) -> dict[str, float]:
        return {"rate": rate, "high": min(1.0, rate + 0.05)}

    abilities = {"fact": score(0.5), "story": score(0.4), "recall_two": score(0.2)}
    found = suggestions({}, abilities | {"identity": score(0.99)}, [])
    assert any(
        "“Tells a story” (40%), “Facts, asked in new words” (50%): facts" in it for it in found
    )
    assert any("“Recalls one of two things” (20%)" in it for it in found)
    assert not any("who it is" in it for it in found)
    assert any("--data FOLDER" in each for each in found)
    assert not any("--data FOLDER" in it for it in suggestions({"data": ["x"]}, abilities, []))
    steep = curve(steps=30)
    assert any("still falling" in each for each in suggestions({}, {}, [steep]))
    jump = [each | ({"loss": 50.0} if each["step"] > 15 else {}) for each in steep.records]
    first, *_ = suggestions({}, {}, [replace(steep, records=jump)])
    assert "--matrix-lr" in first and first.endswith("(flags of `parrotlet pretrain`, not of demo)")
    timed = replace(steep, config={"budget": {"minutes": 3}})
    own = {"data": ["my files"], "column": "text", "vocab_size": None}
    more = next(each for each in suggestions(own, {}, [timed]) if "still falling" in each)
    again = "parrotlet demo --data 'my files' --column text --minutes 6 --name longer"
    assert more.endswith(again)
