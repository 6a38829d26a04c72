"""Files, folders and globs: what is read, in which order, what is skipped and what is refused."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from parrotlet.core.errors import DataError
from parrotlet.data import sources
from parrotlet.data.sources import Document, describe, open_sources


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "b.txt": b"b",
        "a.txt": b"a",
        "deep/er/c.md": b"c",
        "deep/d.jsonl": b'{"text": "d"}\n{"text": "e"}\n',
        "picture.png": b"\x89PNG\0",
        "false.txt": b"a\0b",
        "nothing.txt": b"",
        ".hidden/h.txt": b"h",
        ".h.txt": b"h",
    }
    for name, data in files.items():
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "data"


def test_folder_is_read_in_order_of_path(folder: Path) -> None:
    source = open_sources([folder])
    names = [path.relative_to(folder).as_posix() for path in source.files]
    assert names == ["a.txt", "b.txt", "deep/d.jsonl", "deep/er/c.md"]
    assert list(source.documents()) == [
        Document("a", str(folder / "a.txt")),
        Document("b", str(folder / "b.txt")),
        Document("d", f"{folder / 'deep' / 'd.jsonl'}:1"),
        Document("e", f"{folder / 'deep' / 'd.jsonl'}:2"),
        Document("c", str(folder / "deep" / "er" / "c.md")),
    ]


def test_skipped_files_are_listed_with_the_reason(folder: Path) -> None:
    skipped = {one.path.name: one.reason for one in open_sources([folder]).skipped}
    assert set(skipped) == {"picture.png", "false.txt", "nothing.txt"}
    assert "suffix" in skipped["picture.png"]
    assert "binary" in skipped["false.txt"] and "offset 1" in skipped["false.txt"]
    assert "empty" in skipped["nothing.txt"]


def test_globs_and_order_of_arguments(folder: Path) -> None:
    source = open_sources([folder / "**" / "*.jsonl", folder / "?.txt", folder / "b.txt"])
    assert [path.name for path in source.files] == ["d.jsonl", "a.txt", "b.txt"]


def test_a_name_with_glob_characters_is_a_file_first(tmp_path: Path) -> None:
    path = tmp_path / "a[1].txt"
    path.write_text("a")
    assert open_sources([path]).files == (path,)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.txt", "does not exist"),
        ("*.parquet", "does not exist"),
        ("nothing.txt", "is empty"),
        ("false.txt", "is binary, not text: it has a zero byte at offset 1"),
        ("picture.png", "has a suffix that says no format: readable are .txt"),
        ("*.png", "has nothing readable in 1 files"),
    ],
)
def test_named_files_must_be_readable(folder: Path, name: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        open_sources([folder / "a.txt", folder / name])
    assert said in str(caught.value) and str(folder / name) in str(caught.value)


def test_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing readable in 0 files"):
        open_sources([tmp_path])
    with pytest.raises(DataError, match="no file was named"):
        open_sources([])


def test_description_follows_the_content_alone(folder: Path) -> None:
    def described() -> object:
        return describe(open_sources([folder / "a.txt", folder / "b.txt"]))

    first = described()
    os.utime(folder / "a.txt", (1, 1))
    assert described() == first
    (folder / "a.txt").write_bytes(b"A")
    assert described() != first


def test_description_of_other_sources() -> None:
    class Fake:
        def __init__(self, *texts: str) -> None:
            self.texts = texts

        def documents(self):  # type: ignore[no-untyped-def]
            return (Document(text, "") for text in self.texts)

    assert describe(Fake("ab", "c")) == describe(Fake("ab", "c"))
    assert describe(Fake("ab", "c")) != describe(Fake("a", "bc"))


def test_unreadable_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(sources, "open_binary", refuse)
    with pytest.raises(DataError, match=r"a\.txt cannot be read: Permission denied"):
        open_sources([folder / "a.txt"])


def test_real_files(real_data: Path) -> None:
    """Stories divided by separators and gzipped articles, against counts of the raw files."""
    stories = real_data / "pretrain" / "tinystories" / "tinystories_10k.txt"
    documents = list(open_sources([stories]).documents())
    assert len(documents) == stories.read_text(encoding="utf-8").count("<|endoftext|>") + 1
    assert not any("<|endoftext|>" in document.text for document in documents)
    shakespeare = real_data / "pretrain" / "tinyshakespeare" / "input.txt"
    (whole,) = open_sources([shakespeare]).documents()
    assert whole.text.encode() == shakespeare.read_bytes()
