"""The first row of a batch as text: every byte is shown, none as a replacement character."""

from __future__ import annotations

import torch

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.evals.show import show_batch
from parrotlet.text.train import train_bpe


def test_parts_of_characters_are_bytes() -> None:
    tokenizer = train_bpe(["abc"], 265)  # the 256 bytes and the control tokens
    ids = [tokenizer.bos_id, *tokenizer.encode("a\u00e7")]
    targets = [*ids[1:3], IGNORE, IGNORE]
    shown = show_batch(
        Batch(tokens=torch.tensor([ids]), targets=torch.tensor([targets]), count=2), tokenizer
    ).splitlines()[1:]
    assert [line.split()[-1] for line in shown] == ["<|bos|>", "'a'", r"b'\xc3'", r"b'\xa7'"]
    assert [line.strip().startswith("*") for line in shown] == [False, True, True, False]
