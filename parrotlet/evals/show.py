"""What was read, for a person to check: a row of a batch as text, and what was met in files."""

from __future__ import annotations

from collections.abc import Callable

from parrotlet.data.batch import IGNORE, Batch
from parrotlet.data.conversations import Notes
from parrotlet.text.chat import Rendered
from parrotlet.text.tokenizer import Tokenizer

LONGEST = 400  # characters of a conversation that is shown


def show_batch(batch: Batch, tokenizer: Tokenizer) -> str:
    """The first row, a token a line: its id, whether it is learned, its bytes."""
    names = {value: name for name, value in tokenizer.specials.items()}
    tokens = batch.tokens[0].tolist()
    targets = batch.targets[0].tolist()
    learned = [False] + [target != IGNORE for target in targets[:-1]]
    lines = ["the first row of the first batch (* is learned: id, token)"]
    for token, is_learned in zip(tokens, learned, strict=True):
        shown = names.get(token) or _shown(tokenizer.token_bytes(token))
        lines.append(f"  {'*' if is_learned else ' '} {token:6d} {shown}")
    return "\n".join(lines)


def _shown(data: bytes) -> str:
    """The bytes of a token as text where they are any, else as bytes: a part of a character."""
    try:
        return repr(data.decode())
    except UnicodeDecodeError:
        return repr(data)


def show_conversation(item: Rendered, tokenizer: Tokenizer) -> str:
    """A conversation as the model sees it, what is learned between two marks; cut if it is long."""
    names = {value: name.encode() for name, value in tokenizer.specials.items()}
    text, learning = b"", False
    for id, learned in zip(item.ids, item.mask, strict=True):
        if learned != learning:
            text += "«".encode() if learned else "»".encode()
            learning = learned
        text += names[id] if id in names else tokenizer.token_bytes(id)
    shown = (text + ("»".encode() if learning else b"")).decode(errors="replace")
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]} ..."


def say_notes(notes: Notes, say: Callable[[str], None]) -> None:
    """What was met while reading people's files."""
    if notes.shapes:
        shapes = ", ".join(f"{count:,} of {shape}" for shape, count in notes.shapes.most_common())
        say(f"read as: {shapes}")
    if notes.merged:
        talks = "conversation" if notes.merged == 1 else "conversations"
        say(f"in {notes.merged:,} {talks} messages of one role in a row were joined")
    if notes.skipped:
        records = "record" if len(notes.skipped) == 1 else "records"
        say(f"{len(notes.skipped):,} bad {records} left out, the first: {notes.skipped[0]}")
