"""Every format, plain and compressed, gives the same documents; a bad file, one sentence."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import zstandard

from parrotlet.core.errors import DataError
from parrotlet.data.sources import FileSource, open_sources

TEXTS = [
    "One line.",
    'Two\nlines, with "quotes" and a comma.',
    "日本語 und 🦜, żółw",
    "x" * 200_000,
]


def as_text(texts: list[str]) -> bytes:
    return "\n<|endoftext|>\n".join(texts).encode()


def as_jsonl(texts: list[str]) -> bytes:
    return "".join(json.dumps({"id": 7, "text": text}) + "\n" for text in texts).encode()


def as_json(texts: list[str]) -> bytes:
    return json.dumps([{"text": text, "n": None} for text in texts], ensure_ascii=False).encode()


def as_csv(texts: list[str]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([["id", "text"], *(["7", text] for text in texts)])
    return buffer.getvalue().encode()


def as_parquet(texts: list[str]) -> bytes:
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(
        pyarrow.table({"id": range(len(texts)), "text": texts}), buffer, row_group_size=3
    )
    return buffer.getvalue()


FORMATS: dict[str, Callable[[list[str]], bytes]] = {
    ".txt": as_text,
    ".md": as_text,
    ".jsonl": as_jsonl,
    ".json": as_json,
    ".csv": as_csv,
    ".parquet": as_parquet,
}
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": lambda data: zstandard.ZstdCompressor().compress(data),
}


def write(path: Path, data: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def texts_of(source: FileSource) -> list[str]:
    return [document.text for document in source.documents()]


def message(path: Path, **options: str) -> str:
    """What reading the file to its end says of it: one sentence that names the file."""
    with pytest.raises(DataError) as caught:
        texts_of(open_sources([path], **options))  # type: ignore[arg-type]
    text = str(caught.value)
    assert str(path) in text and "\n" not in text
    return text


@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_documents(
    tmp_path: Path, suffix: str, compression: str
) -> None:
    data = COMPRESS[compression](FORMATS[suffix](TEXTS))
    path = write(tmp_path / f"a{suffix}{compression}", data)
    source = open_sources([path])
    assert texts_of(source) == TEXTS
    assert texts_of(source) == TEXTS, "a source can be read again"
    origins = [document.origin for document in source.documents()]
    assert len(set(origins)) == len(TEXTS) and all(str(path) in origin for origin in origins)


@pytest.mark.parametrize("compression", [".gz", ".zst"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("kept", [0.5, 0.999])
def test_compressed_file_cut_short(
    tmp_path: Path, suffix: str, compression: str, kept: float
) -> None:
    texts = [f"{number * 7919 % 1000} is a number" for number in range(20_000)]
    whole = COMPRESS[compression](FORMATS[suffix](texts))
    path = write(tmp_path / f"a{suffix}{compression}", whole[: int(kept * len(whole))])
    assert "is cut short or damaged" in message(path)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_parquet_cut_short(tmp_path: Path, kept: float) -> None:
    whole = as_parquet(TEXTS)
    path = write(tmp_path / "a.parquet", whole[: int(kept * len(whole))])
    assert "is no parquet file, cut short or damaged" in message(path)


@pytest.mark.parametrize("name", ["a.txt.gz", "a.txt.zst"])
def test_not_compressed_at_all(tmp_path: Path, name: str) -> None:
    assert "is cut short or damaged" in message(write(tmp_path / name, "plain text"))


def test_several_compressed_members_are_one_file(tmp_path: Path) -> None:
    for suffix, compress in COMPRESS.items():
        data = compress(b"One. ") + compress(b"Two.")
        assert texts_of(open_sources([write(tmp_path / f"a.txt{suffix}", data)])) == ["One. Two."]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json", ".csv"])
def test_byte_order_mark_is_not_text(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a{suffix}", b"\xef\xbb\xbf" + FORMATS[suffix](TEXTS))
    assert texts_of(open_sources([path])) == TEXTS


def test_line_ends_become_newlines(tmp_path: Path) -> None:
    text = write(tmp_path / "a.txt", b"one\r\ntwo\rthree\r\n")
    table = write(tmp_path / "a.csv", b'text\r\n"one\r\ntwo"\r\n')
    assert texts_of(open_sources([text, table])) == ["one\ntwo\rthree\n", "one\ntwo"]


def test_plain_text_is_kept_to_the_byte(tmp_path: Path) -> None:
    text = "\n  First\n\n\tlast line, no end  "
    assert texts_of(open_sources([write(tmp_path / "a.txt", text)])) == [text]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".json", ".csv"])
def test_not_utf8_names_the_byte(tmp_path: Path, suffix: str) -> None:
    data = FORMATS[suffix](["good", "ba^d", "good"]).replace(b"^", b"\xff")
    path = write(tmp_path / f"a{suffix}", data)
    text = message(path)
    assert f"byte 0xff at offset {data.index(0xFF)}" in text and "--errors replace" in text
    assert texts_of(open_sources([path], errors="replace")) == ["good", "ba\ufffdd", "good"]


def test_offset_counts_a_byte_order_mark(tmp_path: Path) -> None:
    assert "offset 4;" in message(write(tmp_path / "a.txt", b"\xef\xbb\xbfa\xff"))


def test_parquet_not_utf8(tmp_path: Path) -> None:
    values = pyarrow.array([b"good", b"ba\xffd"], pyarrow.binary())
    column = pyarrow.Array.from_buffers(pyarrow.string(), 2, values.buffers())
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), buffer)
    path = write(tmp_path / "a.parquet", buffer.getvalue())
    assert "row 2" in message(path) and "offset 2" in message(path)
    assert texts_of(open_sources([path], errors="replace")) == ["good", "ba\ufffdd"]


@pytest.mark.parametrize("position", [10, 100_000])
def test_binary(tmp_path: Path, position: int) -> None:
    data = bytearray(b"x" * 200_000)
    data[position] = 0
    text = message(write(tmp_path / "a.txt", bytes(data)))
    assert f"is binary, not text: it has a zero byte at offset {position}" in text


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{oops}", "line 3 of"),
        ('"text": "a"', "line 3 of"),
        ('{"text": "a"', "is not JSON"),
        ("[1, 2]", "is list, neither an object nor a string"),
        ('{"body": "a"}', "has no 'text': it has 'body'"),
        ('{"text": 5}', "'text' is int, not a string"),
        ('{"text": "\\ud83d"}', "half of a surrogate pair"),
        ("9" * 5000, "line 3 of"),
        ("[" * 100_000, "cannot be read as JSON"),
    ],
)
def test_bad_line_of_jsonl(tmp_path: Path, line: str, said: str) -> None:
    path = write(tmp_path / "a.jsonl", f'{{"text": "a"}}\n\n{line}\n{{"text": "b"}}\n')
    text = message(path)
    assert said in text and "line 3 of" in text


def test_surrogate_can_be_replaced(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text": "a \\ud83d b"}')
    assert texts_of(open_sources([path], errors="replace")) == ["a \ufffd b"]


def test_json_that_is_no_array(tmp_path: Path) -> None:
    assert "is not a JSON array" in message(write(tmp_path / "a.json", '{"text": "a"}'))
    assert "is not JSON" in message(write(tmp_path / "b.json", '["a", '))
    assert "row 2" in message(write(tmp_path / "c.json", '["a", 5]'))


def test_a_list_of_texts_is_its_lines(tmp_path: Path) -> None:
    poems = write(tmp_path / "poems.json", '[{"by": "A", "lines": ["one", "two"]}]')
    assert texts_of(open_sources([poems], column="lines")) == ["one\ntwo"]
    mixed = write(tmp_path / "mixed.json", '[{"by": "A", "lines": ["one", 2]}]')
    assert "'lines' is list, not a string" in message(mixed, column="lines")


def test_strings_need_no_column(tmp_path: Path) -> None:
    array = write(tmp_path / "a.json", '["one", "two"]')
    lines = write(tmp_path / "b.jsonl", '"three"\n"four"\n')
    assert texts_of(open_sources([array, lines])) == ["one", "two", "three", "four"]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_columns(tmp_path: Path, suffix: str) -> None:
    def file(name: str, rows: list[dict[str, str | int]]) -> Path:
        buffer = io.BytesIO()
        if suffix == ".jsonl":
            buffer.write("".join(json.dumps(row) + "\n" for row in rows).encode())
        elif suffix == ".csv":
            lines = [",".join(map(str, row)) for row in [rows[0], *(r.values() for r in rows)]]
            buffer.write("\n".join(lines).encode())
        else:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), buffer)
        return write(tmp_path / f"{name}{suffix}", buffer.getvalue())

    two = file("two", [{"title": "T", "body": "B"}])
    assert texts_of(open_sources([two], column="body")) == ["B"]
    assert "name one with --column (it has 'title', 'body')" in message(two)
    assert "has no column 'words': it has 'title', 'body'" in message(two, column="words")
    only = file("only", [{"body": "B"}])
    assert texts_of(open_sources([only])) == ["B"]
    if suffix != ".csv":  # where numbers are no text
        one_text = file("one_text", [{"n": 1, "body": "B"}])
        assert texts_of(open_sources([one_text])) == ["B"]
        numbers = file("numbers", [{"n": 1}])
        assert "0 of its columns are text" in message(numbers)
        assert "'n'" in message(numbers, column="n")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("text,id\na,1\nb\n", "line 3 of"),
        ("text,id\na,1\nb,2,3\n", "has 3 fields, and the header 2"),
        ('text,id\na,1\n"b,2\n', "is not CSV"),
        ('text,id\na,1\n"b"c,2\n', "line 3 of"),
    ],
)
def test_bad_csv(tmp_path: Path, rows: str, said: str) -> None:
    assert said in message(write(tmp_path / "a.csv", rows))


def test_rows_without_text_are_passed_over(tmp_path: Path) -> None:
    lines = write(tmp_path / "a.jsonl", '{"text": "a"}\n{"text": null}\n{"text": " \\n"}\n')
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": ["b", None, ""]}), buffer)
    table = write(tmp_path / "b.parquet", buffer.getvalue())
    assert texts_of(open_sources([lines, table])) == ["a", "b"]
    empty = write(tmp_path / "c.jsonl", '{"text": ""}\n')
    assert "has no text" in message(empty)


def test_parquet_of_other_string_types(tmp_path: Path) -> None:
    plain = pyarrow.array(["a", "b", "a"])
    for index, column in enumerate([plain.dictionary_encode(), plain.cast(pyarrow.large_string())]):
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table({"text": column}), buffer)
        path = write(tmp_path / f"{index}.parquet", buffer.getvalue())
        assert texts_of(open_sources([path])) == ["a", "b", "a"]


def test_a_large_jsonl_is_never_held(tmp_path: Path) -> None:
    """The second document is there before the bad line far behind it is read."""
    good = '{"text": "' + "x" * 1000 + '"}\n'
    path = write(tmp_path / "a.jsonl.gz", gzip.compress((good * 2000 + "bad").encode()))
    documents = open_sources([path]).documents()
    assert next(documents).text == next(documents).text == "x" * 1000
    with pytest.raises(DataError, match="line 2001"):
        list(documents)
