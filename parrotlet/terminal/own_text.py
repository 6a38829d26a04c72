"""What a demo says of a person's own files: what was read, what was skipped, how it was split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parrotlet.core.rundir import read_json, write_json
from parrotlet.data.arrays import MANIFEST
from parrotlet.data.sources import FileSource

DATA = "data.json"
SHOWN = 8  # skipped files that are named; the others are counted
COARSE = 2.2  # bytes a token: fewer, and the text is badly split
WIDE = 1.5  # bytes a character: more, and most of it is not in the Latin alphabet
SAMPLE = 200_000  # characters that are looked at


def look(source: FileSource) -> dict[str, Any]:
    """The files that are read and those that are not, and how wide their characters are."""
    characters = size = 0
    for document in source.documents():
        characters += len(document.text)
        size += len(document.text.encode())
        if characters >= SAMPLE:
            break
    return {
        "files": len(source.files),
        "skipped": [{"path": str(each.path), "reason": each.reason} for each in source.skipped],
        "bytes_per_character": size / max(1, characters),
    }


def remember_split(directory: Path, base: Path) -> None:
    """Add to data.json how the tokenizer split the text, from the manifest of the shards."""
    side = read_json(base / "data" / MANIFEST)["sides"]["train"]
    known = read_json(directory / DATA)
    known |= {"bytes": side["bytes"], "tokens": side["tokens"], "documents": side["documents"]}
    known["bytes_per_token"] = side["bytes"] / max(1, side["tokens"])
    known["vocab_size"] = read_json(base / "recipe.json")["config"]["text"]["vocab_size"]
    write_json(directory / DATA, known)


def skipped_lines(known: Mapping[str, Any]) -> list[str]:
    """What was not read: how many files, which, and why."""
    skipped = known["skipped"]
    if not skipped:
        return []
    kinds = Counter(Path(each["path"]).suffix or "no suffix" for each in skipped)
    kept = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    lines = [f"{len(skipped)} files skipped ({kept}), {known['files']} read"]
    for each in skipped[:SHOWN]:
        lines.append(f"skipped {each['path']}: {each['reason'].split(':')[0]}")
    if len(skipped) > SHOWN:
        lines.append(f"and {len(skipped) - SHOWN} more, listed in {DATA}")
    return lines


def split_lines(known: Mapping[str, Any]) -> list[str]:
    """How well the tokenizer splits the text, and what to do where it does so badly."""
    per_token, vocabulary = known["bytes_per_token"], known["vocab_size"]
    lines = [
        f"{known['documents']:,} documents, {known['bytes']:,} bytes, {known['tokens']:,} tokens: "
        f"{per_token:.2f} bytes a token with a vocabulary of {vocabulary:,}"
    ]
    if per_token < COARSE:
        wide = known["bytes_per_character"]
        script = f"; a character of this script takes {wide:.1f} bytes" if wide > WIDE else ""
        lines.append(
            f"the text is badly split, {per_token / wide:.2f} characters a token{script}: the "
            f"model reads little at once; try a larger vocabulary, --vocab-size {4 * vocabulary}"
        )
    return lines
