"""The merges behind a BPE vocabulary: other programs keep pairs, we keep tokens by rank.

A token was made by the last merge of its own bytes. Encoding with the pairs gives the same ids as
encoding by rank where every token was merged from two that came before it, as in training.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from parrotlet.core.errors import DataError


def recover_merges(tokens: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """The pair each token of several bytes was merged from, in the order of ids.

    DataError where a token has none: then no list of pairs describes the vocabulary.
    """
    ranks = {token: rank for rank, token in enumerate(tokens)}
    merges = []
    for rank, token in enumerate(tokens):
        if len(token) > 1:
            parts = _parts(token, ranks, rank)
            if len(parts) != 2:
                raise DataError(
                    f"the token {token!r} (id {rank}) is not two earlier tokens joined but "
                    f"{len(parts)}; only vocabularies made by merging pairs can be exported"
                )
            merges.append((parts[0], parts[1]))
    return merges


def _parts(token: bytes, ranks: dict[bytes, int], below: int) -> list[bytes]:
    """What byte-pair encoding makes of the token with ranks under `below` alone."""
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 1:
        joined = [ranks.get(left + right, below) for left, right in pairwise(parts)]
        best = min(joined)
        if best >= below:
            break
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts
