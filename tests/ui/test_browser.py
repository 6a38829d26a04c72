"""The flows of a person, in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
import pytest
from page_process import Page, Tab, running_page
from scripted_api import scripted_api

from parrotlet.ui.store import Store

FIXTURES = Path(__file__).parent / "hostile.txt"


def payloads() -> list[str]:
    """Texts that try to run, to fetch or to lead away."""
    return FIXTURES.read_text(encoding="utf-8").split("\n----\n")


def test_a_conversation(tab: Tab, page: Page) -> None:
    tab.say("say hello there, reader")
    tab.sees("hello there, reader")
    tab.facts(1)
    tab.say("sum")
    tab.sees("12 + 30 = 42")
    tab.sees("It is 42.")
    tab.facts(2)
    tab.page.get_by_text("context 14 of 512 tokens").first.wait_for()
    asked = page.api.asked[-1]["messages"]
    assert [each["content"] for each in asked] == [
        "say hello there, reader", "hello there, reader", "sum",
    ]  # fmt: skip
    tab.page.reload()
    tab.facts(2)  # kept
    first, second, third, fourth = tab.messages()
    assert "hello there, reader" in first and "hello there, reader" in second
    assert "sum" in third and "It is 42." in fourth
    assert tab.trouble() == []


def test_stop_keeps_what_there_is(tab: Tab, page: Page) -> None:
    tab.say("slow 2000")
    tab.sees("w3 ")
    tab.page.keyboard.press("Escape")
    tab.sees("stopped here")
    told = page.api.told
    tab.say("say and now this")
    tab.sees("and now this")
    tab.facts(2)
    assert page.api.told < told + 100  # the first reply was really ended
    assert tab.trouble() == []


def test_a_reload_in_mid_stream(tab: Tab) -> None:
    tab.say("slow 100")
    tab.sees("w3 ")
    tab.page.reload()
    tab.facts(1)
    _, reply = tab.messages()  # it went on while nobody looked
    assert "w0 w1 " in reply and "w98 w99" in reply
    assert tab.trouble() == []


def test_two_tabs_do_not_mix(tab: Tab, page: Page, browser: Any) -> None:
    other = Tab(browser)
    other.page.goto(page.address)
    other.sees("What shall we talk about?")
    tab.say("say mine alone")
    other.say("say yours alone")
    tab.facts(1)
    other.facts(1)
    assert not any("yours" in each for each in tab.messages())
    assert not any("mine" in each for each in other.messages())
    assert tab.page.url != other.page.url
    assert tab.trouble() == []
    assert other.trouble() == []
    other.context.close()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("busy", "too many requests wait already"),
        ("break off", "the engine has stopped"),
        ("filter this", "A safety filter ended this reply"),
    ],
)
def test_what_goes_wrong_is_told(tab: Tab, message: str, told: str) -> None:
    tab.say(message)
    tab.facts(1)
    assert told in tab.messages()[1]
    tab.say("say still here")
    tab.facts(2)
    assert "still here" in tab.messages()[3]
    assert tab.trouble() == []


def test_a_long_reply(tab: Tab) -> None:
    tab.say("long 50000")
    tab.facts(1)
    tab.sees("the end")
    text = tab.page.locator("[data-testid='stChatMessage']").nth(1).inner_text()
    assert text.count("0123456789") == 5000
    assert tab.trouble() == []


def test_a_server_that_is_away_and_comes_back(browser: Any, tmp_path: Path) -> None:
    with scripted_api() as server:
        port = int(server.address.rpartition(":")[2])
    (tmp_path / "run").mkdir()
    with running_page(tmp_path / "run", "--api-url", server.address) as (address, _):
        tab = Tab(browser)
        tab.page.goto(address)
        tab.sees("does not answer")
        with scripted_api(port):
            tab.page.get_by_text("does not answer").wait_for(state="detached")
            tab.say("say back again")
            tab.facts(1)
            assert "back again" in tab.messages()[1]
        assert tab.trouble() == []
        tab.context.close()


def test_nothing_in_a_text_runs_or_fetches(tab: Tab, page: Page) -> None:
    """Fifty texts: kept, as title, as question, as reply; and streamed, all in one reply."""
    hostile = payloads()
    assert len(hostile) >= 50
    store = Store(page.home)
    id, parent = store.begin(hostile[0], hostile[1]), None
    for text in hostile:
        parts = [{"type": "text", "text": text}]
        store.begin(text)
        parent = store.add(id, parent, "user", parts, facts={"finish": "stop"})
        call = {"type": "tool_call", "name": text, "arguments": text}
        said = [*parts, call, {"type": "tool_result", "text": text}]
        parent = store.add(id, parent, "assistant", said, model=text, facts={"finish": "stop"})
    tab.page.goto(f"{page.address}/?c={id}")
    tab.facts(len(hostile))
    tab.say("say " + "\n\n".join(hostile))
    tab.facts(len(hostile) + 1)
    main = tab.page.locator("[data-testid='stChatMessage']")
    assert main.locator("img:not([src^='data:'])").count() == 0
    assert main.locator("script, iframe, object, embed, form, svg a, style, link").count() == 0
    links = main.locator("a").evaluate_all(
        "all => all.map(each => [each.getAttribute('href') || '#', each.innerText])"
    )
    for address, shown in links:  # an address leads where it says, or nowhere
        assert address == "#" or address.startswith(("http://", "https://", "mailto:")), address
        assert address == "#" or shown in unquote(address), (address, shown)
    assert tab.trouble() == []


def test_only_this_machine_by_its_own_name(page: Page) -> None:
    answer = httpx2.get(page.address)
    assert answer.status_code == 200
    assert "img-src 'self' data: blob:;" in answer.headers["content-security-policy"]
    for host in ("evil.example", "127.0.0.1.evil.example:8501", ""):
        assert httpx2.get(page.address, headers={"Host": host}).status_code == 403


def test_pages_without_runs(tab: Tab, page: Page) -> None:
    for path, told in (("training", "No run with a curve"), ("report", "No report is here")):
        tab.page.goto(f"{page.address}/{path}")
        tab.sees(told)
        assert tab.page.locator("[data-testid='stAlert']").count() == 1
    assert tab.trouble() == []
