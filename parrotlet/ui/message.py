"""One message on the page: its words, calls of tools, what was decided about it, its numbers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from parrotlet.ui import words
from parrotlet.ui.answers import Answer
from parrotlet.ui.client import Json
from parrotlet.ui.store import Said

PAUSE = 0.06  # seconds between two looks at a reply that is being written
CHARS_A_SECOND = 200_000  # a long reply is drawn less often: so many characters a second
CURSOR = " ▍"
ENDS = {
    "length": "cut off: the length that was set, or the model's context, is used up",
    "abort": "the server stopped in the middle of this reply",
    "stopped": "stopped here",
}


def show_parts(parts: Sequence[Json], cursor: str = "") -> None:
    """Words and calls of tools, in order."""
    for index, part in enumerate(parts):
        last = cursor if index == len(parts) - 1 else ""
        if part["type"] == "text":
            _show_text(part["text"] + last)
        elif part["type"] == "tool_call":  # its result is shown with it
            after = parts[index + 1] if index + 1 < len(parts) else {}
            result = after.get("text") if after.get("type") == "tool_result" else None
            _show_call(part, result)
    if cursor and (not parts or parts[-1]["type"] != "text"):
        st.markdown(cursor)


def _show_text(text: str) -> None:
    for language, block in words.blocks(text):
        if language is None:
            st.markdown(block, anchors=False)
        else:
            st.code(block, language=language or None, wrap_lines=True)


def _show_call(call: Mapping[str, Any], result: str | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(words.plain(str(call["name"])), icon=":material/calculate:", color="green")
        st.code(f"{call['arguments']}  =  {'…' if result is None else result}", language=None,
                width="content", wrap_lines=True)  # fmt: skip


def watch(running: Sequence[tuple[Any, Answer]]) -> None:
    """Draw replies as they grow, each in its place (an st.empty), until the last one is done."""
    drawn = [-1] * len(running)
    while True:
        going = [not answer.done.is_set() for _, answer in running]
        size = 0
        for index, (place, answer) in enumerate(running):
            length = len(answer.parts) + sum(len(p.get("text", "")) for p in answer.parts)
            size += length
            if length == drawn[index] and going[index] and length:
                continue
            drawn[index] = length
            with place.container():
                show_parts(answer.parts, CURSOR if going[index] else "")
        if not any(going):
            return
        time.sleep(PAUSE + size / CHARS_A_SECOND)


def show_facts(said: Said, contexts: Mapping[str, int]) -> None:
    """Under a reply: what went wrong, what was decided, how quick it was."""
    facts = said.facts or {"finish": "abort"}
    if "error" in facts:
        st.error(words.plain(str(facts["error"])) + ".", icon=":material/error:")
    if facts["finish"] == "content_filter":
        st.warning(filtered(facts), icon=":material/shield:")
    elif facts.get("filter"):
        st.info(filtered(facts), icon=":material/shield:")
    if facts["finish"] in ENDS:
        st.caption(f":material/info: {ENDS[facts['finish']]}")
    if dropped := facts.get("dropped_messages"):
        st.caption(
            f":material/content_cut: the oldest {dropped} messages no longer fit the context; the "
            "model did not see them"
        )
    with st.container(key=f"facts-{said.id}", width="content"):
        st.caption(" · ".join(numbers(said, contexts)))


def filtered(facts: Mapping[str, Any]) -> str:
    """What a safety filter decided, and why."""
    why = facts.get("filter") or {}
    told = {
        "refuse": "A safety filter refused this message",
        "end": "A safety filter ended this reply",
        "redact": "A safety filter removed a part",
        "warn": "A safety filter has a remark",
    }.get(why.get("action", "end"), "A safety filter acted")
    if why.get("direction") == "output" and why.get("action") == "refuse":
        told = "A safety filter ended this reply"
    reason = words.plain(str(why.get("reason", "")))
    return f"{told}: {reason}." if reason else f"{told}."


def numbers(said: Said, contexts: Mapping[str, int]) -> list[str]:
    """Speed and size of a reply, as far as they are known."""
    facts = said.facts or {}
    found = [words.plain(said.model or "")]
    usage, first, seconds = facts.get("usage"), facts.get("first"), facts.get("seconds")
    if usage and not usage["total_tokens"]:  # a filter spoke, and no model
        return found
    if usage and seconds:
        found.append(f"{usage['completion_tokens'] / seconds:,.0f} tokens/s")
    if first is not None:
        found.append(f"first token after {first:.2f} s")
    if usage:
        limit = contexts.get(said.model or "")
        of = f" of {limit:,}" if limit else ""
        forced = usage.get("forced_tokens", 0)
        found.append(f"context {usage['total_tokens'] + forced:,}{of} tokens")
    return found
