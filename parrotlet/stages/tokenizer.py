"""The tokenizer stage: train one on the text, or take one that exists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from parrotlet.core.errors import CheckpointError
from parrotlet.data.sources import Source
from parrotlet.stages.config_pretrain import TokenizerConfig
from parrotlet.stages.run import Display
from parrotlet.text.gpt2_vocab import ENCODER, load_gpt2
from parrotlet.text.tokenizer import FILE_NAME, Tokenizer
from parrotlet.text.train import train_bpe, train_char
from parrotlet.train.checkpoint import find

COARSE = 2.2  # bytes a token: fewer, and the text is badly split
WIDE = 1.5
SAMPLE = 200_000
TRAINING_CHARACTERS = 50_000_000  # more text changes merges little and takes its time


def tokenizer_for(
    config: TokenizerConfig, source: Source, directory: Path, display: Display
) -> Tokenizer:
    """The tokenizer asked for, saved in `directory`; one that is already there is kept."""
    if (directory / FILE_NAME).exists():
        return Tokenizer.load(directory)
    if config.tokenizer is not None:
        tokenizer = load_tokenizer(config.tokenizer)
    else:
        display.say(f"training a {config.kind} tokenizer")
        tokenizer = _train(config, source)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(directory)
    return tokenizer


def _train(config: TokenizerConfig, source: Source) -> Tokenizer:
    texts = (document.text for document in source.documents())
    if config.kind == "char":
        return train_char(texts)
    return train_bpe(_some(texts), config.vocab_size, mirror=config.mirror)


def _some(texts: Iterable[str]) -> Iterator[str]:
    """Texts up to TRAINING_CHARACTERS in all."""
    left = TRAINING_CHARACTERS
    for text in texts:
        yield text[:left]
        left -= len(text)
        if left <= 0:
            return


def bytes_per_character(source: Source) -> float:
    """UTF-8 bytes a character, on the first SAMPLE characters: above 1.5, few are Latin letters."""
    characters = size = 0
    for document in source.documents():
        characters += len(document.text)
        size += len(document.text.encode())
        if characters >= SAMPLE:
            break
    return size / max(1, characters)


def split_advice(per_token: float, per_character: float, vocab_size: int) -> str:
    """What to do about a BPE tokenizer that gets few bytes into a token; "" where it does well.

    In a script of wide characters a token should hold one of them at least.
    """
    wide = per_character > WIDE
    if per_token >= max(COARSE, per_character if wide else 0.0):
        return ""
    script = ""
    if wide:
        script = f" (a character of this script takes {per_character:.1f} bytes)"
    return (
        f"the tokenizer splits this text badly: {per_token:.2f} bytes a token, "
        f"{per_token / per_character:.2f} characters{script}; a larger vocabulary lets the model "
        f"read more at once: --vocab-size {4 * vocab_size}"
    )


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a run, a checkpoint or a folder that holds one: ours, or GPT-2's files."""
    for directory in (path, path / "tokenizer"):
        if (directory / FILE_NAME).exists():
            return Tokenizer.load(directory)
    if (path / ENCODER).exists():
        return load_gpt2(path)
    try:
        return Tokenizer.load(find(path).path)
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} holds no tokenizer: no {FILE_NAME}, no checkpoint, and no {ENCODER} of "
            "GPT-2; name a run or a folder that has one"
        ) from error
