"""The examples run as they are, and what they teach is true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from parrotlet.data.conversations import read_conversations
from parrotlet.text.chat import Message, validate

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def turned_round(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    import turned_round

    return turned_round


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_examples_run_and_fit_a_page(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path)], capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "user: " in done.stdout
    assert len(path.read_text().splitlines()) < 100


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
