"""Pairs in packed rows, and what the reference model makes of them.

A row holds whole pairs: the chosen reply of pair k, with its prompt, is segment 2 k + 1, the
rejected one 2 k + 2. Only the two replies are learned. The reference's log-probabilities are
computed once and kept beside the rows, with a hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from parrotlet.core.errors import DataError
from parrotlet.data import arrays
from parrotlet.data.batch import Batch
from parrotlet.data.packing import LEAST_PIECE, Bin, PackedRows, lay_out, pack
from parrotlet.data.preferences import Pair
from parrotlet.text.chat import Conversation, Message, Rendered, render, render_prompt
from parrotlet.text.tokenizer import Tokenizer

KIND, VERSION = "reference log-probabilities", 1
ROUND = 64  # places that the length of a row is a multiple of
REFERENCE = "reference"  # the folder beside the rows

RenderedPair = tuple[Rendered, Rendered]  # chosen, rejected


@dataclass(frozen=True, kw_only=True)
class PairRows:
    """Packed rows of pairs with the reference's log-probabilities."""

    rows: PackedRows
    reference: NDArray[Any]  # (R, 2 P) float32: of segment s + 1 at s; 0 where there is none

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The rows of these numbers as one Batch, whose units are pairs."""
        plain = self.rows.batch(indices)
        assert plain.segments is not None
        pairs = plain.segments.amax(1) // 2
        places = torch.arange(self.reference.shape[1] // 2)
        return replace(
            plain,
            count=int(pairs.sum()),
            extra={
                "reference": torch.from_numpy(self.reference[indices].astype(np.float32)),
                "pairs": places < pairs[:, None],
            },
        )

    def batches(self, micro_rows: int) -> Iterator[Batch]:
        """Every row once, in order: an evaluation."""
        for first in range(0, len(self), micro_rows):
            yield self.batch(np.arange(first, min(first + micro_rows, len(self))))


def fit_pair(pair: Pair, tokenizer: Tokenizer, context: int) -> tuple[RenderedPair | None, int]:
    """The pair as ids, each reply with its prompt in at most context + 1; and turns cut from it.

    A prompt that is too long loses its oldest turns, never its system message; None where the
    last message and a reply alone are too long.
    """
    messages = pair.prompt.messages
    start = 1 if messages[0].role == "system" else 0
    cut = 0
    while True:
        prompt = Conversation(messages[:start] + messages[start + 2 * cut :])
        sides = [_reply(prompt, reply, tokenizer) for reply in (pair.chosen, pair.rejected)]
        if all(len(side.ids) <= context + 1 for side in sides):
            return (sides[0], sides[1]), cut
        if len(prompt.messages) <= start + 1:
            return None, cut
        cut += 1


def _reply(prompt: Conversation, reply: Message, tokenizer: Tokenizer) -> Rendered:
    """The ids of prompt and reply, of which the reply alone is learned."""
    whole = render(prompt.plus(reply), tokenizer)
    asked = len(render_prompt(prompt, tokenizer))
    return Rendered(whole.ids, [False] * asked + list(whole.mask[asked:]))


def pack_pairs(pairs: Sequence[RenderedPair], context: int) -> PackedRows:
    """All pairs, of replies that each fit into `context`, in as few rows as best fit finds.

    Rows are as long as the longest pair, rounded up, and at least `context`: a longer row costs
    attention more and gains nothing.
    """
    lengths = [len(chosen.ids) + len(rejected.ids) - 2 for chosen, rejected in pairs]
    row = min(2 * context, max(context, -(-max(lengths) // ROUND) * ROUND))
    bins = [
        Bin(each.capacity, [side for pair in each.members for side in (2 * pair, 2 * pair + 1)])
        for each in pack(lengths, row, LEAST_PIECE)
    ]
    return lay_out(bins, [side for pair in pairs for side in pair], row)


def save_reference(directory: Path, reference: NDArray[Any], key: str) -> None:
    """Keep the reference's log-probabilities beside the rows in `directory`."""
    folder = directory / REFERENCE
    entry = asdict(arrays.save_array(folder, REFERENCE, reference))
    arrays.write_manifest(folder, {"kind": KIND, "version": VERSION, "key": key, "array": entry})


def open_reference(directory: Path, key: str) -> NDArray[Any]:
    """What save_reference kept; DataError where it is missing, altered or of something else."""
    folder = directory / REFERENCE
    manifest = arrays.read_manifest(folder, KIND, VERSION)
    if manifest["key"] != key:
        raise DataError(f"{folder} was made from other rows or another model; {arrays.MAKE_AGAIN}")
    return arrays.open_array(folder, arrays.ArrayFile(**manifest["array"]))
