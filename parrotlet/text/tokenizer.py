"""Tokenizer: text to ids and back, an immutable value that is saved with every checkpoint.

Ordinary ids come first, control tokens after them. `encode` gives ordinary ids only, whatever the
text contains; control ids come from the template alone. Two kinds: "bpe" (byte-level, any text;
encoded by tiktoken) and "char" (one id a character of the training text, for small lessons).

What is not Unicode text (a lone surrogate) is replaced by U+FFFD before encoding.
"""

from __future__ import annotations

import base64
import hashlib
import json
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import tiktoken

from parrotlet.core.errors import CheckpointError, DataError, RunError
from parrotlet.core.rundir import read_json, write_json
from parrotlet.text import bpe
from parrotlet.text.template import Control, Pieces, Template

FILE_NAME = "parrotlet-tokenizer.json"
FORMAT, VERSION = "parrotlet-tokenizer", 1
Kind = Literal["bpe", "char"]


@dataclass(frozen=True)
class Tokenizer:
    """`tokens` holds the bytes of every ordinary id; the template's control tokens follow."""

    kind: Kind
    tokens: tuple[bytes, ...] = field(repr=False)
    template: Template = field(repr=False)
    pattern: str = field(default=bpe.QWEN2_PATTERN, repr=False)  # how bpe cuts text into words
    nfc: bool = False  # characters are composed (Unicode's NFC) first, as imported Qwens want it

    @property
    def first_special(self) -> int:
        """The number of ordinary ids, which is the first control id."""
        return len(self.tokens)

    @property
    def vocab_size(self) -> int:
        """Ordinary ids and control ids together."""
        return len(self.tokens) + len(self.template.specials)

    @cached_property
    def specials(self) -> Mapping[str, int]:
        """The ids of the control tokens by name."""
        names = self.template.specials
        return MappingProxyType({name: len(self.tokens) + i for i, name in enumerate(names)})

    def special(self, name: str) -> int:
        """The id of a control token; DataError where this tokenizer has none of that name."""
        if name not in self.specials:
            known = ", ".join(self.specials)
            raise DataError(f"there is no control token {name!r} in this tokenizer; it has {known}")
        return self.specials[name]

    @property
    def bos_id(self) -> int:
        """The control token before every document."""
        return self.specials[self.template.bos]

    @property
    def stop_id(self) -> int:
        """The control token that ends the assistant's turn."""
        return self.specials[self.template.stop]

    @cached_property
    def _encoding(self) -> tiktoken.Encoding:
        # no special tokens are given to it, so that it cannot yield any
        ranks = {token: index for index, token in enumerate(self.tokens)}
        return tiktoken.Encoding(
            FORMAT, pat_str=self.pattern, mergeable_ranks=ranks, special_tokens={}
        )

    @cached_property
    def _written(self) -> dict[Pieces, list[int]]:  # every message has the same pieces around it
        return {}

    @cached_property
    def _alphabet(self) -> Mapping[str, int]:
        return {token.decode(): index for index, token in enumerate(self.tokens)}

    def encode(self, text: str) -> list[int]:
        """Ordinary ids of a text, with nothing put before it. All are below `first_special`.

        Kind "char" raises DataError naming the first character that is not in its alphabet.
        """
        text = bpe.repair(text)
        if self.nfc:
            text = unicodedata.normalize("NFC", text)
        if self.kind == "bpe":
            encode = self._encoding.encode_ordinary
            return list(chain.from_iterable(map(encode, bpe.portions(text))))
        try:
            return [self._alphabet[character] for character in text]
        except KeyError as error:
            character = error.args[0]
            raise DataError(
                f"the character {character!r} (U+{ord(character):04X}) is not among the "
                f"{len(self.tokens)} this tokenizer was trained on; leave it out, train on text "
                "that has it, or use a bpe tokenizer, which can write anything"
            ) from None

    def encode_segment(self, text: str) -> list[int]:
        """`encode` of a text that follows a control token: with the template's leading space.

        An empty text has no ids.
        """
        return self.encode(f" {text}" if self.template.leading_space and text else text)

    def encode_document(self, text: str) -> list[int]:
        """A document as it is learned: the bos token, then its text with the leading space."""
        return [self.bos_id, *self.encode_segment(text)]

    def encode_pieces(self, pieces: Pieces) -> list[int]:
        """The ids of a part of the template: the only place where control ids are written."""
        if pieces not in self._written:
            ids: list[int] = []
            for piece in pieces:
                if isinstance(piece, Control):
                    ids.append(self.special(piece.name))
                else:
                    ids += self.encode(piece)
            self._written[pieces] = ids
        return list(self._written[pieces])

    def token_bytes(self, token: int) -> bytes:
        """The bytes of an id; none for a control token. DataError where there is no such id."""
        if not 0 <= token < self.vocab_size:
            raise DataError(
                f"the id {token} is not in this tokenizer's vocabulary of {self.vocab_size}; "
                "the model was trained with another tokenizer"
            )
        return self.tokens[token] if token < self.first_special else b""

    def decode(self, ids: Sequence[int], after: int | None = None) -> str:
        """The text of some ids; control tokens give nothing, invalid UTF-8 gives U+FFFD.

        After each control token one leading space, where the template puts one, is taken off
        again, and a character cannot reach across one. `after` is the id before the first, where
        there is one: pass the last id of the prompt to decode a continuation.
        """
        text: list[str] = []
        run: list[bytes] = []
        trim = self.follows_control(after)
        for token in ids:
            data = self.token_bytes(token)
            if token >= self.first_special:
                text.append(self._run_text(run, trim))
                run, trim = [], self.template.leading_space
            else:
                run.append(data)
        return "".join(text) + self._run_text(run, trim)

    def follows_control(self, after: int | None) -> bool:
        """Whether the text after this id begins with the template's leading space."""
        return self.template.leading_space and after is not None and after >= self.first_special

    def _run_text(self, run: Sequence[bytes], trim: bool) -> str:
        data = b"".join(run)
        return (data.removeprefix(b" ") if trim else data).decode(errors="replace")

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of its JSON: the same for equal tokenizers, on any machine."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Everything it is, as a JSON value; tokens in base64, in the order of ids."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "kind": self.kind,
            "pattern": self.pattern,
            "template": self.template.to_json(),
            "tokens": [base64.b64encode(token).decode() for token in self.tokens],
            **({"nfc": True} if self.nfc else {}),  # so that the others keep their fingerprints
        }

    @staticmethod
    def from_json(value: Any) -> Tokenizer:
        """The inverse of to_json; CheckpointError where it is something else."""
        if not isinstance(value, Mapping) or value.get("format") != FORMAT:
            raise CheckpointError("this is not the description of a parrotlet tokenizer")
        if value.get("version") != VERSION:
            raise CheckpointError(
                f"the tokenizer has format version {value.get('version')!r} and this program reads "
                f"version {VERSION}; use the parrotlet that wrote it"
            )
        try:
            tokens = tuple(base64.b64decode(token, validate=True) for token in value["tokens"])
            template = Template.from_json(value["template"])
            nfc = value.get("nfc", False) is True
            made = Tokenizer(value["kind"], tokens, template, value["pattern"], nfc)
            made._check()
        except (KeyError, TypeError, ValueError, AttributeError, DataError) as error:
            raise CheckpointError(f"the tokenizer cannot be read: {error!r}") from error
        return made

    def _check(self) -> None:
        """DataError where the tokens are not a vocabulary that can encode and decode."""
        known = set(self.tokens)
        if self.kind == "bpe":  # tiktoken needs every byte
            whole = known.issuperset(bytes([value]) for value in range(bpe.NUM_BYTES))
        else:
            whole = self.kind == "char" and all(len(token.decode()) == 1 for token in self.tokens)
        if not whole or len(known) < len(self.tokens):
            raise DataError(
                f"{len(self.tokens)} tokens that are not the vocabulary of a {self.kind} tokenizer"
            )

    def save(self, directory: Path) -> None:
        """Write FILE_NAME into `directory`."""
        write_json(directory / FILE_NAME, {**self.to_json(), "sha256": self.fingerprint})

    @staticmethod
    def load(directory: Path) -> Tokenizer:
        """Read FILE_NAME from `directory`; CheckpointError where it is missing or altered."""
        path = directory / FILE_NAME
        try:
            value = read_json(path)
            made = Tokenizer.from_json(value)
        except (RunError, CheckpointError) as error:
            raise CheckpointError(f"no tokenizer can be loaded from {path}: {error}") from error
        if value.get("sha256") != made.fingerprint:
            raise CheckpointError(
                f"{path} was altered after it was saved; take it from the original again"
            )
        return made
