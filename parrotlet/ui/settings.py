"""What a person chooses beside the chat: a conversation, and how replies are sampled."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import streamlit as st

from parrotlet.ui import words
from parrotlet.ui.store import Said, Store, Talk, branch

Json = dict[str, Any]
PRESETS = {
    "None": "",
    "Polite": "Thank the user for asking.",
    "One word": "Answer with one word.",
    "Teacher": "Explain every answer in simple words.",
}
KNOWN = {"text": ("text",), "tool_call": ("name", "arguments"), "tool_result": ("text",)}
TITLE = 48  # characters
LATEST = 30  # conversations in the list


def chosen() -> str | None:
    """The conversation of this tab; in its address, so that a reload finds it."""
    return st.query_params.get("c")


def choose(id: str | None) -> None:
    """Go to a conversation, or to none."""
    if id is None:
        st.query_params.pop("c", None)
    else:
        st.query_params["c"] = id


def title_of(text: str) -> str:
    """A name for the conversation that begins with this message."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE else line[: TITLE - 1].rstrip() + "…"


def show_talks(store: Store, here: str | None) -> None:
    """The list of conversations, new and imported ones too."""
    st.button("New chat", icon=":material/edit_square:", on_click=choose, args=(None,),
              width="stretch", shortcut="Ctrl+Shift+O")  # fmt: skip
    talks = store.talks()
    if store.aside is not None:
        st.caption(f":material/database: earlier conversations could not be read; they are kept in "
                   f"{words.plain(store.aside.name)}")  # fmt: skip
    with st.container(key="talks"):
        for talk in talks[:LATEST]:
            st.button(words.plain(talk.title), key=f"talk-{talk.id}", width="stretch",
                      type="secondary" if talk.id == here else "tertiary",
                      on_click=choose, args=(talk.id,))  # fmt: skip
    if len(talks) > LATEST:
        more = {talk.id: talk.title for talk in talks[LATEST:]}
        picked = st.selectbox(f"{len(more)} more", list(more), index=None, key="more-talks",
                              format_func=lambda id: more[id])  # fmt: skip
        if picked:
            choose(picked)
            st.rerun()
    with st.expander("Import a conversation", icon=":material/upload:"):
        _show_import(store)


def _show_import(store: Store) -> None:
    file = st.file_uploader("A JSON file with messages", type=["json"], key="import")
    if file is None or not st.button("Import", key="do-import"):
        return
    try:
        title, system, messages = read_conversation(file.getvalue())
    except ValueError as error:
        st.error(words.plain(f"{file.name} {error}"))
        return
    id, parent = store.begin(title_of(title), system), None
    for role, parts in messages:
        parent = store.add(id, parent, role, parts, facts={"finish": "stop"})
    choose(id)
    st.rerun()


def read_conversation(data: bytes) -> tuple[str, str, list[tuple[str, list[Json]]]]:
    """Title, system prompt and messages; ValueError, without the file's name, where it has none."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ValueError(f"is not JSON: {error}") from None
    said = value.get("messages") if isinstance(value, dict) else value
    if not isinstance(said, list) or not said:
        raise ValueError('is not a conversation: it has no list of "messages"')
    system = ""
    messages: list[tuple[str, list[Json]]] = []
    for number, each in enumerate(said, 1):
        role, parts = _read_message(each, f"is not a conversation: message {number}")
        if role == "system" and number == 1:
            system = parts[0]["text"]
            continue
        wanted = ("user", "assistant")[len(messages) % 2]
        if role != wanted:
            raise ValueError(f"is not a conversation: message {number} is not the {wanted}'s")
        messages.append((role, parts))
    if not messages:
        raise ValueError("is not a conversation: nobody says anything in it")
    named = value.get("title") if isinstance(value, dict) else None
    first = "".join(part.get("text", "") for part in messages[0][1])
    return str(named or first or "Imported"), system, messages


def _read_message(value: Any, place: str) -> tuple[str, list[Json]]:
    if not isinstance(value, dict) or not isinstance(value.get("role"), str):
        raise ValueError(f"{place} has no role")
    parts = value.get("parts") or [{"type": "text", "text": value.get("content")}]
    for part in parts if isinstance(parts, list) else [{}]:
        wanted = KNOWN.get(str(part.get("type"))) if isinstance(part, dict) else None
        if wanted is None or not all(isinstance(part.get(name), str) for name in wanted):
            raise ValueError(f"{place} has no text")
    return value["role"], parts


def show_menu(store: Store, talk: Talk, said: Sequence[Said]) -> None:
    """Rename, export, delete."""
    with st.popover("", icon=":material/more_horiz:", type="tertiary", help="This conversation"):
        title = st.text_input("Name", talk.title, key=f"title-{talk.id}", max_chars=200)
        if title.strip() and title != talk.title:
            store.change(talk.id, title=title.strip())
            st.rerun()
        for form, write, ending in (("JSON", as_json, "json"), ("Markdown", as_markdown, "md")):
            st.download_button(f"Export as {form}", write(talk, said), f"{talk.id}.{ending}",
                               icon=":material/download:", width="stretch",
                               on_click="ignore")  # fmt: skip
        if st.button("Delete", icon=":material/delete:", width="stretch", key="delete",
                     help="The conversation and its thumbs"):  # fmt: skip
            store.delete(talk.id)
            choose(None)
            st.rerun()


def as_json(talk: Talk, said: Sequence[Said]) -> str:
    """The branch that is shown, in OpenAI's form; `parrotlet sft` reads it, and so does import."""
    system = [{"role": "system", "content": talk.system}] if talk.system else []
    messages = [*system, *(each.message() for each in said)]
    return json.dumps({"title": talk.title, "messages": messages}, indent=2, ensure_ascii=False)


def as_markdown(talk: Talk, said: Sequence[Said]) -> str:
    """The same for people."""
    lines = [f"# {talk.title}"]
    if talk.system:
        lines.append(f"*System prompt:* {talk.system}")
    for each in said:
        shown = []
        for part in each.parts:
            if part["type"] == "tool_call":
                shown.append(f"`{part['name']} {part['arguments']}` ")
            else:
                shown.append(f"`= {part['text']}` " if part["type"] != "text" else part["text"])
        lines.append(f"**{each.model or each.role}:** {''.join(shown)}")
    return "\n\n".join(lines) + "\n"


def show_sampling() -> Json:
    """The sliders; what they say as fields of a request."""
    body: Json = {}
    body["temperature"] = st.slider(
        "Temperature", 0.0, 2.0, 0.0, 0.05, key="set-temperature",
        help="0 takes the best token; 1 samples as the model believes.",
    )  # fmt: skip
    body["max_tokens"] = st.number_input("Longest reply, in tokens", 1, 4096, 256, key="set-length")
    with st.expander("More", icon=":material/tune:"):
        if top_k := st.number_input("Top-k", 0, 1000, 0, key="set-top-k",
                                    help="Only the k best tokens; 0: all."):  # fmt: skip
            body["top_k"] = top_k
        body["top_p"] = st.slider("Top-p", 0.05, 1.0, 1.0, 0.05, key="set-top-p",
                                  help="The fewest tokens that reach p together.")  # fmt: skip
        body["min_p"] = st.slider("Min-p", 0.0, 0.5, 0.0, 0.01, key="set-min-p",
                                  help="Tokens this times as likely as the best.")  # fmt: skip
        for name, label in (("presence", "Presence penalty"), ("frequency", "Frequency penalty")):
            body[f"{name}_penalty"] = st.slider(label, -2.0, 2.0, 0.0, 0.1, key=f"set-{name}")
        body["repetition_penalty"] = st.slider("Repetition penalty", 1.0, 2.0, 1.0, 0.05,
                                               key="set-repetition")  # fmt: skip
        seed = st.text_input("Seed", "", key="set-seed", help="The same seed, the same words.")
        if seed.strip().isdecimal():
            body["seed"] = int(seed) % 2**63
        elif seed.strip():
            st.caption(":material/info: a seed is a whole number; this one is not used")
        if not st.toggle("Calculator", True, key="set-tools"):
            body["tool_choice"] = "none"
    return body


def show_system(store: Store, talk: Talk | None) -> str:
    """The system prompt of this conversation, or of the next one."""
    key = f"set-system-{talk.id if talk else 'new'}"
    if key not in st.session_state:
        st.session_state[key] = talk.system if talk else ""

    def preset() -> None:
        st.session_state[key] = PRESETS[st.session_state["preset"]]

    st.selectbox("Presets", list(PRESETS), index=None, key="preset", on_change=preset,
                 placeholder="Choose a preset")  # fmt: skip
    system = st.text_area("System prompt", key=key, height=90, max_chars=4000,
                          placeholder="What the model should keep to")  # fmt: skip
    if talk is not None and system != talk.system:
        store.change(talk.id, system=system)
    return system or ""


def shown_branch(store: Store, talk: Talk | None) -> tuple[dict[int, Said], list[Said]]:
    """All messages, and those on the way to the leaf."""
    tree = store.tree(talk.id) if talk else {}
    return tree, branch(tree, talk.leaf if talk else None)
