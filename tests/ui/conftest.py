"""The page as a real process beside a scripted server, and a real browser, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from page_process import Page, Tab, running_page
from scripted_api import Scripted, scripted_api

BROWSERS = ("chromium", "chromium-headless-shell", "google-chrome", "chromium-browser")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture
def api() -> Iterator[Scripted]:
    """A scripted server."""
    with scripted_api() as server:
        yield server


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page, beside a scripted server."""
    run = tmp_path_factory.mktemp("page") / "run"  # no neighbours: they would be shown
    run.mkdir()
    with (
        scripted_api() as server,
        running_page(run, "--api-url", server.address) as (address, process),
    ):
        yield Page(address, server, run / "web", process)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium of this machine, driven by Playwright; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium is installed (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def tab(browser: Any, page: Page) -> Iterator[Tab]:
    """A new tab with the chat page open."""
    opened = Tab(browser)
    opened.page.goto(page.address)
    opened.sees("What shall we talk about?")
    yield opened
    opened.context.close()
