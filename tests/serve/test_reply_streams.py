"""What a stream is besides its words: headers, signs of life; and whether tools may be called."""

from __future__ import annotations

import time
from typing import Any

import httpx2
import pytest
from tiny_server import in_thread, script, scripted, tokenizer

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


def test_a_stream_passes_proxies_and_shows_that_the_server_lives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("parrotlet.serve.service.PING", 0.02)
    with in_thread(scripted([65, 66, *script("<|end|>")])) as server:
        engine: Any = server.server.service.models.all[0].engine
        step = engine.step

        def slow() -> Any:
            time.sleep(0.3)
            return step()

        engine.step = slow
        answer = httpx2.post(server.address + CHAT, json={**HELLO, "stream": True}, timeout=60)
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-accel-buffering"] == "no"
        assert "\n\n: ping\n\n" in answer.text and answer.text.endswith("data: [DONE]\n\n")


def test_tool_choice_none_leaves_no_way_to_call_one() -> None:
    says = [65, *script("<|end|>")]
    with in_thread(scripted(says, says)) as server:
        engine: Any = server.server.service.models.all[0].engine
        asked: list[Any] = []
        add = engine.add

        def note(request: Any) -> Any:
            asked.append(request)
            return add(request)

        engine.add = note
        for choice in ("auto", "none"):
            body = {**HELLO, "tool_choice": choice}
            answer = httpx2.post(server.address + CHAT, json=body, timeout=60)
            assert answer.json()["choices"][0]["message"]["content"] == "A"
        call = tokenizer().special("<|call|>")
        assert [call in each.banned_ids for each in asked] == [False, True]
