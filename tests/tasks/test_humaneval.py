# ruff: noqa: E501
"""HumanEval: reading, and grading in the sandbox. Two problems of our own; the real ones where had."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from parrotlet.core.errors import DataError
from parrotlet.tasks.humaneval import HumanEval
from parrotlet.tasks.sandbox import missing_walls
from parrotlet.text.chat import Message, validate

ROWS = [
    {
        "prompt": 'import math\n\n\ndef area(r: float) -> float:\n    """The area of a circle."""\n',
        "canonical_solution": "    return math.pi * r * r\n",
        "test": "def check(candidate):\n    assert abs(candidate(2) - 12.566370614) < 1e-6\n",
        "entry_point": "area",
    },
    {
        "prompt": 'def twice(x):\n    """x and x."""\n',
        "canonical_solution": "    return x + x\n",
        "test": "def check(candidate):\n    assert candidate('a') == 'aa'\n",
        "entry_point": "twice",
    },
]
walled = pytest.mark.skipif(bool(missing_walls()), reason=f"refused here: {missing_walls()}")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_problems_are_read(path: Path) -> None:
    task = HumanEval(path)
    assert len(task) == 2
    for index in range(2):
        validate(task[index].conversation)
        assert ROWS[index]["prompt"] in task[index].prompt.messages[-1].text
    with pytest.raises(IndexError):
        task[2]
    path.write_text('{"prompt": 3}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"line 1 of .* is no problem"):
        HumanEval(path)


@walled
@pytest.mark.parametrize(
    ("reply", "grade"),
    [
        ("```python\ndef area(r):\n    return math.pi * r ** 2\n```", 1.0),
        ("Like so:\n```py\nfrom math import pi\ndef area(r):\n    return pi * r * r\n```\nDone.", 1.0),
        ("def area(r):\n    return math.pi * r * r", 1.0),
        ("```python\ndef area(r):\n    return 0\n```", 0.0),
        ("```python\nraise SystemExit(0)\n```", 0.0),
        ("```python\nimport os\nos._exit(0)\n```", 0.0),
        ("```python\nprint('all tests passed')\nraise SystemExit(0)\n```", 0.0),
        ("It is easy.", 0.0),
        ("", 0.0),
    ],
)  # fmt: skip
def test_grades(path: Path, reply: str, grade: float) -> None:
    task = HumanEval(path)
    assert task.grade(task[0], Message.of("assistant", reply)) == grade


@walled
def test_references_are_right(path: Path) -> None:
    task = HumanEval(path)
    for index in range(len(task)):
        assert task.grade(task[index], task[index].conversation.messages[-1]) == 1.0


@walled
@pytest.mark.slow
@pytest.mark.skipif(
    "PARROTLET_TEST_DATA" not in os.environ, reason="PARROTLET_TEST_DATA names none"
)
def test_the_real_references_are_right() -> None:
    folder = Path(os.environ["PARROTLET_TEST_DATA"])
    task = HumanEval(folder / "eval/humaneval/HumanEval.jsonl.gz")
    assert len(task) == 164
    for index in range(len(task)):
        assert task.grade(task[index], task[index].conversation.messages[-1]) == 1.0, index
