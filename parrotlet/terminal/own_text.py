"""What a demo's report says of a person's own files: what was read, skipped and how split."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from parrotlet.core.rundir import RECIPE, read_json, write_json
from parrotlet.data.arrays import MANIFEST
from parrotlet.data.sources import FileSource, Skipped, skipped_lines
from parrotlet.stages.tokenizer import bytes_per_character, split_advice

DATA = "data.json"


def look(source: FileSource) -> dict[str, Any]:
    """The files that are read and those that are not, how wide their characters are, and how the
    first document begins: the model is asked to go on from there.
    """
    first = next(source.documents()).text.strip()
    opening = re.match(r".{0,40}(?=\s|$)|.{0,40}", first, re.DOTALL)
    return {
        "files": len(source.files),
        "skipped": [{"path": str(each.path), "reason": each.reason} for each in source.skipped],
        "bytes_per_character": bytes_per_character(source),
        "opening": opening.group() if opening else "",
    }


def remember_split(directory: Path, base: Path) -> None:
    """Add to data.json how the tokenizer split the text, from the manifest of the shards."""
    side = read_json(base / "data" / MANIFEST)["sides"]["train"]
    known = read_json(directory / DATA)
    known |= {"bytes": side["bytes"], "tokens": side["tokens"], "documents": side["documents"]}
    known["bytes_per_token"] = side["bytes"] / max(1, side["tokens"])
    known["vocab_size"] = read_json(base / RECIPE)["config"]["text"]["vocab_size"]
    write_json(directory / DATA, known)


def text_lines(known: Mapping[str, Any]) -> list[str]:
    """What was read and how well it is split; then what to do, where it is split badly."""
    files = f"{known['files']} file{'s' if known['files'] != 1 else ''}"
    documents = f"{known['documents']:,} document{'s' if known['documents'] != 1 else ''}"
    first = (
        f"{files}, {documents} to learn from, {known['bytes']:,} bytes in "
        f"{known['tokens']:,} tokens: {known['bytes_per_token']:.2f} bytes a token with a "
        f"vocabulary of {known['vocab_size']:,}"
    )
    advice = split_advice(
        known["bytes_per_token"], known["bytes_per_character"], known["vocab_size"]
    )
    return [first, advice] if advice else [first]


def left_out(known: Mapping[str, Any]) -> list[str]:
    """What was not read: how many files, which, and why."""
    return skipped_lines([Skipped(Path(each["path"]), each["reason"]) for each in known["skipped"]])
