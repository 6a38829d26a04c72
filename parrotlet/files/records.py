"""Records: every row of a file whole, for what has more than one text in a row.

    .jsonl .json    any JSON value; a .json file is an array of them
    .csv            a mapping of the header to the row's texts
    .parquet        a mapping of column to value, with nested lists and structs

Compression, encodings and damage are those of files/formats. Not here: what a record means.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from parrotlet.core.errors import DataError
from parrotlet.files.compression import COMPRESSIONS, open_binary
from parrotlet.files.formats import Reader, array_of, csv_rows, format_of, read_guarded

Record = tuple[str, Any]  # where it stands, for messages; what it is


def records(reader: Reader) -> Iterator[Record]:
    """The records of a file, in order. Raises DataError for whatever cannot be read."""
    kind = format_of(reader.path)
    if kind not in RECORD_READERS:
        known = ", ".join(RECORD_READERS)
        raise DataError(f"{reader.path} has no records: convert it to one of {known}")
    yield from read_guarded(reader.path, RECORD_READERS[kind](reader))


def _read_jsonl(reader: Reader) -> Iterator[Record]:
    for number, line in enumerate(reader.lines(), start=1):
        if line.strip():
            place = f"line {number} of {reader.path}"
            yield place, reader.parse(line, place)


def _read_json(reader: Reader) -> Iterator[Record]:
    for number, row in enumerate(array_of(reader), start=1):
        yield f"row {number} of {reader.path}", row


def _read_csv(reader: Reader) -> Iterator[Record]:
    for number, header, row in csv_rows(reader):
        yield f"line {number} of {reader.path}", dict(zip(header, row, strict=True))


def _read_parquet(reader: Reader) -> Iterator[Record]:
    # as in formats: the one heavy library, and only for this format
    import pyarrow
    import pyarrow.parquet

    number = 0
    try:
        with open_binary(reader.path) as file:
            whole = io.BytesIO(file.read()) if reader.path.suffix in COMPRESSIONS else file
            for group in pyarrow.parquet.ParquetFile(whole).iter_batches(batch_size=1024):
                for row in group.to_pylist():
                    number += 1
                    yield f"row {number} of {reader.path}", row
    except UnicodeDecodeError as error:
        raise DataError(
            f"{reader.path} has a text after row {number} that is not UTF-8: write it anew"
        ) from error
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{reader.path} is no parquet file, cut short or damaged ({error}): copy or download "
            "it again"
        ) from error


RECORD_READERS: Mapping[str, Callable[[Reader], Iterator[Record]]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
