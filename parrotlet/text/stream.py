"""TextStream: ids to text, one at a time, without broken characters.

A character of several bytes is held back until it is whole, so that U+FFFD appears only where the
bytes can no longer become one. The pieces, joined, are Tokenizer.decode of the same ids.
"""

from __future__ import annotations

import codecs

from parrotlet.text.tokenizer import Tokenizer


class TextStream:
    """Feed it ids with `push`; call `flush` once at the end.

    `after` is the id before the first one pushed, the last of the prompt: where it is a control
    token the leading space of the reply is taken off, where it is not the text goes on as it is.
    """

    def __init__(self, tokenizer: Tokenizer, after: int | None = None) -> None:
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._trim = tokenizer.follows_control(after)

    def push(self, token: int) -> str:
        """The text that is certain now; empty inside a character and for control tokens."""
        data = self._tokenizer.token_bytes(token)
        if token >= self._tokenizer.first_special:
            piece = self.flush()
            self._trim = self._tokenizer.follows_control(token)
            return piece
        if self._trim:
            data = data.removeprefix(b" ")
            self._trim = False
        return self._decoder.decode(data)

    def flush(self) -> str:
        """What was held back, as U+FFFD where it is not a whole character."""
        piece = self._decoder.decode(b"", final=True)
        self._decoder.reset()
        return piece
