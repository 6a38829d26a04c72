"""curl, as people type it: an answer, a stream, an error, a key."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest
from tiny_server import PATIENT, Running, in_thread, script, scripted

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4}

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")


def curl(*arguments: str) -> str:
    """What it prints; its own errors are the test's."""
    command = ["curl", "--silent", "--show-error", "--no-buffer", *arguments]
    told = subprocess.run(command, capture_output=True, text=True, timeout=PATIENT, check=True)
    return told.stdout


def post(body: dict[str, Any]) -> tuple[str, ...]:
    return "-H", "Content-Type: application/json", "-d", json.dumps(body)


def test_curl_is_answered_whole_and_in_parts(server: Running) -> None:
    asked = HELLO | {"temperature": 0}
    choice = json.loads(curl(server.address + CHAT, *post(asked)))["choices"][0]
    lines = curl(server.address + CHAT, *post(asked | {"stream": True})).splitlines()
    events = [line.removeprefix("data: ") for line in lines if line]
    assert events[-1] == "[DONE]" and all(line.startswith("data: ") for line in lines if line)
    deltas = [json.loads(each)["choices"][0]["delta"] for each in events[:-1]]
    assert deltas[0]["role"] == "assistant"
    text = "".join(each.get("content", "") for each in deltas)
    assert text == choice["message"]["content"] != ""


def test_curl_is_told_what_was_wrong(server: Running) -> None:
    status = ("-w", "\n%{http_code}")
    told, code = curl(server.address + CHAT, *status, *post({"messages": []})).rsplit("\n", 1)
    assert code == "400" and json.loads(told)["error"]["param"] == "messages"
    form = curl(server.address + CHAT, *status, "-d", "messages=hello")
    assert form.endswith("415") and "send JSON as application/json" in form


def test_curl_with_a_key() -> None:
    with in_thread(scripted(script("a", "<|end|>")), keys=["sk-one"]) as server:
        url = server.address + CHAT
        assert '"invalid_api_key"' in curl(url, *post(HELLO))
        whole = curl(url, "-H", "Authorization: Bearer sk-one", *post(HELLO))
        assert json.loads(whole)["choices"][0]["message"]["content"] == "a"
