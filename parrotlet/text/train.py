"""Training a tokenizer: byte-level BPE by rustbpe, or an alphabet of characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from parrotlet.core.errors import DataError
from parrotlet.core.log import get_logger
from parrotlet.text import bpe
from parrotlet.text.forms import mirrored
from parrotlet.text.template import NATIVE, NATIVE_UNSPACED, Template
from parrotlet.text.tokenizer import Tokenizer

try:
    import rustbpe
except ImportError:  # one release by one author: our own trainer gives the same merges, slowly
    rustbpe = None

# enough to see which forms of a word are used
COUNTED = 2_000_000  # characters
FREQUENT = 10_000  # words


def train_bpe(
    texts: Iterable[str], vocab_size: int, template: Template = NATIVE, *, mirror: bool = False
) -> Tokenizer:
    """A byte-level BPE tokenizer with exactly `vocab_size` ids, bytes and control ids included.

    Texts are learned from as they will be encoded: with the template's leading space. With `mirror`
    a word is cut alike in small letters, capitalised and in capitals (text/forms.py). DataError
    where the size is too small to hold them or larger than the text can give.
    """
    fixed = bpe.NUM_BYTES + len(template.specials)
    if vocab_size < fixed:
        raise DataError(
            f"a vocabulary of {vocab_size} is too small: {bpe.NUM_BYTES} bytes and "
            f"{len(template.specials)} control tokens need at least {fixed}"
        )
    space = " " if template.leading_space else ""
    portions = (each for text in texts for each in bpe.portions(bpe.repair(space + text)))
    learn = _learn_mirrored if mirror else _learn
    tokens = learn(portions, vocab_size - fixed)
    largest = len(tokens) + len(template.specials)
    if largest < vocab_size:
        raise DataError(
            f"a vocabulary of {vocab_size} is larger than this text can give, which is {largest}; "
            f"use --vocab-size {largest} or less, or add text"
        )
    return Tokenizer("bpe", tuple(tokens), template)


def _learn(texts: Iterable[str], num_merges: int) -> list[bytes]:
    """The tokens in the order of ids, by rustbpe, or by our own trainer where it is missing."""
    if rustbpe is None:
        get_logger("tokenizer").warning(
            "rustbpe is not installed: training the tokenizer in Python, which gives the same "
            "merges but takes much longer"
        )
        return bpe.vocabulary(bpe.train(texts, num_merges))
    trainer = rustbpe.Tokenizer()
    trainer.train_from_iterator(iter(texts), bpe.NUM_BYTES + num_merges, pattern=bpe.QWEN2_PATTERN)
    ranks = trainer.get_mergeable_ranks()
    return [bytes(token) for token, _ in sorted(ranks, key=lambda entry: int(entry[1]))]


def _learn_mirrored(texts: Iterable[str], num_merges: int) -> list[bytes]:
    """Merges of the texts in small letters, with their other forms, as many as are asked for."""
    words, read = Counter[str](), 0

    def in_small_letters() -> Iterator[str]:
        nonlocal read
        for text in texts:
            words.update(bpe.split(text[: max(0, COUNTED - read)]))
            read += len(text)
            yield text.lower()

    merges = _learn(in_small_letters(), num_merges)[bpe.NUM_BYTES :]
    return mirrored(merges, dict(words.most_common(FREQUENT)), bpe.NUM_BYTES + num_merges)


def train_char(texts: Iterable[str], template: Template = NATIVE_UNSPACED) -> Tokenizer:
    """A tokenizer with one id for each character of `texts`, in the order of code points."""
    alphabet: set[str] = set()
    for text in texts:
        alphabet.update(bpe.repair(text))
    if template.leading_space:
        alphabet.add(" ")
    return Tokenizer("char", tuple(each.encode() for each in sorted(alphabet)), template, "")
