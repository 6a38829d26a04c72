"""A small server that speaks the hub's protocol, and breaks it on demand."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = ".safetensors"  # kept in LFS: hashed by sha256, served by another host


@dataclass
class Fault:
    """What happens to the next `times` requests whose path holds `where`."""

    where: str
    status: int = 0  # answered instead; 0: the content is broken
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None  # bytes sent before the connection is cut
    flip: bool = False  # one bit of the content
    whole: bool = False  # the wish for a range is ignored
    times: int = 1


@dataclass
class Hub:
    """`revisions` of `name`: the commit of each, and each commit's files."""

    name: str
    files: dict[str, dict[str, bytes]]  # commit -> file name -> content
    revisions: dict[str, str]
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""
    claims: dict[str, Any] = field(default_factory=dict)  # said of files instead of the truth

    def paths(self, part: str) -> list[str]:
        """The paths asked for that hold `part`."""
        return [path for path, _ in self.requests if part in path]

    def ranges(self, part: str) -> list[str | None]:
        """The ranges asked for of such paths."""
        return [headers.get("range") for path, headers in self.requests if part in path]


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """The hub on a free port of this machine; `hub.address` says which."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        hub = self.hub
        hub.requests.append((self.path, {key.lower(): each for key, each in self.headers.items()}))
        fault = next((each for each in hub.faults if each.where in self.path and each.times), None)
        if fault:
            fault.times -= 1
            if fault.status:
                return self._send(fault.status, b"{}", fault.headers)
        path = self.path.split("?")[0]
        if found := re.fullmatch(rf"/api/models/{hub.name}(?:/revision/(.+))?", path):
            return self._info(found[1] or "main")
        if found := re.fullmatch(rf"/{hub.name}/resolve/([^/]+)/(.+)", path):
            return self._resolve(found[1], found[2], fault)
        if found := re.fullmatch(r"/cdn/(\w+)", path):
            every = [each for files in hub.files.values() for each in files.values()]
            content = next(each for each in every if hashlib.sha256(each).hexdigest() == found[1])
            return self._content(content, fault)
        return self._send(401, b"{}", {"X-Error-Message": "Invalid username or password."})

    def _info(self, revision: str) -> None:
        commit = self.hub.revisions.get(revision, revision)
        if commit not in self.hub.files:
            return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        siblings = [self._sibling(*file) for file in self.hub.files[commit].items()]
        info = {"id": self.hub.name, "sha": commit, "siblings": siblings}
        return self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def _sibling(self, name: str, content: bytes) -> dict[str, Any]:
        about: dict[str, Any] = {"rfilename": name, "size": len(content)}
        about["blobId"] = git_sha1(content)
        if name.endswith(LARGE):
            digest = hashlib.sha256(content).hexdigest()
            about["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 134}
        return about | self.hub.claims.get(name, {})

    def _resolve(self, commit: str, name: str, fault: Fault | None) -> None:
        if commit not in self.hub.files or name not in self.hub.files[commit]:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
        content = self.hub.files[commit][name]
        if not name.endswith(LARGE):
            headers = {"ETag": f'"{git_sha1(content)}"', "X-Repo-Commit": commit}
            return self._content(content, fault, headers)
        digest = hashlib.sha256(content).hexdigest()
        elsewhere = self.hub.address.replace("127.0.0.1", "localhost")
        return self._send(
            302,
            b"",
            {
                "Location": f"{elsewhere}/cdn/{digest}",
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
            },
        )

    def _content(
        self, content: bytes, fault: Fault | None, headers: Mapping[str, str] | None = None
    ) -> None:
        headers = dict(headers or {})
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(asked[1]) if asked and not (fault and fault.whole) else 0
        status = 206 if start else 200
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        sent = content[start:]
        if fault and fault.flip:
            sent = sent[:-1] + bytes([sent[-1] ^ 1])
        cut = None if fault is None else fault.cut
        self._send(status, sent, headers, cut)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if cut is None else body[:cut])
        if cut is not None:
            self.wfile.flush()
            self.close_connection = True
