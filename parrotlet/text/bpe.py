"""Byte-level BPE in plain Python: the lesson, the oracle of the fast trainer, and its fallback.

Text is cut into words by a pattern, words into bytes; then the most frequent pair of neighbours
becomes a new token, again and again (Sennrich et al. 2016, arXiv:1508.07909; on bytes since GPT-2).
Where several pairs are equally frequent the one with the smallest ids wins, which is the rule of
the rustbpe package: the merges here and there are the same.

Not covered: speed (train_bpe and Tokenizer use compiled code), and characters newer than the
compiled packages' Unicode tables, which only the `regex` package may already know as letters.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

import regex

# How Qwen2 cuts text: contractions; a word with the one character before it; single digits; runs
# of other signs; line breaks; spaces, of which the last stays with the word that follows.
# Unlike Qwen2's own tokenizer we do not normalise (NFC) first: decoding gives back what was said.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+"
    r"|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+"
    r"|\s+(?!\S)"
    r"|\s+"
)
NUM_BYTES = 256  # every byte is a token, so that any text can be encoded
LONGEST_SPACE = 100_000  # characters

Pair = tuple[int, int]


def repair(text: str) -> str:
    """The text with lone surrogates, which no UTF-8 can hold, replaced by U+FFFD.

    Two surrogates that make up one character become it. JSON in the wild has both.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def portions(text: str) -> Iterator[str]:
    """The text, cut only within absurdly long runs of spaces: after each LONGEST_SPACE of them.

    The compiled packages look for the end of such a run with a stack that a million spaces
    overflow, which would end the process.
    """
    start = 0
    if len(text) > LONGEST_SPACE:
        for run in regex.finditer(rf"(?<!\s)\s{{{LONGEST_SPACE + 1},}}", text):
            for end in range(run.start() + LONGEST_SPACE, run.end(), LONGEST_SPACE):
                yield text[start:end]
                start = end
    yield text[start:]


def split(text: str, pattern: str = QWEN2_PATTERN) -> list[str]:
    """The words of a text; no token ever reaches across two of them. Joined, they are the text."""
    return [
        match.group()
        for portion in portions(repair(text))
        for match in regex.finditer(pattern, portion)
    ]


def merge(ids: Sequence[int], pair: Pair, new: int) -> list[int]:
    """`ids` with every `pair` replaced by `new`, from left to right: of a a a, the first two."""
    merged: list[int] = []
    position = 0
    while position < len(ids):
        if tuple(ids[position : position + 2]) == pair:
            merged.append(new)
            position += 2
        else:
            merged.append(ids[position])
            position += 1
    return merged


def train(
    texts: Iterable[str], num_merges: int, pattern: str = QWEN2_PATTERN
) -> list[tuple[bytes, bytes]]:
    """The merges, best first: merge i joins two tokens into the token with id 256 + i.

    Fewer than `num_merges` where the text has no more pairs. Each merge visits only the words
    that hold its pair, and counts never grow for a pair once it exists, so that a heap whose
    counts may be too high, corrected when they come up, finds the most frequent pair.
    """
    frequencies = Counter(word for text in texts for word in split(text, pattern))
    words = [list(word.encode()) for word in frequencies]
    weights = list(frequencies.values())
    counts: Counter[Pair] = Counter()
    places: defaultdict[Pair, set[int]] = defaultdict(set)  # the words a pair may be in
    for index, word in enumerate(words):
        for pair in pairwise(word):
            counts[pair] += weights[index]
            places[pair].add(index)

    heap = [(-count, pair) for pair, count in counts.items()]
    heapq.heapify(heap)
    tokens = [bytes([value]) for value in range(NUM_BYTES)]
    merges: list[tuple[bytes, bytes]] = []
    while heap and len(merges) < num_merges:
        claimed, pair = heapq.heappop(heap)
        if counts[pair] != -claimed:
            if counts[pair] > 0:
                heapq.heappush(heap, (-counts[pair], pair))
            continue
        new = len(tokens)
        changed: Counter[Pair] = Counter()
        for index in places.pop(pair):
            old = words[index]
            words[index] = merge(old, pair, new)
            for gone in pairwise(old):
                changed[gone] -= weights[index]
            for made in zip(words[index], words[index][1:], strict=False):
                changed[made] += weights[index]
                if new in made:
                    places[made].add(index)
        counts.update(changed)
        for made in changed:
            if new in made:
                heapq.heappush(heap, (-counts[made], made))
        merges.append((tokens[pair[0]], tokens[pair[1]]))
        tokens.append(tokens[pair[0]] + tokens[pair[1]])
    return merges


def vocabulary(merges: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """The bytes of every token in the order of ids: the single bytes, then one for each merge."""
    return [bytes([value]) for value in range(NUM_BYTES)] + [left + right for left, right in merges]


def parts_of(token: bytes, ranks: Mapping[bytes, int], limit: int) -> list[bytes]:
    """A token in the parts that merges before `limit` leave, the earliest first: two where it is a
    merge itself. ranks: of all tokens, the single bytes included.
    """
    parts = [token[at : at + 1] for at in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, limit) for left, right in pairwise(parts)]
        best = min(joined)
        if best >= limit:
            break
        at = joined.index(best)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return parts


def encode(
    text: str, merges: Sequence[tuple[bytes, bytes]], pattern: str = QWEN2_PATTERN
) -> list[int]:
    """The ids of a text: within each word, the earliest merge first, until none applies."""
    ids = {token: index for index, token in enumerate(vocabulary(merges))}
    encoded: list[int] = []
    for word in split(text, pattern):
        parts = [bytes([value]) for value in word.encode()]
        while len(parts) > 1:
            joins = [left + right for left, right in pairwise(parts)]
            best = min(range(len(joins)), key=lambda at: ids.get(joins[at], len(ids)))
            if joins[best] not in ids:
                break
            parts[best : best + 2] = [joins[best]]
        encoded += [ids[part] for part in parts]
    return encoded
