"""Sources: anything that yields documents, in an order that never changes.

Files become a source through open_sources. In every document "\\r\\n" is written "\\n", so that the
same words give the same tokens whichever system saved them; a lone "\\r" stays. Rows without text
(null, empty, only white space) are passed over.
"""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from parrotlet.core.errors import DataError
from parrotlet.files.compression import COMPRESSIONS, open_binary
from parrotlet.files.formats import READERS, Errors, Reader, format_of, read_guarded

SHOWN = 8  # skipped files that are named; the others are counted


@dataclass(frozen=True)
class Document:
    """One text, and where it came from (a file and, where it has rows, a row number)."""

    text: str
    origin: str


class Source(Protocol):
    """A deterministic sequence of documents, readable again and again."""

    def documents(self) -> Iterator[Document]:
        """Every document, in the same order each time."""
        ...


@dataclass(frozen=True)
class Skipped:
    """A file of a folder that is not read, and why."""

    path: Path
    reason: str


def skipped_lines(skipped: Sequence[Skipped]) -> list[str]:
    """What was not read, for a person: how many files of which kinds, the first few and why."""
    kinds = Counter(format_of(each.path) or "no suffix" for each in skipped)
    counted = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lines = [f"{len(skipped)} files skipped: {counted}"] if skipped else []
    lines += [f"skipped {each.path}: {each.reason.split(':')[0]}" for each in skipped[:SHOWN]]
    return lines + [f"and {len(skipped) - SHOWN} more"] * (len(skipped) > SHOWN)


@dataclass(frozen=True, kw_only=True)
class FileSource:
    """The documents of files, file by file and row by row."""

    files: tuple[Path, ...]
    skipped: tuple[Skipped, ...] = ()
    column: str | None = None
    errors: Errors = "strict"

    def documents(self) -> Iterator[Document]:
        """Every document; DataError for a file that cannot be read, or when there is no text."""
        found = False
        for path in self.files:
            for number, text in Reader(path, self.column, self.errors).rows():
                if text and not text.isspace():
                    found = True
                    origin = str(path) if number is None else f"{path}:{number}"
                    yield Document(text.replace("\r\n", "\n"), origin)
        if not found:
            raise DataError(f"{_list(self.files)} has no text: every row is empty")


def open_sources(
    paths: Sequence[Path], *, column: str | None = None, errors: Errors = "strict"
) -> FileSource:
    """A source of files, folders and globs, in the order given; a file named twice is read once.

    A folder is searched through, in order of relative path; hidden files are not looked at, and
    those of it (and of a glob) that are no text are listed in `skipped`. A file that was named
    itself must be readable.

    column: the one that holds the text; without it "text", or the only one that is text.
    errors: "replace" reads bytes that are not UTF-8 as U+FFFD instead of refusing the file.

    Raises DataError for what is missing, empty, binary or of an unknown format, and for a folder
    or glob with nothing readable. The files are read to their ends by documents() alone.
    """
    files, skipped = find_files(paths)
    return FileSource(files=files, skipped=skipped, column=column, errors=errors)


def find_files(
    paths: Sequence[Path], formats: Collection[str] = READERS
) -> tuple[tuple[Path, ...], tuple[Skipped, ...]]:
    """The files of some `formats` that files, folders and globs stand for, and those left out.

    Order and errors are those of open_sources.
    """
    known = f"{', '.join(formats)}, each also with {' or '.join(COMPRESSIONS)}"
    files: list[Path] = []
    skipped: list[Skipped] = []
    for path in paths:
        if path.is_file():
            if reason := _unreadable(path, formats):
                advice = "" if format_of(path) in formats else f": readable are {known}"
                raise DataError(f"{path} {reason}{advice}")
            files.append(path)
            continue
        candidates = _candidates(path)
        reasons = [Skipped(one, _unreadable(one, formats)) for one in candidates]
        readable = [one.path for one in reasons if not one.reason]
        if not readable:
            example = f", for example {reasons[0].path} {reasons[0].reason}" if reasons else ""
            raise DataError(
                f"{path} has nothing readable in {len(candidates)} files{example}; readable are "
                f"{known}"
            )
        files += readable
        skipped += [one for one in reasons if one.reason]
    if not files:
        raise DataError("no file was named: give a file, a folder or a glob such as 'texts/*.txt'")
    return tuple(dict.fromkeys(files)), tuple(skipped)


def describe(source: Source) -> dict[str, Any]:
    """What a source reads, as JSON; equal descriptions mean the same documents.

    Files are described by name, size and SHA-256, any other source by the hash of its documents.
    """
    if isinstance(source, FileSource):
        files = [
            {"name": path.name, "bytes": path.stat().st_size, "sha256": _hash_file(path)}
            for path in source.files
        ]
        return {"column": source.column, "errors": source.errors, "files": files}
    digest, count = hashlib.sha256(), 0
    for document in source.documents():
        data = document.text.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
        count += 1
    return {"documents": count, "sha256": digest.hexdigest()}


def _candidates(path: Path) -> list[Path]:
    """The files that a folder or a glob stands for; DataError where it stands for nothing."""
    if path.is_dir():
        inside = [one for one in path.rglob("*") if one.is_file()]
        names = {one: one.relative_to(path) for one in inside}
        visible = [one for one in inside if not any(p.startswith(".") for p in names[one].parts)]
        return sorted(visible, key=lambda one: names[one].as_posix())
    matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]
    if not matches:
        raise DataError(
            f"{path} does not exist: name a file, a folder or a glob such as 'texts/*.txt'"
        )
    return [match for match in matches if match.is_file()]


def _first_bytes(path: Path) -> Iterator[bytes]:
    with open_binary(path) as file:
        yield file.read(4096)


def _unreadable(path: Path, formats: Collection[str]) -> str:
    """Why a file is not read, by its name and its first bytes; "" where it may be."""
    if format_of(path) not in READERS:
        return "has a suffix that says no format"
    if format_of(path) not in formats:
        return "is plain text, which has no records"
    start = next(read_guarded(path, _first_bytes(path)))
    if not start:
        return "is empty: there is nothing to learn from"
    if b"\0" in start and format_of(path) != ".parquet":
        return (
            f"is binary, not text: it has a zero byte at offset {start.index(0)}; leave it out or "
            "convert it to UTF-8 text"
        )
    return ""


def _hash_file(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _list(paths: Iterable[Path]) -> str:
    """One path, or the first and how many more."""
    first, *rest = paths
    return f"{first} and {len(rest)} more" if rest else str(first)
