"""Template: the pieces put around messages, tool calls and results, as a value saved with its ids.

A piece is a control token or plain text; the words of a message are never part of a template, so
nothing a person writes can become a control token. The native form has one control token for each
border. Another dialect, ChatML for one, is another value:

    user=Around((Control("<|im_start|>"), "user\\n"), (Control("<|im_end|>"), "\\n"))

Pieces and words are encoded apart, so that a prompt is always an exact prefix of the finished
conversation; a tokenizer that encodes `user\\n` together with words that begin in a line break can
give other ids there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from parrotlet.core.errors import DataError


@dataclass(frozen=True)
class Control:
    """A control token, by name. Its id comes after all ordinary ids."""

    name: str


Piece = Control | str
Pieces = tuple[Piece, ...]


@dataclass(frozen=True)
class Around:
    """What stands before and after some words."""

    before: Pieces
    after: Pieces

    def controls(self) -> list[str]:
        """The names of its control tokens, in order."""
        return [piece.name for piece in self.before + self.after if isinstance(piece, Control)]


@dataclass(frozen=True, kw_only=True)
class Template:
    """How a conversation is written down. Errors: DataError where its parts do not fit together.

    With `leading_space`, every text (a document, a message, a call, a result) is encoded with one
    space before it, so that a word is the same token at the start as in the middle; decoding takes
    exactly one off again after every control token. Texts must then follow control tokens.
    """

    specials: tuple[str, ...]  # every control token, in the order of their ids
    bos: str  # stands before every document
    begin: Pieces  # stands before a conversation
    system: Around
    user: Around
    assistant: Around
    stop: str  # ends the assistant's turn; the first piece after its words
    call: Around | None = None  # around "name arguments"; None: this dialect has no tools
    result: Around | None = None
    leading_space: bool = False

    def __post_init__(self) -> None:
        if len(set(self.specials)) < len(self.specials) or "" in self.specials:
            raise DataError(f"control tokens {self.specials} must differ and have names")
        used = [piece.name for piece in self.begin if isinstance(piece, Control)]
        used += [name for around in self._arounds() for name in around.controls()]
        for name in (self.bos, self.stop, *used):
            if name not in self.specials:
                raise DataError(f"the template uses {name!r}, which is not among {self.specials}")
        if self.assistant.after[:1] != (Control(self.stop),):
            raise DataError(f"the assistant's words must be followed by the stop token {self.stop}")
        if (self.call is None) != (self.result is None):
            raise DataError("a template has both tool calls and tool results, or neither")
        for around in (self.call, self.result):
            if around is not None and not _is_closed(around):
                raise DataError(
                    f"tool calls and results must begin and end in a control token each, with no "
                    f"other inside; this one has {around}"
                )
        for around in self._arounds():
            follows = around.before[-1] if around.before else ""
            if self.leading_space and not isinstance(follows, Control):
                raise DataError(f"with leading_space, words must follow a control token: {around}")

    def _arounds(self) -> list[Around]:
        every = [self.system, self.user, self.assistant, self.call, self.result]
        return [around for around in every if around is not None]

    def around(self, role: str) -> Around:
        """What stands around a message of "system", "user" or "assistant"."""
        return {"system": self.system, "user": self.user, "assistant": self.assistant}[role]

    def to_json(self) -> dict[str, Any]:
        """The template as a JSON value; a control token becomes {"control": name}."""
        return {
            "specials": list(self.specials),
            "bos": self.bos,
            "begin": _pieces_to_json(self.begin),
            "system": _around_to_json(self.system),
            "user": _around_to_json(self.user),
            "assistant": _around_to_json(self.assistant),
            "stop": self.stop,
            "call": None if self.call is None else _around_to_json(self.call),
            "result": None if self.result is None else _around_to_json(self.result),
            "leading_space": self.leading_space,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Template:
        """The inverse of to_json; KeyError, TypeError or DataError on anything else."""
        call, result = value["call"], value["result"]
        return Template(
            specials=tuple(value["specials"]),
            bos=value["bos"],
            begin=_pieces_from_json(value["begin"]),
            system=_around_from_json(value["system"]),
            user=_around_from_json(value["user"]),
            assistant=_around_from_json(value["assistant"]),
            stop=value["stop"],
            call=None if call is None else _around_from_json(call),
            result=None if result is None else _around_from_json(result),
            leading_space=bool(value["leading_space"]),
        )


def _is_closed(around: Around) -> bool:
    """Whether its only control tokens are its very first and its very last piece."""
    ends = around.before[:1] + around.after[-1:]
    return len(around.controls()) == 2 and all(isinstance(piece, Control) for piece in ends)


def _pieces_to_json(pieces: Pieces) -> list[Any]:
    return [{"control": each.name} if isinstance(each, Control) else each for each in pieces]


def _pieces_from_json(value: list[Any]) -> Pieces:
    return tuple(each if isinstance(each, str) else Control(each["control"]) for each in value)


def _around_to_json(around: Around) -> dict[str, Any]:
    return {
        "before": _pieces_to_json(around.before),
        "after": _pieces_to_json(around.after),
    }


def _around_from_json(value: Mapping[str, Any]) -> Around:
    return Around(_pieces_from_json(value["before"]), _pieces_from_json(value["after"]))


def _between(opening: str, closing: str) -> Around:
    """Words between two control tokens and nothing else."""
    return Around((Control(opening),), (Control(closing),))


NATIVE = Template(
    specials=(
        "<|bos|>",
        "<|system|>",
        "<|user|>",
        "<|assistant|>",
        "<|call|>",
        "<|end_call|>",
        "<|result|>",
        "<|end_result|>",
        "<|end|>",
    ),
    bos="<|bos|>",
    begin=(Control("<|bos|>"),),
    system=_between("<|system|>", "<|end|>"),
    user=_between("<|user|>", "<|end|>"),
    assistant=_between("<|assistant|>", "<|end|>"),
    stop="<|end|>",
    call=_between("<|call|>", "<|end_call|>"),
    result=_between("<|result|>", "<|end_result|>"),
    leading_space=True,
)

# For tokenizers whose words do not begin with a space: characters, and GPT-2's documents.
NATIVE_UNSPACED = replace(NATIVE, leading_space=False)
