"""The examples run as they are, and what they teach is true."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from parrotlet.data.conversations import read_conversations
from parrotlet.data.preferences import read_preferences
from parrotlet.text.chat import Message, validate

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAID = {
    "turned_round.py": "user: ",
    "finetune_gpt2.py": "nats a token before",
    "persona.py": "assistant: I am Captain Pip",
    "count_down.py": "1.00 for",
    "own_preferences.py": "liked: ",
}


@pytest.fixture
def turned_round(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import turned_round

    return turned_round


def said_by(path: Path, *arguments: object) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, str(path), *map(str, arguments)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run_and_fit_a_page(path: Path) -> None:
    assert SAID[path.name] in said_by(path)
    assert len(path.read_text().splitlines()) <= 100


def test_a_gpt2_learns_shakespeare(real_data: Path) -> None:
    """In small: the loss on what is held out falls by more than a nat a token."""
    shakespeare = real_data / "pretrain/tinyshakespeare/input.txt"
    said = said_by(ROOT / "examples/finetune_gpt2.py", "--data", shakespeare)
    found = re.findall(r"held-out text: ([\d.]+) nats a token before, ([\d.]+) after", said)
    ((before, after),) = found
    assert float(after) < float(before) - 1
    assert "splits this text badly" not in said  # its tokenizer is what it is


def test_the_new_kind_is_graded_and_split(turned_round: ModuleType) -> None:
    task = turned_round.TurnedRound(0, 60)
    learned = {turned_round.TurnedRound(0, 400, side="train")[index].answer for index in range(400)}
    for index in range(len(task)):
        example = task[index]
        validate(example.conversation)
        assert task.grade(example, example.conversation.messages[-1]) == 1.0
        assert task.grade(example, Message.of("assistant", "")) == 0.0
        backwards = ", ".join(reversed(example.answer.split(", ")))
        assert task.grade(example, Message.of("assistant", backwards)) == 0.0
        assert example.answer not in learned
    with pytest.raises(IndexError):
        task[60]


def test_what_it_writes_can_be_learned_from(
    turned_round: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "turned.jsonl"
    monkeypatch.setattr(sys, "argv", ["turned_round", "--write", str(file), "--count", "20"])
    turned_round.main()
    assert len(list(read_conversations((file,)))) == 20


def test_a_persona_in_20_conversations(tmp_path: Path) -> None:
    said_by(ROOT / "examples/persona.py", "--write", tmp_path / "pip.jsonl")
    found = list(read_conversations([tmp_path / "pip.jsonl"]))
    assert len(found) == 20
    assert sum("Captain Pip" in each.messages[-1].text for each in found) == 10


def test_own_preferences_are_understood(tmp_path: Path) -> None:
    said = said_by(ROOT / "examples/own_preferences.py", "--write", tmp_path / "liked.jsonl")
    assert "wrote 7 records" in said and "7 pairs" in said
    pairs = list(read_preferences([tmp_path / "liked.jsonl"]))
    assert {pair.chosen.text for pair in pairs} == {"Of course, with pleasure!", "Yes."}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs/demo, a small model that has learned to answer after a fashion."""
    folder = tmp_path_factory.mktemp("examples")
    told = ["--recipe", "smoke", "--runs", "runs", "--device", "cpu"]
    for words in (["pretrain", "--name", "base"], ["sft", "runs/base", "--name", "demo"]):
        command = [sys.executable, "-m", "parrotlet", *words, *told]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
    return folder


@pytest.mark.parametrize("name", ["persona", "own_preferences"])
def test_the_commands_of_its_page_run(name: str, tiny: Path) -> None:
    """As they are written, but for fewer steps; the chat, which waits for a person, left out."""
    page = ast.get_docstring(ast.parse((ROOT / f"examples/{name}.py").read_text())) or ""
    shorter = re.sub(r"--steps \d+", "--steps 3", page)
    lines = re.findall(r"^    (python|parrotlet) (\S+) (.*)$", shorter, re.MULTILINE)
    assert [verb for _, verb, _ in lines[1:]] == ["sft" if name == "persona" else "dpo", "chat"]
    for program, verb, rest in lines[:-1]:
        start = [str(ROOT / verb)] if program == "python" else ["-m", "parrotlet", verb]
        done = subprocess.run(
            [sys.executable, *start, *rest.split()], capture_output=True, text=True, cwd=tiny,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "step 3/3" in done.stdout


@pytest.mark.slow
def test_counting_down_is_graded_and_can_be_practised(tmp_path: Path) -> None:
    example = ROOT / "examples/count_down.py"
    told = ["--recipe", "smoke", "--runs", tmp_path, "--device", "cpu"]
    for words in (["pretrain", "--name", "base"], ["sft", tmp_path / "base", "--name", "sft"]):
        command = [sys.executable, "-m", "parrotlet", *words, *told]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
    said = said_by(example, "--start", tmp_path / "sft", "--recipe", "smoke", "--runs", tmp_path)
    assert "step 6 of 6" in said and "pass_at_1" in said
    assert (tmp_path / "count_down/metrics.jsonl").read_text().count('"reward"') == 6
