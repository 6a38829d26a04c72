"""Tokens as clients see them: their text, their bytes, their log-probabilities."""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Sequence
from typing import Any

from parrotlet.engine.request import Scored
from parrotlet.text.tokenizer import Tokenizer

LEAST = -9999.0  # JSON has no infinity


class TokenWords:
    """The tokens of one answer in order; a leading space that is no text is left out.

    A token that is a part of a character is called by its bytes, as OpenAI does ("bytes:\\xe4"),
    so that no two tokens have one name.
    """

    def __init__(self, tokenizer: Tokenizer, after: int | None) -> None:
        """`after` is the id before the first one."""
        self._tokenizer = tokenizer
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._trim = tokenizer.follows_control(after)
        self._offset = 0  # characters so far

    def restart(self) -> None:
        """A tool's result stands between: the next token follows a control token."""
        self._trim = self._tokenizer.template.leading_space

    def chat(self, tokens: Iterable[Scored]) -> dict[str, Any]:
        """As chat completions have them."""
        return {"content": [self._chat(each) for each in tokens], "refusal": None}

    def _chat(self, scored: Scored) -> dict[str, Any]:
        entry = self._entry(self._bytes(scored.token), scored.logprob)
        best = [
            self._entry(self._tokenizer.token_bytes(id), logprob, id)
            for id, logprob in scored.alternatives
        ]
        return {**entry, "top_logprobs": best}

    def _entry(self, data: bytes, logprob: float | None, id: int | None = None) -> dict[str, Any]:
        shown = None if logprob is None else max(logprob, LEAST)
        return {"token": self._name(data, id), "logprob": shown, "bytes": list(data)}

    def completion(self, tokens: Sequence[Scored], most: int) -> dict[str, Any]:
        """As completions have them: lists side by side, at most `most` alternatives each."""
        names, offsets, logprobs, best = [], [], [], []
        for scored in tokens:
            data = self._bytes(scored.token)
            names.append(self._name(data, scored.token))
            offsets.append(self._offset)
            self._offset += len(self._decoder.decode(data))
            logprobs.append(None if scored.logprob is None else max(scored.logprob, LEAST))
            best.append(self._best(scored, names[-1], most))
        return {
            "tokens": names,
            "token_logprobs": logprobs,
            "top_logprobs": best,
            "text_offset": offsets,
        }

    def _best(self, scored: Scored, name: str, most: int) -> dict[str, float] | None:
        """The likeliest by name, and the token itself, which is always among them."""
        if scored.logprob is None:
            return None
        best = {
            self._name(self._tokenizer.token_bytes(id), id): max(logprob, LEAST)
            for id, logprob in scored.alternatives[:most]
            if id != scored.token
        }
        own = {name: max(scored.logprob, LEAST)}
        first = bool(scored.alternatives) and scored.alternatives[0][0] == scored.token
        return {**own, **best} if first else {**best, **own}

    def _bytes(self, token: int) -> bytes:
        data = self._tokenizer.token_bytes(token)
        if self._trim and token < self._tokenizer.first_special:
            data, self._trim = data.removeprefix(b" "), False
        return data

    def _name(self, data: bytes, id: int | None) -> str:
        if id is not None and id >= self._tokenizer.first_special:
            number = id - self._tokenizer.first_special
            specials = self._tokenizer.template.specials
            return specials[number] if number < len(specials) else f"<|{id}|>"
        try:
            return data.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{each:02x}" for each in data)
