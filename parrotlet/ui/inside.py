"""Under the hood: the tokens of a text, what comes next and why, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from parrotlet.ui import settings, words
from parrotlet.ui.client import ApiError, Client, Json
from parrotlet.ui.store import Said, Store, branch

HUES = (140, 215, 28, 305, 190, 55)  # neighbouring tokens differ in colour
TOP = 100  # likeliest tokens that the server tells of
BARS = 14
OF = ("as the model says", "after these settings")
MOST_SHOWN = 48  # tokens of an attention map one can read
EXAMPLE = "How many naïve parrots are there? My name is Théo. What is"


@dataclass(frozen=True)
class InsidePage:
    """The page; the server must run with --inspect."""

    client: Client
    store: Store

    def show(self) -> None:
        """Draw it."""
        st.header("Under the hood", anchor=False)
        try:
            names = [each["id"] for each in self.client.models()]
            body = self._asked(names)
            found = self.client.inspect(body)
        except ApiError as error:
            why = " (is it started with --inspect?)" if error.status == 404 else ""
            st.warning(f"{words.plain(str(error))}{why}", icon=":material/cloud_off:")
            st.button("Try again", icon=":material/refresh:")
            return
        position = self._tokens(found, "messages" in body)
        body = {**body, "position": position, "top": TOP}
        found = self.client.inspect(body)
        _next(found)
        _lens(found)
        self._attention(body, found)

    def _asked(self, names: Sequence[str]) -> Json:
        """What to look at: a text, or the latest conversation."""
        with st.container(horizontal=True, vertical_alignment="bottom"):
            model = st.selectbox("Model", names, key="inside-model", width=260)
            talks = self.store.talks()
            what = st.segmented_control("Look at", ["a text", "a conversation"], default="a text",
                                        required=True, key="inside-what",
                                        disabled=not talks)  # fmt: skip
        if what == "a text" or not talks:
            text = st.text_area("Text", EXAMPLE, key="inside-text", height=80, max_chars=2000,
                                help="Ctrl+Enter looks again")  # fmt: skip
            return {"model": model, "text": text or " "}
        titles = {talk.id: talk.title for talk in talks}
        here = settings.chosen()
        picked = st.selectbox("Conversation", list(titles), format_func=titles.__getitem__,
                              index=list(titles).index(here) if here in titles else 0)  # fmt: skip
        talk = next(each for each in talks if each.id == picked)
        said = branch(self.store.tree(talk.id), talk.leaf)
        system = [{"role": "system", "content": talk.system}] if talk.system else []
        return {"model": model, "messages": [*system, *map(Said.message, said)]}

    def _tokens(self, found: Json, masked: bool) -> int:
        """The text in tokens; the place that is looked at."""
        tokens = found["tokens"]
        size = sum(len(each["bytes"]) for each in tokens)
        st.subheader(f"{len(tokens)} tokens, {size} bytes", anchor=False)
        at = len(tokens) - 1
        if len(tokens) > 1:
            at = st.slider("Look after token number", 0, len(tokens) - 1, at,
                           key=f"inside-at-{len(tokens)}")  # fmt: skip
        told = "Underlined: what a model learns to say (the loss mask). " if masked else ""
        st.caption(f"{told}Dashed: control tokens, which no text can become. Hover for ids.")
        spans = [_span(index, each, index == at) for index, each in enumerate(tokens)]
        st.html(f'<div class="tokens">{"".join(spans)}</div>')
        here = tokens[at]
        chance = here["logprob"]
        with st.container(horizontal=True, gap="large", key="metrics-token"):
            st.metric("token", _shown(_text(here)), width="content")
            st.metric("id", here["id"], width="content")
            st.metric("bytes", _hex(here), width="content")
            if chance is not None:
                share = math.exp(chance)
                told = "below 0.1%" if share < 0.001 else f"{share:.1%}"
                st.metric("the model gave it", told, width="content")
        with st.expander("All tokens as a table", icon=":material/table:"):
            rows = [
                {
                    "token": each["text"],
                    "id": each["id"],
                    "bytes": _hex(each),
                    "probability": None if each["logprob"] is None else math.exp(each["logprob"]),
                    "learned": each["learned"],
                }
                for each in tokens
            ]
            st.dataframe(rows, width="stretch")
        return at

    def _attention(self, body: Json, found: Json) -> None:
        st.subheader("Attention", anchor=False)
        st.caption("Each row is a token; a full colour says that it draws much from that column.")
        layer = 0
        if found["layers"] > 1:
            layer = st.slider("Layer", 1, found["layers"], 1, key="inside-layer") - 1
        found = self.client.inspect({**body, "layer": layer, "top": 1})
        heads = found["attention"]
        head = 0
        if len(heads) > 1:
            numbers = list(range(1, len(heads) + 1))
            key = f"inside-head-{len(heads)}"
            head = st.segmented_control("Head", numbers, default=1, required=True, key=key) - 1
        labels = [_shown(_text(each)) for each in found["tokens"]]
        first = max(0, min(found["position"] + 1, len(labels)) - MOST_SHOWN)
        last = min(len(labels), first + MOST_SHOWN)
        rows = [
            {"row": row, "column": column, "weight": heads[head][row][column],
             "from": labels[row], "to": labels[column]}
            for row in range(first, last)
            for column in range(first, row + 1)
        ]  # fmt: skip
        st.altair_chart(_squares(pd.DataFrame(rows), labels, first, last), width="stretch",
                        alt=f"attention of layer {layer + 1}, head {head + 1}")  # fmt: skip
        if first or last < len(labels):
            st.caption(f"Tokens {first} to {last - 1} of {len(labels)}.")


def _squares(table: pd.DataFrame, labels: Sequence[str], first: int, last: int) -> Any:
    order = list(range(first, last))
    names = {place: f"{place} {labels[place]}" for place in order}
    table = table.assign(row=table["row"].map(names), column=table["column"].map(names))
    sort = [names[place] for place in order]
    return (
        alt.Chart(table)
        .mark_rect()
        .encode(
            x=alt.X("column:N", sort=sort, title="looks at",
                    axis=alt.Axis(orient="top", labelAngle=-60, labelOverlap=False)),
            y=alt.Y("row:N", sort=sort, title=None, axis=alt.Axis(labelOverlap=False)),
            color=alt.Color("weight:Q", scale=alt.Scale(domain=[0, 1]), legend=None),
            tooltip=["from:N", "to:N", alt.Tooltip("weight:Q", format=".3f")],
        )
        .properties(height=max(220, 18 * len(order)))
    )  # fmt: skip


def _span(index: int, token: Mapping[str, Any], here: bool) -> str:
    """One token as HTML; everything of it is escaped."""
    hue = HUES[index % len(HUES)]
    style = f"background: hsla({hue}, 60%, 50%, 0.22);"
    if token["learned"]:
        style += f"border-bottom: 3px solid hsl({hue}, 60%, 45%);"
    kind = " ".join(name for name, on in (("control", token["control"]), ("here", here)) if on)
    title = f"{index}: id {token['id']}, bytes {_hex(token)}"
    text = escape(_text(token)).replace("\n", "↵\n")
    return f'<span class="{kind}" style="{style}" title="{escape(title)}">{text or "∅"}</span>'


def _hex(token: Mapping[str, Any]) -> str:
    return " ".join(f"{each:02x}" for each in token["bytes"]) or "none"


def _shown(text: str) -> str:
    """A token in a label: its spaces can be seen."""
    return text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "∅"


def _text(token: Mapping[str, Any]) -> str:
    """A token's text; of one that holds a part of a character its bytes."""
    if "\ufffd" in token["text"]:
        return "".join(f"‹{each:02x}›" for each in token["bytes"])
    return str(token["text"])


def sampled(
    found: Sequence[Mapping[str, Any]], temperature: float, top_k: int, top_p: float
) -> list[float]:
    """What is left of probabilities (best first) after temperature, top-k, then top-p; sums to 1.

    The order is the engine's. Temperature 0 takes the best.
    """
    if temperature == 0:
        return [1.0, *[0.0] * (len(found) - 1)]
    raised = [max(each["probability"], 1e-12) ** (1 / temperature) for each in found]
    if top_k:
        raised = [value if rank < top_k else 0.0 for rank, value in enumerate(raised)]
    total, before, kept = sum(raised), 0.0, []
    for value in raised:
        kept.append(value if before < top_p * total else 0.0)
        before += value
    return [value / sum(kept) for value in kept]


def _next(found: Json) -> None:
    st.subheader("What comes next", anchor=False)
    with st.container(horizontal=True):
        temperature = st.slider("Temperature", 0.0, 2.0, 1.0, 0.05, key="inside-temperature")
        top_k = st.slider("Top-k (0: all)", 0, TOP, 0, key="inside-top-k")
        top_p = st.slider("Top-p", 0.05, 1.0, 1.0, 0.05, key="inside-top-p")
    best = found["next"]
    after = sampled(best, temperature, top_k, top_p)
    rows = []
    for rank, (each, share) in enumerate(zip(best[:BARS], after[:BARS], strict=True), 1):
        name = f"{rank}  {_shown(_text(each))}"
        rows.append({"token": name, "of": OF[0], "share": each["probability"]})
        rows.append({"token": name, "of": OF[1], "share": share})
    chart = (
        alt.Chart(pd.DataFrame(rows))
        .mark_bar(cornerRadiusEnd=3)
        .encode(
            y=alt.Y("token:N", sort=None, title=None),
            yOffset=alt.YOffset("of:N", sort=list(OF)),
            x=alt.X("share:Q", title=None, axis=alt.Axis(format=".0%", tickCount=5)),
            color=alt.Color(
                "of:N",
                scale=alt.Scale(domain=list(OF)),
                legend=alt.Legend(orient="top", direction="vertical", title=None),
            ),
            tooltip=["token:N", "of:N", alt.Tooltip("share:Q", format=".2%")],
        )
        .properties(height=26 * min(BARS, len(best)) + 40)
    )
    st.altair_chart(chart, width="stretch", alt="probabilities of the next token")
    told = sum(each["probability"] for each in best)
    st.caption(f"The {len(best)} likeliest tokens, which have {told:.1%} of the probability.")


def _lens(found: Json) -> None:
    st.subheader("What each layer would say", anchor=False)
    st.caption("The logit lens: the head reads every layer's state as if it were the last.")
    rows = [
        {"layer": f"layer {layer}", "rank": rank, "text": _shown(_text(each)),
         "share": each["probability"]}
        for layer, best in enumerate(found["lens"], 1)
        for rank, each in enumerate(best[:6], 1)
    ]  # fmt: skip
    base = alt.Chart(pd.DataFrame(rows)).encode(
        y=alt.Y("layer:N", sort=None, title=None),
        x=alt.X("rank:O", title="rank", axis=alt.Axis(labelAngle=0)),
        tooltip=["layer:N", "text:N", alt.Tooltip("share:Q", format=".2%")],
    )
    squares = base.mark_rect(cornerRadius=4).encode(
        color=alt.Color("share:Q", scale=alt.Scale(domain=[0, 1]), legend=None)
    )
    on_full = "#07130d" if st.context.theme.type == "dark" else "#ffffff"
    ink = alt.condition("datum.share > 0.45", alt.value(on_full), alt.value("#7d8a83"))
    labels = base.mark_text(fontSize=13).encode(text="text:N", color=ink)
    chart = (squares + labels).properties(height=34 * len(found["lens"]) + 40)
    st.altair_chart(chart, width="stretch", alt="what each layer would say")
