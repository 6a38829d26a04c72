"""File formats: from the bytes of one file to the texts in it, in order.

    .txt .md     one document; or several, where lines that are <|endoftext|> alone divide them
    .jsonl       a JSON object (or string) per line, read line by line
    .json        an array of objects (or strings); held in memory whole
    .csv         a header line, then rows
    .parquet     read in groups of rows
    .gz .zst     after any of these: decompressed on the way

All text is UTF-8, with or without a byte-order mark. Offsets in messages count decompressed bytes.
Not here: which column was asked for by whom, and what a folder holds (data/sources).
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from parrotlet.core.errors import DataError
from parrotlet.files.compression import COMPRESSIONS, DAMAGED, open_binary
from parrotlet.text.bpe import repair

T = TypeVar("T")
Errors = Literal["strict", "replace"]
Row = tuple[int | None, str]  # the number a person would count (None: the whole file), the text

SEPARATOR = "<|endoftext|>"  # how collections of stories divide a text file; never a control token
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Reader:
    """One file and how its text is to be found."""

    path: Path
    column: str | None
    errors: Errors

    def rows(self) -> Iterator[Row]:
        """The texts of the file. Raises DataError for whatever cannot be read."""
        yield from read_guarded(self.path, READERS[format_of(self.path)](self))

    def lines(self) -> Iterator[str]:
        """Its lines with their ends, decoded."""
        offset = 0
        with open_binary(self.path) as file:
            for line in file:
                skipped = len(BYTE_ORDER_MARK) * (offset == 0 and line.startswith(BYTE_ORDER_MARK))
                yield self.decode(line[skipped:], offset + skipped)
                offset += len(line)

    def decode(self, data: bytes, offset: int) -> str:
        """`data`, which starts at byte `offset`, as text; DataError where it is none."""
        if b"\0" in data:
            raise DataError(
                f"{self.path} is binary, not text: it has a zero byte at offset "
                f"{offset + data.index(0)}; leave it out or convert it to UTF-8 text"
            )
        try:
            return data.decode("utf-8", self.errors)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path} is not UTF-8: byte 0x{data[error.start]:02x} at offset "
                f"{offset + error.start}; convert it, or pass --errors replace to read such "
                "bytes as U+FFFD"
            ) from error

    def parse(self, text: str, place: str) -> Any:
        """`text` as JSON; DataError naming the place where it is not."""
        try:
            return json.loads(text)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{place} is not JSON ({error.msg}, line {error.lineno} column {error.colno} of "
                "it): correct or remove it"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} cannot be read as JSON ({error}): remove it") from error

    def field(self, row: Any, column: str, place: str) -> str:
        """The text of one JSON row, the lines of a list of texts; "" for null."""
        if isinstance(row, Mapping):
            if column not in row:
                raise DataError(f"{place} has no {column!r}: it has {_names(row)}")
            row = row[column]
        if row is None:
            return ""
        if isinstance(row, list) and all(isinstance(each, str) for each in row):
            row = "\n".join(row)  # verses and paragraphs
        if not isinstance(row, str):
            raise DataError(f"{place}: {column!r} is {type(row).__name__}, not a string")
        repaired = repair(row)
        if repaired != row and self.errors == "strict":
            raise DataError(
                f"{place}: {column!r} has half of a surrogate pair, which is no character; correct "
                "it, or pass --errors replace"
            )
        return repaired

    def pick(self, columns: Mapping[str, bool]) -> str:
        """The column to read among `columns` (name: whether it is text).

        The one asked for; else "text"; else the only one that is text. DataError otherwise.
        """
        if self.column is not None:
            if self.column in columns:
                return self.column
            raise DataError(f"{self.path} has no column {self.column!r}: it has {_names(columns)}")
        texts = [name for name, is_text in columns.items() if is_text]
        if "text" in texts:
            return "text"
        if len(texts) == 1:
            return texts[0]
        raise DataError(
            f"{self.path} has no column 'text', and {len(texts)} of its columns are text: name one "
            f"with --column (it has {_names(columns)})"
        )


def read_guarded(path: Path, rows: Iterator[T]) -> Iterator[T]:
    """`rows`, read from `path`; DataError where the file is damaged or cannot be opened."""
    try:
        yield from rows
    except DAMAGED as error:
        raise DataError(
            f"{path} is cut short or damaged ({error}): copy or download it again"
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def format_of(path: Path) -> str:
    """The suffix that says the format, without a compression's; lower case."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSIONS:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _names(columns: Mapping[str, Any]) -> str:
    return ", ".join(repr(name) for name in columns) or "none"


def _is_text(row: Mapping[str, Any]) -> dict[str, bool]:
    return {name: isinstance(value, str) for name, value in row.items()}


def _read_text(reader: Reader) -> Iterator[Row]:
    """One document as it stands; where separators are, several without their border newlines."""
    number, lines = 1, list[str]()
    for line in reader.lines():
        if line.strip() == SEPARATOR:
            yield number, "".join(lines).strip("\r\n")
            number, lines = number + 1, []
        else:
            lines.append(line)
    text = "".join(lines)
    yield (None, text) if number == 1 else (number, text.strip("\r\n"))


def _read_jsonl(reader: Reader) -> Iterator[Row]:
    column = ""
    for number, line in enumerate(reader.lines(), start=1):
        if not line.strip():
            continue
        place = f"line {number} of {reader.path}"
        row = reader.parse(line, place)
        yield number, _json_text(reader, row, column := column or _column(reader, row), place)


def _read_json(reader: Reader) -> Iterator[Row]:
    column = ""
    for number, row in enumerate(array_of(reader), start=1):
        place = f"row {number} of {reader.path}"
        yield number, _json_text(reader, row, column := column or _column(reader, row), place)


def array_of(reader: Reader) -> list[Any]:
    """The rows of a file of JSON; DataError where it is no array."""
    rows = reader.parse("".join(reader.lines()), str(reader.path))
    if not isinstance(rows, list):
        raise DataError(
            f"{reader.path} is not a JSON array: put the rows into [...], or one per line into a "
            ".jsonl file"
        )
    return rows


def _column(reader: Reader, row: Any) -> str:
    """The column of a file of JSON, by its first row; "text" for a file of strings."""
    return reader.pick(_is_text(row)) if isinstance(row, Mapping) else "text"


def _json_text(reader: Reader, row: Any, column: str, place: str) -> str:
    if not isinstance(row, str | Mapping):
        raise DataError(f"{place} is {type(row).__name__}, neither an object nor a string")
    return reader.field(row, column, place)


def _read_csv(reader: Reader) -> Iterator[Row]:
    column = -1
    for number, header, row in csv_rows(reader):
        column = header.index(reader.pick(dict.fromkeys(header, True))) if column < 0 else column
        yield number, row[column]


def csv_rows(reader: Reader) -> Iterator[tuple[int, list[str], list[str]]]:
    """(line, header, row) of a csv file; DataError for a row of another length."""
    csv.field_size_limit(2**31 - 1)  # the default refuses texts of over 128 KiB
    rows = csv.reader(reader.lines(), strict=True)
    try:
        header = next(rows, [])
        for row in rows:
            if row and len(row) != len(header):
                raise DataError(
                    f"line {rows.line_num} of {reader.path} has {len(row)} fields, and the header "
                    f"{len(header)}: correct it (a text with a comma or quote needs quotes)"
                )
            if row:
                yield rows.line_num, header, row
    except csv.Error as error:
        raise DataError(f"line {rows.line_num} of {reader.path} is not CSV ({error})") from error


def _read_parquet(reader: Reader) -> Iterator[Row]:
    # the one heavy library here, and only for this format
    import pyarrow
    import pyarrow.parquet

    try:
        with open_binary(reader.path) as file:
            whole = io.BytesIO(file.read()) if reader.path.suffix in COMPRESSIONS else file
            table = pyarrow.parquet.ParquetFile(whole)
            column = reader.pick({f.name: _is_string(f.type) for f in table.schema_arrow})
            number = 0
            for group in table.iter_batches(batch_size=1024, columns=[column]):
                for value in group.column(0).cast(pyarrow.binary()).to_pylist():
                    number += 1
                    text = "" if value is None else _decode_value(reader, value, number)
                    yield number, text
    except pyarrow.ArrowNotImplementedError as error:
        raise DataError(f"{reader.path}: column {reader.column!r} is not text ({error})") from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{reader.path} is no parquet file, cut short or damaged ({error}): copy or download "
            "it again"
        ) from error


def _is_string(kind: Any) -> bool:
    """Whether a parquet column of this Arrow type is text, plain or by dictionary."""
    return "string" in str(kind) and not str(kind).startswith(("list", "struct", "map"))


def _decode_value(reader: Reader, value: bytes, number: int) -> str:
    try:
        return value.decode("utf-8", reader.errors)
    except UnicodeDecodeError as error:
        raise DataError(
            f"row {number} of {reader.path} is not UTF-8: byte 0x{value[error.start]:02x} at "
            f"offset {error.start} of its text; correct it, or pass --errors replace"
        ) from error


READERS: Mapping[str, Callable[[Reader], Iterator[Row]]] = {
    ".txt": _read_text,
    ".md": _read_text,
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
