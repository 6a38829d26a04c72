"""The contract of Source, on every source that is listed here: the same documents each time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from parrotlet.data.sources import Source, describe, open_sources
from parrotlet.world.source import WorldDocuments

TEXTS = ["one", "two\nlines", "three 🦜"]


def text_files(folder: Path) -> Source:
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return open_sources([folder])


def rows(folder: Path) -> Source:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return open_sources([path])


def world(folder: Path) -> Source:
    return WorldDocuments(seed=1, count=200)


SOURCES: dict[str, Callable[[Path], Source]] = {
    "files": text_files,
    "rows": rows,
    "world": world,
}
every_source = pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)


@every_source
def test_documents_are_the_same_each_time(make: Callable[[Path], Source], tmp_path: Path) -> None:
    source = make(tmp_path)
    first = list(source.documents())
    assert first and list(source.documents()) == first
    assert list(make(tmp_path).documents()) == first


@every_source
def test_documents_can_be_read_side_by_side(make: Callable[[Path], Source], tmp_path: Path) -> None:
    source = make(tmp_path)
    assert all(
        one == other for one, other in zip(source.documents(), source.documents(), strict=True)
    )


@every_source
def test_documents_hold_text_and_origin(make: Callable[[Path], Source], tmp_path: Path) -> None:
    documents = list(make(tmp_path).documents())
    for document in documents:
        assert document.text.strip() and document.text.encode() and document.origin
        assert "\r\n" not in document.text
    assert len({document.origin for document in documents}) == len(documents)


@every_source
def test_description_is_json_and_stays(make: Callable[[Path], Source], tmp_path: Path) -> None:
    description = describe(make(tmp_path))
    assert json.loads(json.dumps(description)) == description == describe(make(tmp_path))
