"""Metrics: what is appended is read, torn ends are not, and a resumed run reads as one."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path

import pytest

from parrotlet.core.errors import RunError
from parrotlet.core.log import JsonLines, get_logger


@pytest.fixture
def lines(tmp_path: Path) -> JsonLines:
    return JsonLines(tmp_path / "metrics.jsonl")


def steps(lines: JsonLines) -> list[int]:
    return [record["step"] for record in lines]


def test_nothing_written_is_nothing_read(lines: JsonLines) -> None:
    assert list(lines) == []


def test_records_come_back_in_order(lines: JsonLines) -> None:
    records = [
        {"step": 1, "loss": 2.5},
        {"step": 2, "text": "two\nlines\r, \u2028 and 🦜"},
    ]
    for record in records:
        lines.append(record)
    assert list(lines) == records
    assert lines.path.read_bytes().count(b"\n") == len(records)


def test_what_is_no_number_is_null_in_the_file_and_nan_when_read(lines: JsonLines) -> None:
    lines.append({"step": 1, "loss": math.inf, "gradient_norm": math.nan})
    assert json.loads(lines.path.read_bytes()) == {"step": 1, "loss": None, "gradient_norm": None}
    lines.cut(1)
    (record,) = lines
    assert math.isnan(record["loss"])


def test_appending_goes_on_in_another_process(lines: JsonLines) -> None:
    lines.append({"step": 1})
    JsonLines(lines.path).append({"step": 2})
    assert steps(lines) == [1, 2]


@pytest.mark.parametrize("kept", range(12))  # of the 13 bytes of the last line
def test_torn_last_line_is_not_read(lines: JsonLines, kept: int) -> None:
    lines.append({"step": 1})
    whole = lines.path.read_bytes()
    lines.append({"step": 23})
    lines.path.write_bytes(lines.path.read_bytes()[: len(whole) + kept])
    assert steps(lines) == [1]


def test_cut_forgets_later_steps_and_a_torn_line(lines: JsonLines) -> None:
    for step in range(1, 6):
        lines.append({"step": step, "value": step / 3})
    with open(lines.path, "ab") as file:
        file.write(b'{"step": 6, "val')
    lines.cut(3)
    assert list(lines) == [{"step": step, "value": step / 3} for step in range(1, 4)]
    lines.append({"step": 4})
    assert steps(lines) == [1, 2, 3, 4]


def test_interrupted_and_resumed_reads_like_never_stopped(tmp_path: Path) -> None:
    straight, stopped = JsonLines(tmp_path / "straight"), JsonLines(tmp_path / "stopped")
    for step in range(1, 8):
        straight.append({"step": step, "loss": 1 / step, "text": "é"})
    for step in [1, 2, 3, 4, 5]:
        stopped.append({"step": step, "loss": 1 / step, "text": "é"})
    stopped.cut(3)
    for step in [4, 5, 6, 7]:
        stopped.append({"step": step, "loss": 1 / step, "text": "é"})
    assert straight.path.read_bytes() == stopped.path.read_bytes()


def test_cut_of_nothing_is_an_empty_file(lines: JsonLines) -> None:
    lines.cut(10)
    assert list(lines) == []


def test_unwritable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"cannot write .*metrics\.jsonl"):
        JsonLines(tmp_path / "absent" / "metrics.jsonl").append({"step": 1})


def test_loggers_have_one_root() -> None:
    assert get_logger("train").name == "parrotlet.train"
    assert get_logger("train").parent in (logging.getLogger("parrotlet"), logging.getLogger())
