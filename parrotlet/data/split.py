"""The split into training and validation text: the same for the same texts and seed, for ever.

Many documents are split by the hash of each text, so a document keeps its side when others come
or go, and copies of one text are never on both sides. A few are each split by position: the last
part is validation, as nanoGPT does with Shakespeare; by hash, one of two might be held out whole.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from parrotlet.core.errors import DataError, UsageError
from parrotlet.data.sources import Source

FEW = 20  # documents that are split by position


@dataclass(frozen=True)
class Split:
    """How each text is divided."""

    fraction: float
    seed: int
    threshold: int | None  # texts whose hash is below it are validation; None: by position

    def sides(self, text: str) -> tuple[str, str]:
        """The training part and the validation part of a text; one of them may be "".

        By position the border is at character int((1 - fraction) * len(text)) exactly.
        """
        if self.threshold is None:
            border = int((1 - self.fraction) * len(text))
            return text[:border], text[border:]
        return ("", text) if keyed_hash(text, self.seed) < self.threshold else (text, "")


def plan_split(source: Source, fraction: float, seed: int) -> Split:
    """Read the source once and choose how to split it.

    About `fraction` of the documents become validation, at least one, and never all of them; of
    fewer than FEW documents, that much of each.
    Raises UsageError for a fraction outside [0, 1), DataError where FEW or more are all one text.
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"a validation fraction of {fraction} cannot be: use 0 or more, under 1")
    count, lowest, highest = 0, 1 << 64, -1
    for document in source.documents():
        value = keyed_hash(document.text, seed)
        count, lowest, highest = count + 1, min(lowest, value), max(highest, value)
    if count == 0:
        raise DataError("there is no document to learn from: give some text")
    if fraction == 0:
        return Split(fraction, seed, 0)
    if count < FEW:
        return Split(fraction, seed, None)
    if lowest == highest:
        raise DataError(
            f"all {count} documents are the same text, so none can be kept for validation: give "
            "other texts or a validation fraction of 0"
        )
    wanted = int(fraction * (1 << 64))
    return Split(fraction, seed, min(max(wanted, lowest + 1), highest))


def keyed_hash(text: str, seed: int) -> int:
    """64 bits that depend on the whole text and the seed."""
    digest = hashlib.blake2b(text.encode(), digest_size=8, key=str(seed).encode()).digest()
    return int.from_bytes(digest, "little")
