"""GPT-2's own vocabulary, read from the two files OpenAI published: encoder.json and vocab.bpe.

The ids are those of the reference, so that GPT-2's weights can be used. Documents begin, as in its
training, with <|endoftext|> and no leading space.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from parrotlet.core.errors import DataError
from parrotlet.text.template import NATIVE_UNSPACED, Around, Control, Template
from parrotlet.text.tokenizer import Tokenizer

# How GPT-2 cuts text (openai/gpt-2, encoder.py): numbers of any length, contractions in lower case.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END_OF_TEXT = "<|endoftext|>"
ENCODER, MERGES = "encoder.json", "vocab.bpe"  # as OpenAI named them

# The native form with <|endoftext|> in the place of <|bos|>; eight ids more than GPT-2 has.
GPT2_CHAT = replace(
    NATIVE_UNSPACED,
    specials=(END_OF_TEXT, *NATIVE_UNSPACED.specials[1:]),
    bos=END_OF_TEXT,
    begin=(Control(END_OF_TEXT),),
)
# GPT-2's one control token alone: turns are told apart by words, and there are no tools.
GPT2_PLAIN = Template(
    specials=(END_OF_TEXT,),
    bos=END_OF_TEXT,
    begin=(Control(END_OF_TEXT),),
    system=Around((), ("\n\n",)),
    user=Around(("User:\n",), ("\n\n",)),
    assistant=Around(("Assistant:\n",), (Control(END_OF_TEXT),)),
    stop=END_OF_TEXT,
)


def load_gpt2(directory: Path, chat_specials: bool = True) -> Tokenizer:
    """GPT-2's tokenizer from `directory`; with `chat_specials` its ids are followed by eight more.

    DataError where a file is missing or the two do not describe one vocabulary.
    """
    alphabet = byte_alphabet()
    names = _read_encoder(directory / ENCODER)
    try:
        tokens = tuple(bytes(alphabet[character] for character in name) for name in names)
    except KeyError as error:
        raise DataError(
            f"{directory / 'encoder.json'} has a token with {error.args[0]!r}, which stands for no "
            "byte; take the file GPT-2 was published with"
        ) from error
    _check_merges(directory / MERGES, names)
    template = GPT2_CHAT if chat_specials else GPT2_PLAIN
    return Tokenizer("bpe", tokens, template, GPT2_PATTERN)


def byte_alphabet() -> dict[str, int]:
    """The character that stands for each byte in the files, so that they hold no odd spaces.

    Visible Latin-1 characters stand for their own byte; the other 68 bytes, in order, are
    written as U+0100, U+0101 and so on (openai/gpt-2, encoder.py).
    """
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [value for value in range(0x100) if value not in visible]
    alphabet = {chr(value): value for value in visible}
    return alphabet | {chr(0x100 + index): value for index, value in enumerate(hidden)}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"GPT-2's vocabulary file {path} cannot be read: {error}") from error


def _read_encoder(path: Path) -> list[str]:
    """The ordinary tokens in the order of their ids; END_OF_TEXT is the one after them."""
    try:
        ids = sorted(json.loads(_read(path)).items(), key=lambda entry: entry[1])
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not a vocabulary in JSON: {error}") from error
    names = [name for name, _ in ids]
    if [number for _, number in ids] != list(range(len(ids))) or names[-1:] != [END_OF_TEXT]:
        raise DataError(f"{path} must number its tokens from 0 without a gap, {END_OF_TEXT} last")
    return names[:-1]


def _check_merges(path: Path, names: list[str]) -> None:
    """Ids must be the order of merges: that is how encoding finds the earliest one."""
    lines = [line for line in _read(path).split("\n") if line and not line.startswith("#version")]
    made = [line.replace(" ", "", 1) for line in lines]
    if names[256:] != made:
        raise DataError(
            f"the {len(made)} merges of {path} do not make the {len(names) - 256} tokens of "
            "encoder.json; take both files from one place"
        )
