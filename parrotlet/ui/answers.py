"""Replies that are being written, each by a thread that outlives the page's own runs.

A page runs anew at every click and ends when its tab is closed or reloaded; a reply goes on, and
whoever looks at its conversation sees it grow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from parrotlet.ui.client import ApiError, Json

Chunks = Callable[[], Iterator[Json]]


class Answer:
    """One reply: its parts so far, and at the end what is known about it."""

    def __init__(self, chunks: Chunks, keep: Callable[[list[Json], Json], None]) -> None:
        """`keep` is given the parts and the facts, once."""
        self.parts: list[Json] = []
        self.done = threading.Event()
        self._facts: Json = {}
        self._chunks = chunks
        self._keep = keep
        self._lock = threading.Lock()
        self._began = time.monotonic()
        self._first: float | None = None

    def start(self) -> None:
        """Begin to read."""
        threading.Thread(target=self._read, daemon=True).start()

    def stop(self) -> None:
        """End it here; what there is of it is kept."""
        self._end("stopped")

    def _read(self) -> None:
        reason = "abort"
        stream = self._chunks()
        try:
            for chunk in stream:
                if self.done.is_set():
                    return
                with self._lock:
                    reason = self._take(chunk) or reason
        except ApiError as error:
            self._facts |= {"error": str(error), "status": error.status}
            reason = "error"
        except Exception as error:  # whatever a server sends, the reply must come to an end
            self._facts["error"] = f"the answer could not be read ({error!r})"
            reason = "error"
        finally:
            getattr(stream, "close", lambda: None)()
            self._end(reason)

    def _take(self, chunk: Mapping[str, Any]) -> str | None:
        """Add what a chunk brings; the reason where it is the last."""
        reason = None
        for choice in chunk.get("choices", ()):
            delta = choice.get("delta") or {"content": choice.get("text")}
            if text := delta.get("content"):
                if not self.parts or self.parts[-1]["type"] != "text":
                    self.parts.append({"type": "text", "text": ""})
                self.parts[-1]["text"] += text
            self.parts += delta.get("parts") or ()
            reason = choice.get("finish_reason") or reason
            if self._first is None and self.parts:
                self._first = time.monotonic()
        for name in ("usage", "dropped_messages", "filter"):
            if chunk.get(name):
                self._facts[name] = chunk[name]
        return reason

    def _end(self, reason: str) -> None:
        with self._lock:
            if self.done.is_set():
                return
            now = time.monotonic()
            self._facts["finish"] = reason
            self._facts["seconds"] = now - self._began
            if self._first is not None:
                self._facts["first"] = self._first - self._began
            try:
                self._keep(self.parts, self._facts)
            finally:
                self.done.set()


class Answers:
    """The replies being written now, by the number of their message."""

    def __init__(self) -> None:
        self._running: dict[int, Answer] = {}

    def start(self, number: int, answer: Answer) -> None:
        """Begin a reply."""
        self._running = {n: each for n, each in self._running.items() if not each.done.is_set()}
        self._running[number] = answer
        answer.start()

    def get(self, number: int) -> Answer | None:
        """The reply of this message, where it is still being written."""
        found = self._running.get(number)
        return None if found is None or found.done.is_set() else found
