"""Conversations of people's files: every shape and format, one clear sentence where it fails."""

from __future__ import annotations

import csv
import gzip
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from parrotlet.core.errors import DataError
from parrotlet.data.conversations import read_conversations

PAIRS = [("Hello", "Hi, friend"), ("Two\nlines", 'a "quoted", answer')]

LINE = b'{"prompt": "a", "response": "b"}\n'


def said(*paths: Path) -> list[tuple[str, ...]]:
    return [tuple(m.text for m in each.messages) for each in read_conversations(paths)]


def write_all(folder: Path) -> list[Path]:
    """PAIRS in every format and shape."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    folder.mkdir()
    names = ["a.jsonl", "b.json", "c.csv", "d.parquet", "e.jsonl.gz"]
    talks: list[Any] = [
        [{"role": "user", "content": ask}, {"role": "assistant", "content": answer}]
        for ask, answer in PAIRS
    ]
    shared = [
        {"conversations": [{"from": "human", "value": ask}, {"from": "gpt", "value": answer}]}
        for ask, answer in PAIRS
    ]
    lines = "".join(json.dumps({"messages": each}) + "\n\n" for each in talks)
    (folder / names[0]).write_text(lines, encoding="utf-8")
    (folder / names[1]).write_text(json.dumps(shared), encoding="utf-8")
    with open(folder / names[2], "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("instruction", "output"), *PAIRS])
    parquet.write_table(pyarrow.table({"messages": talks}), folder / names[3])
    (folder / names[4]).write_bytes(gzip.compress(lines.encode()))
    return [folder / name for name in names]


def test_every_format_and_a_folder_and_a_glob(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = write_all(tmp_path / "talks")
    for file in files:
        assert said(file) == PAIRS, file
    (tmp_path / "talks/notes.txt").write_text("no conversation")
    with caplog.at_level(logging.WARNING):
        assert said(tmp_path / "talks") == PAIRS * len(files)
    assert "notes.txt" in caplog.text
    assert said(tmp_path / "talks" / "*.jsonl") == PAIRS
    assert said(files[0], files[0]) == PAIRS  # named twice, read once


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        (
            "cut.jsonl.gz",
            gzip.compress(b'{"prompt": "a", "response": "b"}\n' * 9, mtime=0)[:-9],
            "cut short",
        ),
        ("number.jsonl", b'{"prompt": 5, "response": "b"}', "line 1 .* user .* int"),
        ("details.jsonl", b'{"prompt": 5, "input": "x", "response": "b"}', "user .* int"),
        ("list.jsonl", b'{"prompt": "a", "response": ["b"]}', "assistant .* list"),
        ("null.jsonl", b'{"prompt": "a", "response": null}', "empty assistant"),
        ("short.csv", b"prompt,response\na,b\nc\n", "line 3 .* 1 fields, and the header 2"),
        ("empty.jsonl", b"", "empty.jsonl is empty"),
        ("blank.jsonl", b"\n\n", "blank.jsonl has no conversation.*give"),
        ("none.json", b"[]", "none.json has no conversation.*give"),
        ("object.json", b"{}", "not a JSON array"),
        ("talk.txt", b"hello", "plain text, .*: readable are .jsonl"),
        ("latin.jsonl", b'{"prompt": "\xe9", "response": "b"}', "offset 12.*--errors replace"),
    ],
)
def test_one_sentence(tmp_path: Path, name: str, data: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words) as raised:
        said(tmp_path / name)
    assert name in str(raised.value)


def test_long_fields_and_broken_bytes(tmp_path: Path) -> None:
    long = "word " * 40_000
    (tmp_path / "long.csv").write_text(f"prompt,response\n{long},b\n")
    assert said(tmp_path / "long.csv") == [(long.strip(), "b")]
    (tmp_path / "latin.jsonl").write_bytes(b'{"prompt": "caf\xe9", "response": "b"}')
    (found,) = read_conversations([tmp_path / "latin.jsonl"], "replace")
    assert found.messages[0].text == "caf\ufffd"


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_text('{"prompt": "a", "response": "b"}')

    def refused(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("parrotlet.data.sources.open_binary", refused)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        said(tmp_path / "a.jsonl")
