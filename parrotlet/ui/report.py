"""The report page: what a demo learned, as the page that the demo wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import streamlit as st

REPORT = "report.html"


def report_page(runs: Mapping[str, Path]) -> None:
    """The report of a run, where it has one."""
    found = {
        folder.name: folder / REPORT
        for path in runs.values()
        for folder in (path, path.parent, path.parent.parent)
        if (folder / REPORT).is_file()
    }
    if not found:
        st.header("Report", anchor=False)
        st.info("No report is here: `parrotlet demo` writes one when it is done.",
                icon=":material/summarize:")  # fmt: skip
        return
    name = next(iter(found))
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="right"):
        if len(found) > 1:
            name = st.selectbox("Report of", list(found), width=260)
        html = found[name].read_text(encoding="utf-8")
        st.download_button("Download", html, f"{name}-report.html", "text/html",
                           icon=":material/download:", on_click="ignore")  # fmt: skip
    st.iframe(html, height=2400)
