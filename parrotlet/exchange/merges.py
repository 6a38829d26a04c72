"""The merges of a byte-level BPE vocabulary, which other programs keep and our tokenizer does not.

Where ids are the order of merges, the tokens alone say what was merged: encoding a token with
only the merges before it leaves exactly the two parts that were joined to make it.
"""

from __future__ import annotations

from collections.abc import Sequence

from parrotlet.text.bpe import NUM_BYTES, parts_of
from parrotlet.text.gpt2_vocab import byte_alphabet


def merges_of(tokens: Sequence[bytes]) -> list[tuple[bytes, bytes]] | None:
    """What was joined to make each token after the single bytes, in order.

    None where some token is not made of two before it, so that the ids are not such an order.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    merges = []
    for rank in range(NUM_BYTES, len(tokens)):
        parts = parts_of(tokens[rank], ranks, rank)
        if len(parts) != 2:
            return None
        merges.append((parts[0], parts[1]))
    return merges


def token_names(tokens: Sequence[bytes]) -> list[str]:
    """Tokens as the files of GPT-2 and Qwen write them: one visible character for each byte."""
    visible = {byte: character for character, byte in byte_alphabet().items()}
    return ["".join(visible[byte] for byte in token) for token in tokens]


def pair_names(merges: Sequence[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Merges as those files write them."""
    left = token_names([pair[0] for pair in merges])
    right = token_names([pair[1] for pair in merges])
    return list(zip(left, right, strict=True))
