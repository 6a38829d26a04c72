"""The pages together: what they share, and the way between them.

Settings come as st.secrets["parrotlet"]: `api`, the address of the server; `runs`, the folders of
runs, by name; `home`, the folder of conversations.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from parrotlet.ui import theme
from parrotlet.ui.answers import Answers
from parrotlet.ui.chat import ChatPage
from parrotlet.ui.client import Client
from parrotlet.ui.curves import Judgement
from parrotlet.ui.inside import InsidePage
from parrotlet.ui.report import report_page
from parrotlet.ui.store import Store
from parrotlet.ui.training import TrainingPage

ICON = Path(__file__).with_name("leaf.svg")
KEPT = ("set-", "inside-", "train-")  # widgets whose values outlive a visit to another page


@dataclass(frozen=True)
class Shared:
    """What all tabs have in common."""

    store: Store
    answers: Answers


@st.cache_resource(show_spinner=False)
def shared(home: str) -> Shared:
    """Made once for a process."""
    return Shared(Store(Path(home)), Answers())


def show(judge: Callable[[Path], Judgement | None]) -> None:
    """The page that is asked for. `judge` says what is to be said about a run's curve."""
    st.set_page_config(page_title="parrotlet", page_icon=str(ICON), layout="wide")
    settings: Mapping[str, Any] = st.secrets["parrotlet"]
    for key in list(st.session_state):
        if str(key).startswith(KEPT):
            st.session_state[key] = st.session_state[key]
    st.html(theme.style())
    st.logo(theme.LOGO, size="large")
    client = Client(str(settings["api"]), os.environ.get("PARROTLET_API_KEY", "").split(" ")[0])
    runs = {str(name): Path(path) for name, path in settings["runs"].items()}
    common = shared(str(settings["home"]))
    chat = ChatPage(client, common.store, common.answers)
    pages: Sequence[Any] = [
        st.Page(chat.show, title="Chat", icon=":material/chat:", url_path="chat", default=True),
        st.Page(TrainingPage(runs, judge).show, title="Training",
                icon=":material/show_chart:", url_path="training"),
        st.Page(InsidePage(client, common.store).show, title="Under the hood",
                icon=":material/neurology:", url_path="inside"),
        st.Page(lambda: report_page(runs), title="Report",
                icon=":material/summarize:", url_path="report"),
    ]  # fmt: skip
    st.navigation(pages, position="top").run()
