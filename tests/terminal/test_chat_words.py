"""What chat and sample say, whatever the terminal can show and whatever was typed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from parrotlet.chat.pieces import Finish
from parrotlet.cli import main
from parrotlet.terminal.chat import ChatSession
from parrotlet.terminal.config import ChatConfig, MachineConfig, SamplingConfig
from parrotlet.terminal.load import load
from parrotlet.train.checkpoint import find, load_tensors, load_tokenizer, save_weights

CPU = MachineConfig(device="cpu")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base model of a few steps."""
    runs = tmp_path_factory.mktemp("runs")
    smoke = ["--recipe", "smoke", "--device", "cpu", "--runs", str(runs)]
    assert main(["pretrain", *smoke, "--name", "base"]) == 0
    return runs / "base"


def test_a_model_that_has_only_read_does_not_chat(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["chat", str(run)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{run} has only read" in said
    assert f"parrotlet sft {run}" in said and f"parrotlet sample {run} Once" in said


def talking(run: Path, to: Path) -> Path:
    """The same weights as of a model that was taught to answer."""
    base = find(run)
    weights = load_tensors(base.path / "model.safetensors")
    save_weights(to, base.config, weights, load_tokenizer(base), stage="sft")
    return to


def test_a_terminal_of_ascii_and_bytes_of_no_encoding(run: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "parrotlet"]
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [*command, "sample", str(run), "caf\u00e9 \u6f22", "--max-tokens", "4"],
        env=environment, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"caf? ?")
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    saved = tmp_path / "talk.json"
    done = subprocess.run(
        [*command, "chat", str(talking(run, tmp_path / "sft")), "--max-tokens", "2"],
        input=b"caf\xe9\n/save %s\n" % str(saved).encode(), env=environment, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert saved.exists(), done.stdout


def session_of(run: Path, screen: io.StringIO, **settings: object) -> ChatSession:
    sampling = SamplingConfig(temperature=0.0, **settings)  # type: ignore[arg-type]
    config = ChatConfig(model=run, sampling=sampling, machine=CPU)
    return ChatSession(load(run, CPU), config, Console(file=screen, width=200))


def test_half_a_character_can_be_saved(run: Path, tmp_path: Path) -> None:
    session = session_of(run, io.StringIO(), max_tokens=2)
    session.take("/system be \udce9")
    session.take(f"/save {tmp_path / 'talk.json'}")
    (system,) = json.loads((tmp_path / "talk.json").read_text("utf-8"))["messages"]
    assert system["content"] == "be \ufffd"


def test_why_an_answer_was_cut(run: Path) -> None:
    screen = io.StringIO()
    session = session_of(run, screen, max_tokens=2)
    session.take("Hello")
    assert "(stopped at --max-tokens 2)" in screen.getvalue()
    full = Finish(reason="length", prompt_tokens=127, sampled_tokens=1)
    assert "context is full" in session.why_cut(full)
    assert not session.why_cut(Finish(reason="stop", prompt_tokens=1, sampled_tokens=2))


def test_control_c_stops_the_reply_and_not_the_chat(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes: at the prompt, in the middle of a reply, or just after one."""
    lines = iter(["", "Hello", "Hello", "/quit"])
    asked: list[str] = []

    def typed(self: Console, *_: object, **__: object) -> str:
        asked.append(line := next(lines))
        if not line:
            raise KeyboardInterrupt
        return line

    engines = []

    def interrupted(self: ChatSession, piece: object) -> None:
        engines.append(self.source.engine)
        raise KeyboardInterrupt

    def late(self: ChatSession, text: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Console, "input", typed)
    monkeypatch.setattr(ChatSession, "_show", interrupted)
    ask = ChatSession.ask

    def once_then_late(self: ChatSession, text: str) -> None:
        ask(self, text)
        monkeypatch.setattr(ChatSession, "ask", late)

    monkeypatch.setattr(ChatSession, "ask", once_then_late)
    tuned = talking(run, tmp_path / "sft")
    assert main(["chat", str(tuned), "--device", "cpu", "--temperature", "1"]) == 0
    assert asked == ["", "Hello", "Hello", "/quit"]
    assert len(engines) == 1
    assert (engines[0].running, engines[0].waiting) == (0, 0)  # the reply's slot is free again
