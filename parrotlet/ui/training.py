"""The training page: runs as they go, over each other, with what the doctor says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import altair as alt
import pandas as pd
import streamlit as st

from parrotlet.ui import words
from parrotlet.ui.curves import Judgement, Run, find_runs, read_run, samples, thinned

EVERY = 3.0  # seconds between two looks at a run that goes on
ACROSS = {"step": "steps", "tokens": "tokens learned from", "minutes": "minutes"}
PANELS = (
    ("accuracy", "Preferences: share of the pairs it ranks rightly", False),
    ("reward", "Practice: mean reward of its replies", False),
    ("bits_per_byte", "Bits per byte of text it has not seen", True),
    ("gradient_norm", "Gradient norm", False),
    ("lr", "Learning rate, as a share of its highest", False),
    ("speed", "Tokens a second", False),
)
RAW, SMOOTH = 0.25, 2.0
Scale = Literal["linear", "log"]


@dataclass(frozen=True)
class TrainingPage:
    """Curves of the runs that were given, and of those beside them."""

    runs: Mapping[str, Path]
    judge: Callable[[Path], Judgement | None]

    def show(self) -> None:
        """Draw it, again and again while a run goes on."""
        st.header("Training", anchor=False)
        found = find_runs(self.runs)
        if not found:
            st.info("No run with a curve is here yet: `parrotlet pretrain` makes one.",
                    icon=":material/show_chart:")  # fmt: skip
            return
        key = "train-runs"
        given = [name for name in found if found[name].is_relative_to(self._top())]
        kept = [name for name in st.session_state.get(key) or () if name in found]
        st.session_state[key] = kept or given[:2]
        with st.container(horizontal=True, vertical_alignment="bottom"):
            names = st.multiselect("Runs", list(found), key=key, width="stretch")
            across = st.segmented_control("Across", list(ACROSS), default="step", required=True,
                                          key="train-across")  # fmt: skip
            scale: Scale = "log" if st.toggle("Log scale", key="train-log") else "linear"
        chosen = {name: found[name] for name in names}
        live = any(not read_run(path).finished for path in chosen.values())

        @st.fragment(run_every=EVERY if live else None)
        def curves() -> None:
            self._draw({name: read_run(path) for name, path in chosen.items()}, across, scale)

        curves()

    def _top(self) -> Path:
        return next(iter(self.runs.values()))

    def _draw(self, runs: Mapping[str, Run], across: str, scale: Scale) -> None:
        runs = {name: run for name, run in runs.items() if len(run.table)}
        if not runs:
            st.info("Choose a run.", icon=":material/show_chart:")
            return
        judged = {name: self.judge(run.path) for name, run in runs.items()}
        st.subheader("Loss", anchor=False)
        st.caption("In nats a token, of preferences a pair. Thin: every step. Thick: smoothed. "
                   "Dots: text held back. Grey: where the recipe's own runs lay.")  # fmt: skip
        st.altair_chart(_loss(runs, judged, across, scale), width="stretch", alt="training loss")
        for name, run in runs.items():
            _numbers(name, run)
        panels = [each for each in PANELS if any(run.table[each[0]].notna().any()
                                                 for run in runs.values())]  # fmt: skip
        for pair in (panels[i : i + 2] for i in range(0, len(panels), 2)):
            for place, (column, title, dots) in zip(st.columns(2), pair, strict=False):
                place.markdown(f"**{title}**", anchors=False)
                chart = _panel(runs, column, across, scale, dots)
                place.altair_chart(chart, width="stretch", alt=title)
        _remarks(judged)
        _samples(runs)


def _numbers(name: str, run: Run) -> None:
    last = run.table.iloc[-1]
    state = "finished" if run.finished else "in progress"
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"**{words.plain(name)}**", width="content", anchors=False)
            st.badge(state, color="green" if run.finished else "orange")
        with st.container(horizontal=True, gap="large", key=f"metrics-{name}"):
            held = run.table["validation_loss"].dropna()
            st.metric("step", f"{int(last['step']):,} of {run.total:,}", width="content")
            st.metric("loss", f"{last['smooth']:.3f}", width="content")
            if len(held):
                st.metric("held back", f"{held.iloc[-1]:.3f}", width="content")
            st.metric("tokens", f"{int(last['tokens']):,}", width="content")
            st.metric("time", f"{last['minutes']:.1f} min", width="content")


def _long(runs: Mapping[str, Run], across: str, column: str) -> pd.DataFrame:
    """One row a point of every run: run, x, y."""
    frames = []
    for name, run in runs.items():
        points = thinned(run.table[list({across, column})].dropna())
        frames.append(pd.DataFrame({"x": points[across], "y": points[column], "run": name}))
    return pd.concat(frames) if frames else pd.DataFrame(columns=["x", "y", "run"])


def _lines(chart: alt.Chart, width: float, opacity: float = 1.0) -> alt.Chart:
    marked: alt.Chart = chart.mark_line(strokeWidth=width, opacity=opacity)
    return marked


def _x(across: str) -> alt.X:
    return alt.X("x:Q", title=ACROSS[across], axis=alt.Axis(grid=False, tickCount=6))


def _y(scale: Scale) -> alt.Y:
    return alt.Y("y:Q", title=None, scale=alt.Scale(type=scale, zero=False),
                 axis=alt.Axis(tickCount=5))  # fmt: skip


def _hue(runs: Mapping[str, Run], named: bool = True) -> alt.Color:
    legend = alt.Legend(orient="top", title=None, symbolOpacity=1)
    shown = legend if named and len(runs) > 1 else None
    return alt.Color("run:N", scale=alt.Scale(domain=list(runs)), legend=shown)


def _tip(across: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("run:N"),
        alt.Tooltip("x:Q", title=ACROSS[across], format=",.2~f"),
        alt.Tooltip("y:Q", title="value", format=".4~g"),
    ]


def _loss(
    runs: Mapping[str, Run], judged: Mapping[str, Judgement | None], across: str, scale: Scale
) -> Any:
    def drawn(chart: alt.Chart) -> alt.Chart:
        return chart.encode(x=_x(across), y=_y(scale), color=_hue(runs), tooltip=_tip(across))

    def curve(column: str) -> alt.Chart:
        return alt.Chart(_long(runs, across, column))

    layers: list[alt.Chart] = []
    band = [point for each in judged.values() if each for point in each.band]
    if band and across == "step":
        area = pd.DataFrame(band, columns=["x", "low", "high"])
        layers.append(
            alt.Chart(area).mark_area(opacity=0.25, color="gray").encode(
                x=_x(across), y=alt.Y("low:Q", scale=alt.Scale(type=scale, zero=False)), y2="high:Q"
            )
        )  # fmt: skip
    layers += [
        drawn(_lines(curve("loss"), 1, RAW)),
        drawn(_lines(curve("smooth"), SMOOTH)),
        drawn(curve("validation_loss").mark_point(filled=True, size=60)),
    ]
    return alt.layer(*layers).properties(height=340)


def _panel(
    runs: Mapping[str, Run], column: str, across: str, scale: Scale, dots: bool
) -> alt.Chart:
    chart: alt.Chart = alt.Chart(_long(runs, across, column)).mark_line(point=dots, strokeWidth=1.5)
    hue = _hue(runs, named=False)
    return chart.encode(x=_x(across), y=_y(scale), color=hue, tooltip=_tip(across)).properties(
        height=190
    )


def _remarks(judged: Mapping[str, Judgement | None]) -> None:
    st.subheader("What the doctor says", anchor=False)
    for name, each in judged.items():
        if each is None:
            continue
        st.markdown(f"**{words.plain(name)}** {words.plain(each.summary)}", anchors=False)
        for title, sentence in each.findings:
            st.warning(f"**{words.plain(title)}** {words.plain(sentence)}",
                       icon=":material/stethoscope:")  # fmt: skip
        if not each.findings:
            st.caption(":material/check: Nothing that a rule looks for is there.")


def _samples(runs: Mapping[str, Run]) -> None:
    told = {name: found for name, run in runs.items() if (found := samples(run.path))}
    if not told:
        return
    st.subheader("What it said while learning", anchor=False)
    for name, by_step in told.items():
        steps: Sequence[int] = sorted(by_step)
        at = steps[-1]
        if len(steps) > 1:
            at = st.select_slider(f"{words.plain(name)}, at step", steps, value=steps[-1],
                                  key=f"at-{name}")  # fmt: skip
        for prompt, text in by_step[at]:
            with st.container(border=True):
                st.caption(words.plain(prompt) or "(a document of its own)")
                st.text(text)
