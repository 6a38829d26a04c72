"""The examples run as they are, and what they teach is true."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from parrotlet.data.conversations import read_conversations
from parrotlet.text.chat import Message, validate

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
SAID = {"turned_round.py": "user: ", "finetune_gpt2.py": "nats a token before"}


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
    assert len(path.read_text().splitlines()) < 100


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
