"""`chat` and `sample` as clients of a server say what they say with the model loaded here."""

from __future__ import annotations

import io
import socket
from pathlib import Path

import httpx2
import pytest
from rich.console import Console
from tiny_server import Running, in_thread, script, scripted

from parrotlet.cli import main
from parrotlet.core.errors import UsageError
from parrotlet.core.machine import MachineConfig
from parrotlet.safety.filters import load_filters
from parrotlet.serve.models import Served
from parrotlet.terminal.chat import ChatSession
from parrotlet.terminal.config import ChatConfig, SamplingConfig
from parrotlet.terminal.load import load
from parrotlet.terminal.remote import Remote

CPU = MachineConfig(device="cpu", dtype="float32")
HERE = ["--device", "cpu", "--dtype", "float32"]


def talk(source: object, *lines: str) -> str:
    """What a chat shows of some lines."""
    screen = io.StringIO()
    config = ChatConfig(model=Path("x"), sampling=SamplingConfig(temperature=0.0, max_tokens=40))
    session = ChatSession(source, config, Console(file=screen, width=200))  # type: ignore[arg-type]
    for line in lines:
        session.take(line)
    return screen.getvalue()


def test_chat_shows_the_same(server: Running, runs: Path) -> None:
    lines = ("/system Be brief.", "Hello", "And the cat?", "the dog " * 20, "/retry", "Bye")
    remote = Remote(server.address + "/v1/", "tiny")
    there, here = talk(remote, *lines[:4]), talk(load(runs / "tiny", CPU), *lines[:4])
    assert there == here and "stopped at --max-tokens 40" in there
    assert talk(remote, *lines)  # another answer, by another seed


def test_a_chat_too_long_loses_its_beginning_on_both_sides(server: Running, runs: Path) -> None:
    lines = ["the mat é é é " * 6] * 8
    there = talk(Remote(server.address, "tiny"), *lines)
    assert there.count("messages no longer fit") == 1
    assert there == talk(load(runs / "tiny", CPU), *lines)


def test_tools_are_seen_and_remembered() -> None:
    say = ("<|call|>", " calculator 12 + 30", "<|end_call|>", " It is 42.", "<|end|>")
    models = scripted(script(*say), script(" Yes.", "<|end|>"))
    with in_thread(models) as server:
        shown = talk(Remote(server.address, "script"), "What is 12 + 30?", "Sure?")
        assert "⟨calculator 12 + 30 = 42⟩" in shown and "It is 42." in shown
        prompt = models.all[0].engine.requests[1].prompt  # type: ignore[attr-defined]
    words = script("<|call|>", " calculator 12 + 30", "<|end_call|>", "<|result|>", " 42")
    assert "".join(map(chr, words)) in "".join(map(chr, prompt))


def test_sample_shows_the_same(
    server: Running, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["the dog", "--seed", "3", "--num", "2", "--max-tokens", "12"]
    assert main(["sample", str(runs / "raw"), *more, *HERE]) == 0
    here = capsys.readouterr().out
    assert main(["sample", "raw", *more, "--api-url", server.address]) == 0
    assert capsys.readouterr().out == here


@pytest.mark.parametrize("verb", ["sample", "chat"])
def test_what_goes_wrong_is_one_sentence(
    server: Running, verb: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
    assert main([verb, "nobody", "--api-url", server.address]) == 2
    told = " ".join("".join(capsys.readouterr()).split())
    assert "'nobody' is not served here; there is tiny, raw" in told
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        monkeypatch.setattr("sys.stdin", io.StringIO("Hello\n"))
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        assert main([verb, "tiny", "--api-url", address]) == 2
    told = " ".join("".join(capsys.readouterr()).split())
    assert f"nothing answers at {address}; start it with parrotlet serve" in told
    if verb == "chat":
        assert main([verb, "raw", "--api-url", server.address]) == 2
        assert "'raw' has only read" in capsys.readouterr().err
    assert main([verb, "tiny", "--api-url", "localhost:8000"]) == 2
    assert "it begins with http://" in capsys.readouterr().err


def test_what_a_filter_decided_reaches_the_person() -> None:
    asked = "Tell me how to build a pipe bomb"
    with in_thread(scripted(script(" Hello.", "<|end|>")), filters=load_filters()) as server:
        body = {"messages": [{"role": "user", "content": asked}]}
        whole = httpx2.post(f"{server.address}/v1/chat/completions", json=body).json()
        assert whole["filter"]["action"] == "refuse" and whole["filter"]["category"]
        shown = " ".join(talk(Remote(server.address, "script"), asked).split())
        assert f"(stopped by a safety filter: {whole['filter']['reason']})" in shown
        assert "filter" not in talk(Remote(server.address, "script"), "Good morning")


def test_a_server_of_others_may_know_more_names_than_it_lists(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with in_thread(scripted(script(" Hello.", "<|end|>"))) as server:
        with pytest.raises(UsageError, match="'else' is not served here; there is script"):
            Remote(server.address, "else").check()
        monkeypatch.setattr(Served, "card", lambda self: {"id": self.name, "owned_by": "library"})
        Remote(server.address, "else").check()


def test_keys_and_refusals_reach_the_person(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_thread(scripted(script(" Hello.", "<|bos|>")), keys=["sk-1"]) as server:
        arguments = ["sample", "script", "x", "--api-url", server.address]
        assert main(arguments) == 2
        assert "give an API key" in capsys.readouterr().err
        monkeypatch.setenv("PARROTLET_API_KEY", "sk-1")
        assert main(arguments) == 0
        assert capsys.readouterr().out == "x Hello.\n"


def test_sample_judges_its_prompt(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", str(runs / "raw"), "heil hitler", *HERE]) == 0
    told = capsys.readouterr()
    assert told.out == "heil hitler\nI can't help with that.\n"
    assert "a safety filter: the message holds a phrase of the policy (hate)" in told.err
