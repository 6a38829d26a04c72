"""A server that speaks the API over a real socket and does what the last message says.

say TEXT: that text, in pieces       slow N: N words, one every 50 ms        long N: N characters
sum: a call of the calculator        busy: 429                               break: half a reply
filter: a reply that a filter ends   anything else: the same text back
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODELS = [
    {"id": "tuned", "stage": "sft", "chat": True, "max_model_len": 512},
    {"id": "raw", "stage": "base", "chat": False, "max_model_len": 512},
]
USAGE = {"prompt_tokens": 9, "completion_tokens": 5, "total_tokens": 14, "forced_tokens": 0}


@dataclass
class Scripted:
    """The server; `asked` holds the bodies of every request for an answer."""

    address: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    told: int = 0  # chunks that were sent


def deltas(text: str) -> Iterator[dict[str, Any]]:
    """What a reply to this message is made of."""
    word, _, rest = text.partition(" ")
    if word == "slow":
        for number in range(int(rest)):
            yield {"content": f"w{number} "}
            time.sleep(0.05)
    elif word == "long":
        yield from ({"content": "0123456789" * 50 + "\n\n"} for _ in range(int(rest) // 500))
        yield {"content": "the end"}
    elif word == "sum":
        call = {"type": "tool_call", "name": "calculator", "arguments": "12 + 30"}
        yield {"parts": [call]}
        yield {"parts": [{"type": "tool_result", "text": "42"}]}
        yield {"content": "It is 42."}
    else:
        said = rest if word == "say" else text
        yield from ({"content": said[start : start + 7]} for start in range(0, len(said), 7))


def inside(body: dict[str, Any]) -> dict[str, Any]:
    """What /inspect tells of a model of 2 layers and 2 heads to which every word is a token."""
    said = [body["text"]] if "text" in body else [each["content"] for each in body["messages"]]
    words = " ".join(said).split(" ")
    learned = None if "text" in body else True
    tokens = [
        {"id": number, "text": f" {word}", "bytes": list(f" {word}".encode()), "control": False,
         "learned": learned, "logprob": -1.0 if number else None}
        for number, word in enumerate(words)
    ]  # fmt: skip
    best = [
        {"id": rank, "text": text, "bytes": list(text.encode()), "control": False,
         "probability": probability}
        for rank, (text, probability) in enumerate([(" yes", 0.5), (" no", 0.3), (" \n", 0.2)])
    ]  # fmt: skip
    row = [[1 / (at + 1)] * (at + 1) + [0.0] * (len(words) - at - 1) for at in range(len(words))]
    return {
        "tokens": tokens, "position": body.get("position", len(words) - 1), "layers": 2,
        "next": best, "lens": [best, best], "attention": [row, row] if "layer" in body else None,
    }  # fmt: skip


def handler_of(server: Scripted) -> type[BaseHTTPRequestHandler]:
    """The handler that reports to `server`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: Any) -> None:
            pass

        def answer(self, status: int, value: Any) -> None:
            data = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Retry-After", "3")
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.answer(200, {"data": MODELS})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            server.asked.append(body)
            if self.path == "/inspect":
                self.answer(200, inside(body))
                return
            text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
            if text == "busy":
                self.answer(429, {"error": {"message": "too many requests wait already"}})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.end_headers()
            for delta in deltas(text):
                choice = {"delta": delta, "finish_reason": None}
                if "messages" not in body:
                    choice = {"text": delta.get("content", ""), "finish_reason": None}
                self.send({"choices": [choice]})
                if text.startswith("break"):
                    self.send({"error": {"message": "the engine has stopped"}})
                    return
            reason = "content_filter" if text.startswith("filter") else "stop"
            self.send({"choices": [{"delta": {}, "finish_reason": reason}]})
            self.send({"choices": [], "usage": USAGE})
            self.wfile.write(b"data: [DONE]\n\n")

        def send(self, value: Any) -> None:
            self.wfile.write(f"data: {json.dumps(value)}\n\n".encode())
            self.wfile.flush()
            server.told += 1

    return Handler


class QuietServer(ThreadingHTTPServer):
    """A client that leaves is no news."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass


@contextmanager
def scripted_api(port: int = 0) -> Iterator[Scripted]:
    """Such a server, while the block runs."""
    server = Scripted("")
    http = QuietServer(("127.0.0.1", port), handler_of(server))
    server.address = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
