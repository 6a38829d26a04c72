"""Shards: a source tokenised once into files that are mapped into memory.

    DIR/train-00000.npy ...          ids as uint16, or uint32 for a vocabulary over 65,536
    DIR/validation-00000.npy ...
    DIR/manifest.json                what they were made from, and their hashes; written last

A folder without a manifest counts as empty, so work that was interrupted is begun again. A folder
that is complete is used as it is where tokenizer, source and split are the same, and refused where
one of them is not: tokens that a run was trained on are never replaced behind its back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from parrotlet.core.errors import DataError
from parrotlet.data.arrays import (
    MANIFEST,
    ArrayFile,
    open_array,
    read_manifest,
    save_array,
    write_manifest,
)
from parrotlet.data.sources import Source, describe
from parrotlet.data.split import plan_split
from parrotlet.data.tokens import TokenArray

KIND, VERSION = "token shards", 1
SIDES = ("train", "validation")
SHARD_TOKENS = 1 << 25


class Encoder(Protocol):
    """What is needed of a tokenizer."""

    @property
    def vocab_size(self) -> int:
        """One more than the largest id."""
        ...

    @property
    def fingerprint(self) -> str:
        """Equal for tokenizers that give equal ids."""
        ...

    def encode_document(self, text: str) -> Sequence[int]:
        """BOS and the ids of the text; called from several threads."""
        ...


@dataclass(frozen=True, kw_only=True)
class Shards:
    """Tokenised text on disk, both sides of the split."""

    directory: Path
    manifest: Mapping[str, Any]
    train: TokenArray
    validation: TokenArray

    @staticmethod
    def open(directory: Path, *, check: bool = True) -> Shards:
        """The shards of a directory, mapped; with `check` their hashes are compared first.

        Raises DataError where they are incomplete, altered or of another version.
        """
        manifest = read_manifest(directory, KIND, VERSION)
        sides = {}
        for side in SIDES:
            facts = manifest["sides"][side]
            entries = [ArrayFile(**entry) for entry in facts["shards"]]
            sides[side] = TokenArray(
                [open_array(directory, entry, check=check) for entry in entries],
                num_bytes=facts["bytes"],
                num_documents=facts["documents"],
            )
        return Shards(directory=directory, manifest=manifest, **sides)


def tokenize(
    source: Source,
    tokenizer: Encoder,
    directory: Path,
    *,
    validation_fraction: float = 0.1,
    seed: int = 0,
    shard_tokens: int = SHARD_TOKENS,
) -> Shards:
    """The shards of `source` in `directory`, made if they are not there.

    Every document becomes BOS and its text, one after another. A document is encoded in one piece,
    so it must fit in memory; the source as a whole need not.

    Raises DataError where the directory holds tokens of something else, or a file changes while it
    is read; RunError where the directory cannot be written.
    """
    made_from = {
        "tokenizer": tokenizer.fingerprint,
        "source": describe(source),
        "split": {"validation_fraction": validation_fraction, "seed": seed},
    }
    if (directory / MANIFEST).exists():
        shards = Shards.open(directory)
        _check_same(shards, made_from)
        return shards
    for name in SIDES:
        for left_over in directory.glob(f"*{name}-*.npy*"):  # of a process that was killed
            left_over.unlink()
    split = plan_split(source, validation_fraction, seed)
    dtype = np.uint16 if tokenizer.vocab_size <= 1 << 16 else np.uint32
    writers = {side: _Writer(directory, side, shard_tokens) for side in SIDES}
    for document in source.documents():
        for side, text in zip(SIDES, split.sides(document.text), strict=True):
            if text:
                ids = np.array(tokenizer.encode_document(text), dtype=dtype)
                writers[side].add(ids, text)
    sides = {side: writer.finish() for side, writer in writers.items()}
    if describe(source) != made_from["source"]:
        raise DataError("the data changed while they were read: run the same command again")
    write_manifest(
        directory,
        {"kind": KIND, "version": VERSION, "made_from": made_from, "sides": sides},
    )
    return Shards.open(directory, check=False)


class _Writer:
    """Collects the ids of one side and writes a file whenever there are enough."""

    def __init__(self, directory: Path, side: str, shard_tokens: int) -> None:
        self._directory = directory
        self._side = side
        self._shard_tokens = shard_tokens
        self._pending: list[NDArray[Any]] = []
        self._num_pending = 0
        self._entries: list[ArrayFile] = []
        self._bytes = 0
        self._documents = 0

    def add(self, ids: NDArray[Any], text: str) -> None:
        """One document."""
        self._bytes += len(text.encode())
        self._documents += 1
        self._pending.append(ids)
        self._num_pending += len(ids)
        if self._num_pending >= self._shard_tokens:
            self._write(self._num_pending // self._shard_tokens * self._shard_tokens)

    def finish(self) -> dict[str, Any]:
        """Write the rest; what the manifest says of this side."""
        if self._num_pending:
            self._write(self._num_pending)
        return {
            "tokens": sum(entry.length for entry in self._entries),
            "bytes": self._bytes,
            "documents": self._documents,
            "shards": [asdict(entry) for entry in self._entries],
        }

    def _write(self, count: int) -> None:
        """The first `count` pending ids, as files of at most shard_tokens."""
        ids = np.concatenate(self._pending)
        for first in range(0, count, self._shard_tokens):
            name = f"{self._side}-{len(self._entries):05d}"
            part = ids[first : min(first + self._shard_tokens, count)]
            self._entries.append(save_array(self._directory, name, part))
        self._pending, self._num_pending = [ids[count:]], len(ids) - count


def _check_same(shards: Shards, made_from: Mapping[str, Any]) -> None:
    """Raise DataError where shards were made from something else, naming what."""
    before = shards.manifest["made_from"]
    changed = [part for part, now in made_from.items() if before[part] != now]
    if changed:
        raise DataError(
            f"{shards.directory} holds tokens made with another {' and another '.join(changed)}"
            f"{_changed_files(before['source'], made_from['source'])}: choose another --name, or "
            "remove the folder to make them again"
        )


def _changed_files(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first file of a source that was not the same before, in brackets; "" if there is none."""
    known = before.get("files", [])
    changed = [file["name"] for file in now.get("files", []) if file not in known]
    return f" ({changed[0]} is new or has changed)" if changed else ""
