"""The chat page: a conversation, its replies as they are written, and what one can do with them."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from parrotlet.ui import settings, words
from parrotlet.ui.answers import Answer, Answers
from parrotlet.ui.client import ApiError, Client, Json
from parrotlet.ui.message import show_facts, show_parts, watch
from parrotlet.ui.store import Said, Store, Talk, branch

MOST_MODELS = 3  # side by side
WARM = 0.8  # the temperature of another try where 0 was chosen: the same words would come again
RETRY = 2.0  # seconds between two looks for a server that does not answer
SUGGESTIONS = (
    "Who are you?",
    "What is 17 + 25?",
    "How many letters are in parrot?",
    "Tell me a story.",
)
USER, MODEL = ":material/person:", ":material/eco:"


@dataclass(frozen=True)
class ChatPage:
    """The page; one instance a run of the script."""

    client: Client
    store: Store
    answers: Answers

    def show(self) -> None:
        """Draw it, and wait for replies that are being written."""
        here = settings.chosen()
        talk = self.store.talk(here) if here else None
        if here and talk is None:
            settings.choose(None)
        tree, said = settings.shown_branch(self.store, talk)
        models = self._models()
        with st.sidebar:
            settings.show_talks(self.store, here)
            st.divider()
            with st.expander("System prompt", icon=":material/psychology:"):
                system = settings.show_system(self.store, talk)
            with st.expander("Sampling", icon=":material/casino:"):
                sampling = settings.show_sampling()
        picked = self._head(talk, said, models)
        request = Request(self, talk, system, sampling, models, picked)
        running = self._messages(request, tree, said)
        self._ask(request, said, busy=bool(running))
        if running:
            watch(running)
            st.rerun()

    def _models(self) -> list[Json]:
        """What the server has; none, and a notice that looks again, where it does not answer."""
        try:
            return self.client.models()
        except ApiError as error:
            told = str(error)

        @st.fragment(run_every=RETRY)
        def notice() -> None:
            st.warning(
                f"{words.plain(told)}. It may be loading its models, or starting again; this page "
                "looks for it every two seconds. Your conversations are safe.",
                icon=":material/cloud_off:",
            )
            try:
                self.client.models()
            except ApiError:
                return
            st.rerun()

        notice()
        return []

    def _head(
        self, talk: Talk | None, said: Sequence[Said], models: Sequence[Json]
    ) -> Sequence[str]:
        """The title, what can be done with the conversation, and the models that answer."""
        names = [each["id"] for each in models]
        with st.container(horizontal=True, vertical_alignment="center", key="head"):
            if talk is not None:
                st.markdown(f"**{words.plain(talk.title)}**", width="stretch", anchors=False)
            picked = names[:1]
            if len(names) > 1:
                key = "set-models"
                kept = [name for name in st.session_state.get(key) or () if name in names]
                st.session_state[key] = kept or names[:1]
                picked = st.pills(
                    "Answered by", names, selection_mode="multi", key=key,
                    label_visibility="collapsed", format_func=words.plain,
                    help="Two or three at once answer side by side",
                )  # fmt: skip
            if talk is not None:
                settings.show_menu(self.store, talk, said)
        return picked[:MOST_MODELS] or names[:1]

    def _messages(
        self, request: Request, tree: dict[int, Said], said: Sequence[Said]
    ) -> list[tuple[Any, Answer]]:
        """Draw the branch; the places of replies that are being written."""
        running: list[tuple[Any, Answer]] = []
        contexts = {each["id"]: each["max_model_len"] for each in request.models}
        for index, each in enumerate(said):
            last = index == len(said) - 1
            if each.role == "user":
                self._user(request, tree, each)
                continue
            beside = [one for one in tree.values() if one.side == each.side and one.side]
            if last and len(beside) > 1:
                columns = st.columns(len(beside))
                for column, one in zip(columns, beside, strict=True):
                    with column.container(border=True):
                        running += self._reply(request, tree, one, contexts, last, side=True)
            else:
                with st.chat_message("assistant", avatar=MODEL):
                    running += self._reply(request, tree, each, contexts, last)
        if running:
            st.button("Stop", icon=":material/stop_circle:", shortcut="Escape", key="stop",
                      on_click=_stop, args=([answer for _, answer in running],))  # fmt: skip
        return running

    def _user(self, request: Request, tree: dict[int, Said], said: Said) -> None:
        with (
            st.chat_message("user", avatar=USER),
            st.container(horizontal=True, gap="small", wrap=False, key=f"asked-{said.id}"),
        ):
            with st.container(width="stretch"):
                show_parts(said.parts)
            self._turn(tree, said)
            with st.popover("", icon=":material/edit:", type="tertiary", help="Edit and send"):
                text = st.text_area("Edit", said.text, key=f"edit-{said.id}",
                                    label_visibility="collapsed", height=120)  # fmt: skip
                st.button("Send", key=f"send-{said.id}", type="primary",
                          disabled=not request.models,
                          on_click=request.send, args=(text, said.parent))  # fmt: skip

    def _reply(
        self,
        request: Request,
        tree: dict[int, Said],
        said: Said,
        contexts: dict[str, int],
        last: bool,
        side: bool = False,
    ) -> list[tuple[Any, Answer]]:
        if side:
            st.caption(f":material/eco: {words.plain(said.model or '')}")
        answer = self.answers.get(said.id)
        if answer is not None:
            return [(st.empty(), answer)]
        if said.facts is None:  # it was whole a moment ago, or the page's server was killed
            said = self.store.tree(said.talk).get(said.id, said)
        show_parts(said.parts)
        show_facts(said, contexts)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            self._actions(request, tree, said, last, side)
        return []

    def _actions(
        self, request: Request, tree: dict[int, Said], said: Said, last: bool, side: bool
    ) -> None:
        if not side:
            self._turn(tree, said)
        if last:
            st.button("", icon=":material/refresh:", type="tertiary", key=f"again-{said.id}",
                      help="Another reply", disabled=not request.models,
                      on_click=request.again, args=(said,))  # fmt: skip
        key = f"thumb-{said.id}"
        st.session_state[key] = None if said.thumb is None else int(said.thumb)
        st.feedback("thumbs", key=key, on_change=self._rate, args=(said.id, key))
        if side:
            st.button("This one is better", key=f"better-{said.id}", icon=":material/check:",
                      type="tertiary", on_click=self._prefer, args=(tree, said))  # fmt: skip

    def _rate(self, number: int, key: str) -> None:
        value = st.session_state[key]
        self.store.rate(number, None if value is None else bool(value))

    def _prefer(self, tree: dict[int, Said], said: Said) -> None:
        """A thumb up for this one and down for those beside it; the talk goes on from it."""
        for each in tree.values():
            if each.side == said.side:
                self.store.rate(each.id, each.id == said.id)
        self.store.show(said.talk, said.id)

    def _turn(self, tree: dict[int, Said], said: Said) -> None:
        """To the other versions of this message."""
        others = [each.id for each in tree.values() if each.parent == said.parent]
        if len(others) < 2:
            return
        place = others.index(said.id)
        for step, icon in ((-1, "chevron_left"), (1, "chevron_right")):
            there = 0 <= place + step < len(others)
            st.button("", icon=f":material/{icon}:", key=f"turn-{said.id}-{step}", type="tertiary",
                      disabled=not there, on_click=self.store.show, help="Another version",
                      args=(said.talk, others[place + step] if there else said.id))  # fmt: skip
            if step < 0:
                st.caption(f"{place + 1} / {len(others)}", width="content")

    def _ask(self, request: Request, said: Sequence[Said], *, busy: bool) -> None:
        """The box to write in; suggestions where nothing was said yet."""
        if not said:
            st.space("large")
            st.header("What shall we talk about?", anchor=False)
            st.caption("The model answers on this machine; nothing leaves it.")
            with st.container(horizontal=True):
                for text in SUGGESTIONS:
                    st.button(text, on_click=request.send, args=(text, None),
                              disabled=not request.models)  # fmt: skip
        written = st.chat_input(
            "Message", disabled=busy or not request.models, key="message", max_chars=30_000
        )
        if written:
            request.send(written, said[-1].id if said else None)
            st.rerun()


def _stop(answers: Sequence[Answer]) -> None:
    for each in answers:
        each.stop()


def spoken(said: Sequence[Said]) -> list[Said]:
    """Without messages that got no reply: a stop at once, a server that was down."""
    kept: list[Said] = []
    for each in said:
        if each.role == "assistant" and not each.parts:
            kept.pop()
        else:
            kept.append(each)
    return kept


@dataclass(frozen=True)
class Request:
    """What the page would ask for now, and of whom."""

    page: ChatPage
    talk: Talk | None
    system: str
    sampling: Json
    models: Sequence[Json]
    picked: Sequence[str]

    def send(self, text: str, parent: int | None) -> None:
        """A message after `parent`, and the replies to it."""
        if not text.strip():
            return
        store = self.page.store
        if self.talk is None:
            id = store.begin(settings.title_of(text), self.system)
            st.session_state.pop("set-system-new", None)
            settings.choose(id)
        else:
            id = self.talk.id
        part = {"type": "text", "text": text}
        asked = store.add(id, parent, "user", [part], facts={"finish": "stop"})
        self._answer(id, asked, self.picked, self.sampling)

    def again(self, said: Said) -> None:
        """Other replies to the message before this one."""
        sampling = {name: value for name, value in self.sampling.items() if name != "seed"}
        sampling["temperature"] = sampling["temperature"] or WARM
        assert said.parent is not None
        self._answer(said.talk, said.parent, self.picked, sampling)

    def _answer(self, talk: str, asked: int, models: Sequence[str], sampling: Json) -> None:
        page = self.page
        before = spoken(branch(page.store.tree(talk), asked))
        side = secrets.token_hex(4) if len(models) > 1 else None
        for model in models:
            number = page.store.add(talk, asked, "assistant", model=model, side=side)
            chunks = self._chunks(model, before, sampling)

            def keep(parts: Sequence[Json], facts: Json, number: int = number) -> None:
                page.store.finish(number, parts, facts)

            page.answers.start(number, Answer(chunks, keep))

    def _chunks(self, name: str, before: Sequence[Said], sampling: Json) -> Any:
        """What asks this model: a chat model the conversation, another to go on with its end."""
        chat = next((each.get("chat", True) for each in self.models if each["id"] == name), True)
        client = self.page.client
        if not chat:
            body = {key: value for key, value in sampling.items() if key != "tool_choice"}
            body |= {"model": name, "prompt": before[-1].text}
            return lambda: client.complete(body)
        system = [{"role": "system", "content": self.system}] if self.system else []
        messages = [*system, *(each.message() for each in before)]
        body = {"model": name, **sampling, "messages": messages, "truncation": "auto"}
        return lambda: client.chat(body)
