"""Clients that leave, flood, crawl or never read; an engine that dies; signals; odd machines.

Small counts by default; the counts of a CI run are slow tests; `make faults` runs the full ones.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tiny_server import (
    ENDLESS,
    PATIENT,
    InThread,
    float32,
    in_thread,
    save_tiny,
    script,
    scripted,
    serving,
    tiny_models,
)

from parrotlet.safety.filter import Verdict
from parrotlet.safety.filters import load_filters
from parrotlet.serve.config import LimitsConfig
from parrotlet.serve.server import PatientProtocol

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}
CRLF = "\r\n"


def counts(small: int, ci: int, full: int) -> list[Any]:
    """How often a fault is made."""
    slow = [pytest.mark.slow, pytest.mark.timeout(7200)]
    wanted = [pytest.param(small), pytest.param(ci, marks=slow)]
    if os.environ.get("PARROTLET_FAULTS") == "full":
        wanted.append(pytest.param(full, marks=slow))
    return wanted


@contextmanager
def slowed(server: InThread, seconds: float = 0.02) -> Iterator[None]:
    """Every step of the engines takes a while."""
    engines: list[Any] = [lane.engine for lane in server.server.service.worker.lanes]
    steps = [engine.step for engine in engines]

    def slow(step: Any) -> Any:
        time.sleep(seconds)
        return step()

    for engine, step in zip(engines, steps, strict=True):
        engine.step = lambda step=step: slow(step)
    yield
    for engine, step in zip(engines, steps, strict=True):
        engine.step = step


def connect(server: InThread, body: dict[str, Any]) -> socket.socket:
    """A connection that has sent a request."""
    host, port = server.address.removeprefix("http://").split(":")
    data = json.dumps(body).encode()
    head = [f"POST {CHAT} HTTP/1.1", f"Host: {host}", "Content-Type: application/json"]
    made = socket.create_connection((host, int(port)))
    made.sendall(CRLF.join([*head, f"Content-Length: {len(data)}", "", ""]).encode() + data)
    return made


def read(client: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    told = b""
    with client:
        client.settimeout(PATIENT)
        while part := client.recv(65536):
            told += part
    return told


def is_quiet(server: InThread) -> bool:
    """Whether nothing runs, waits or is held for anybody."""
    worker = server.server.service.worker
    return not worker.open and all(
        not lane.live and not lane.busy and not lane.homes and not lane.engine.running
        for lane in worker.lanes
    )


def tasks(server: InThread) -> int:
    gc.collect()
    return len(asyncio.all_tasks(server.server._loop))


@pytest.mark.parametrize("count", counts(30, 200, 2000))
def test_f19_clients_that_leave_are_forgotten(runs: Path, count: int) -> None:
    """At any moment: before they are read, queued, in prefill, decoding, at the last token."""
    rng = random.Random(count)
    limits = LimitsConfig(slots=4, queue=1000)
    with in_thread(tiny_models(runs, slots=4), limits=limits) as server:
        httpx2.post(server.address + CHAT, json={**HELLO, "max_tokens": 1}, timeout=PATIENT)
        threads, before = threading.active_count(), tasks(server)
        open_now: list[socket.socket] = []
        for _ in range(count):
            body = {
                **HELLO, "max_tokens": rng.choice([1, 20, 250]), "stream": rng.random() < 0.5,
                "n": rng.choice([1, 3]),
            }  # fmt: skip
            client = connect(server, body)
            if rng.random() < 0.3:  # a reset rather than a farewell
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            open_now.append(client)
            time.sleep(rng.random() * 0.01)
            if len(open_now) > 8:
                open_now.pop(rng.randrange(len(open_now))).close()
        for client in open_now:
            client.close()
        server.wait_until(lambda: is_quiet(server))
        server.wait_until(lambda: tasks(server) <= before)
        assert threading.active_count() <= threads + 32  # asyncio's pool of threads
        again = httpx2.post(server.address + CHAT, json={**HELLO, "max_tokens": 5}, timeout=PATIENT)
        assert again.status_code == 200
        assert all(not lane.live for lane in server.server.service.worker.lanes)


def test_f19_a_running_answer_ends_with_the_next_step() -> None:
    with in_thread(scripted(ENDLESS), limits=LimitsConfig(slots=2)) as server, slowed(server):
        engine: Any = server.server.service.models.all[0].engine
        client = connect(server, {**HELLO, "stream": True})
        server.wait_until(lambda: len(engine.fed.get(0, ())) > 3)
        client.close()
        server.wait_until(lambda: is_quiet(server))
        assert len(engine.fed[0]) < len(ENDLESS)
        assert server.server.service.worker.cancelled == 1


@pytest.mark.parametrize("count", counts(40, 200, 200))
def test_f20_a_flood_of_the_impatient_leaves_the_server_free(runs: Path, count: int) -> None:
    limits = LimitsConfig(slots=8, queue=1000)
    with in_thread(tiny_models(runs, slots=8), limits=limits) as server, slowed(server):

        async def flood() -> int:
            async with httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None)) as client:

                async def ask() -> bool:
                    try:
                        body = {**HELLO, "max_tokens": 10_000, "min_tokens": 200}
                        await client.post(server.address + CHAT, json=body, timeout=0.5)
                    except httpx2.TimeoutException:
                        return True
                    return False

                return sum(await asyncio.gather(*[ask() for _ in range(count)]))

        assert asyncio.run(flood()) == count
        answer = httpx2.post(
            server.address + CHAT, json={**HELLO, "max_tokens": 3}, timeout=PATIENT
        )
        assert answer.status_code == 200
        server.wait_until(lambda: is_quiet(server))


@pytest.mark.parametrize("seconds", counts(2, 10, 60))
def test_f21_overload_is_refused_and_the_accepted_are_right(runs: Path, seconds: int) -> None:
    """Ten times what fits: 200, 429 or 503 and nothing else; whoever asks after health is told."""
    limits = LimitsConfig(slots=4, queue=4, queue_timeout=5)
    body = {**HELLO, "max_tokens": 20, "temperature": 0}
    with in_thread(tiny_models(runs, slots=4), limits=limits) as server:
        expected = httpx2.post(server.address + CHAT, json=body, timeout=PATIENT).json()["choices"][
            0
        ]["message"]
        statuses: Counter[int] = Counter()
        health: list[float] = []

        async def ask(client: httpx2.AsyncClient, end: float) -> None:
            while time.monotonic() < end:
                answer = await client.post(server.address + CHAT, json=body, timeout=PATIENT)
                statuses[answer.status_code] += 1
                if answer.status_code == 200:
                    assert answer.json()["choices"][0]["message"] == expected
                else:
                    assert answer.json()["error"]["code"] in ("queue_full", "overloaded")
                    assert answer.headers["retry-after"]
                    await asyncio.sleep(0.05)

        def watch(end: float) -> None:
            with httpx2.Client(timeout=PATIENT) as client:
                while time.monotonic() < end:
                    begin = time.monotonic()
                    assert client.get(f"{server.address}/health").status_code == 200
                    health.append(time.monotonic() - begin)
                    time.sleep(0.02)

        async def overload() -> None:
            end = time.monotonic() + seconds
            limits = httpx2.Limits(max_connections=None)
            async with httpx2.AsyncClient(limits=limits) as client, asyncio.TaskGroup() as group:
                group.create_task(asyncio.to_thread(watch, end))
                for _ in range(80):
                    group.create_task(ask(client, end))

        asyncio.run(overload())
        assert set(statuses) <= {200, 429, 503} and statuses[200] and statuses[429]
        assert health
        health.sort()
        print(f"{dict(statuses)}; /health p99 {1000 * health[int(len(health) * 0.99)]:.0f} ms")
        server.wait_until(lambda: is_quiet(server))


def test_f21_whoever_waits_too_long_is_told_to_come_back() -> None:
    limits = LimitsConfig(slots=1, queue_timeout=0.3)
    with in_thread(scripted(ENDLESS, [65] * 9, slots=1), limits=limits) as server:
        with slowed(server):
            first = connect(server, {**HELLO, "stream": True})
            server.wait_until(lambda: bool(server.server.service.models.all[0].engine.running))
            second = httpx2.post(server.address + CHAT, json=HELLO, timeout=PATIENT)
            assert second.status_code == 503 and second.json()["error"]["code"] == "overloaded"
            first.close()
        server.wait_until(lambda: is_quiet(server))


@pytest.mark.parametrize("stream", [False, True])
def test_f21_an_answer_has_a_deadline(stream: bool) -> None:
    with in_thread(scripted(ENDLESS), limits=LimitsConfig(deadline=0.3)) as server:
        with slowed(server):
            body = {**HELLO, "stream": stream}
            answer = httpx2.post(server.address + CHAT, json=body, timeout=PATIENT)
        if stream:
            lines = answer.text.strip().split("\n\n")
            assert lines[-1] == "data: [DONE]"
            error = json.loads(lines[-2].removeprefix("data: "))["error"]
            assert "A" in answer.text
        else:
            error = answer.json()["error"]
            assert answer.status_code == 504
        assert error["code"] == "deadline_exceeded"
        server.wait_until(lambda: is_quiet(server))


@pytest.mark.parametrize("count", counts(50, 200, 1000))
def test_f21_crawling_clients_are_closed_and_others_answered(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Connections that say nothing, half a head, or half a body."""
    patience = max(1.0, count / 100)
    monkeypatch.setattr(PatientProtocol, "PATIENCE", patience)
    limits = LimitsConfig(queue_timeout=patience)
    with in_thread(scripted([65, *script("<|end|>")]), limits=limits) as server:
        host, port = server.address.removeprefix("http://").split(":")
        begun = [
            b"", b"POST /v1/chat/comp", b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\n",
            b"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 20\r\n\r\n{",
        ]  # fmt: skip
        crawlers = [socket.create_connection((host, int(port))) for _ in range(count)]
        for index, crawler in enumerate(crawlers):
            crawler.sendall(begun[index % 4])
        answer = httpx2.post(server.address + CHAT, json=HELLO, timeout=PATIENT)
        assert answer.json()["choices"][0]["message"]["content"] == "A"
        for index, crawler in enumerate(crawlers):
            assert read(crawler).startswith(b"HTTP/1.1 408") == (index % 4 == 3)


def test_f21_a_reader_who_never_reads_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = LimitsConfig(send_timeout=0.5)
    with in_thread(scripted(ENDLESS), limits=limits, send_buffer=4096) as server:
        client = connect(server, {**HELLO, "stream": True, "logprobs": True})
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        worker = server.server.service.worker
        server.wait_until(lambda: worker.open == 1)
        server.wait_until(lambda: worker.open == 0)
        server.wait_until(lambda: not server.server.server_state.connections)
        client.close()
        assert is_quiet(server)


@pytest.mark.parametrize("count", counts(30, 200, 1000))
def test_f21_idle_readers_cost_others_nothing(count: int) -> None:
    """Streams that are open and silent, since their answers wait for a slot."""
    limits = LimitsConfig(slots=2, queue=count, queue_timeout=PATIENT)
    models = scripted(*[ENDLESS] * 2, *[[65, *script("<|end|>")]] * count)
    with in_thread(models, limits=limits) as server, slowed(server):
        readers = [connect(server, {**HELLO, "stream": True}) for _ in range(count)]
        worker = server.server.service.worker
        server.wait_until(lambda: worker.open == count)
        with httpx2.Client(base_url=server.address, timeout=PATIENT) as http:
            assert all(http.get("/health").status_code == 200 for _ in range(20))
            assert http.get("/ready").status_code == 200
        for reader in readers[: count // 2]:
            reader.close()
        server.wait_until(lambda: worker.open == count - count // 2)
        server.server.service.worker.abort()
        for reader in readers[count // 2 :]:
            told = read(reader)
            assert b'"shutting_down"' in told or b"data: [DONE]" in told
        server.wait_until(lambda: is_quiet(server))


@pytest.mark.parametrize("count", counts(1, 3, 10))
def test_f22_an_engine_that_dies_is_told_of(count: int) -> None:
    for _ in range(count):
        told, server = kill_the_engine()
        assert b'"engine_stopped"' in told and b"data: [DONE]" in told
        assert b"fire" not in told
        assert not server.thread.is_alive(), "the server goes on without an engine"
        assert not server.server.service.worker.alive


def kill_the_engine() -> tuple[bytes, InThread]:
    """What a reader is told, and the server that ended."""
    with in_thread(scripted(ENDLESS)) as server, slowed(server):
        engine: Any = server.server.service.models.all[0].engine
        client = connect(server, {**HELLO, "stream": True})
        server.wait_until(lambda: len(engine.fed.get(0, ())) > 3)

        def fail() -> None:
            raise RuntimeError("the machine is on fire")

        engine.step = fail
        told = read(client)
        server.thread.join(PATIENT)
        return told, server


def test_f22_damaged_weights_end_the_process_with_an_error(tmp_path: Path) -> None:
    save_tiny(tmp_path / "broken", scale=float("nan"))
    with serving(*float32(tmp_path / "broken")) as server:
        ready = httpx2.get(f"{server.address}/ready", timeout=PATIENT)
        answer = httpx2.post(server.address + CHAT, json=HELLO, timeout=PATIENT)
        assert ready.status_code == 200
        assert answer.status_code == 500 and answer.json()["error"]["code"] == "engine_stopped"
        assert server.process.wait(PATIENT) == 1
        assert "not numbers (NaN)" in server.output()


def test_f22_one_answer_that_fails_fails_alone() -> None:
    class Broken:
        span = 0

        def check(self, text: str, context: Any) -> Verdict:
            if "x" in text:
                raise ValueError("a bug in a filter")
            return Verdict("allow")

    scripts = (script("xyz", "<|end|>"), script("abc", "<|end|>"))
    with in_thread(scripted(*scripts), filters=load_filters(more=[Broken()])) as server:
        first = httpx2.post(server.address + CHAT, json=HELLO, timeout=PATIENT)
        assert first.status_code == 500 and "bug" not in first.text
        second = httpx2.post(server.address + CHAT, json=HELLO, timeout=PATIENT)
        assert second.json()["choices"][0]["message"]["content"] == "abc"
        assert is_quiet(server)


def events(told: bytes) -> list[Any]:
    """The JSON of the events of a response, "[DONE]" as it is."""
    lines = [line[6:] for line in told.decode().splitlines() if line.startswith("data: ")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


@pytest.mark.parametrize("drain", [0.0, 30.0])
@pytest.mark.parametrize("count", counts(1, 5, 20))
def test_f23_sigterm_lets_answers_finish_or_ends_them(runs: Path, drain: float, count: int) -> None:
    for _ in range(count):
        assert stop_amid_streams(drain) == ["length" if drain else "abort"] * 10


def stop_amid_streams(drain: float) -> list[str]:
    """Why each of ten answers ended."""
    models = scripted(*[[65] * 100] * 12, slots=10)
    limits = LimitsConfig(slots=10, drain=drain)
    with in_thread(models, limits=limits) as server, slowed(server):
        engine: Any = models.all[0].engine
        body = {**HELLO, "stream": True, "max_tokens": 100}
        clients = [connect(server, body) for _ in range(10)]
        server.wait_until(lambda: sum(map(len, engine.fed.values())) > 20)
        server.server.handle_exit(signal.SIGTERM, None)
        if drain:
            ready = httpx2.get(f"{server.address}/ready", timeout=PATIENT)
            more = httpx2.post(server.address + CHAT, json=HELLO, timeout=PATIENT)
            assert ready.status_code == more.status_code == 503
            assert more.json()["error"]["code"] == "shutting_down"
        told = [events(read(client)) for client in clients]
        assert all(each[-1] == "[DONE]" for each in told)
        server.thread.join(PATIENT)
        assert not server.thread.is_alive()
        return [each[-2]["choices"][0]["finish_reason"] for each in told]


def test_f23_a_real_signal_ends_a_real_process(runs: Path) -> None:
    with serving(*float32(runs / "tiny"), "--drain", "20") as server:
        body = {**HELLO, "stream": True, "n": 8, "min_tokens": 200}
        with httpx2.stream("POST", server.address + CHAT, json=body, timeout=PATIENT) as stream:
            lines = stream.iter_lines()
            next(lines)
            server.process.send_signal(signal.SIGTERM)
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert server.process.wait(PATIENT) == 0
        assert "Traceback" not in server.output()


@pytest.mark.parametrize(
    "environment",
    [
        {"HOME": None}, {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0"},
        {"TZ": "Pacific/Kiritimati"}, {"TMPDIR": "/nowhere"}, {"cwd": "/proc"},
    ],
    ids=lambda each: next(iter(each)),
)  # fmt: skip
def test_f26_odd_machines(runs: Path, environment: dict[str, str | None]) -> None:
    environment = dict(environment)
    cwd = environment.pop("cwd", None)
    env = {name: value for name, value in (os.environ | environment).items() if value is not None}
    code = "from parrotlet.cli import main; import sys; sys.exit(main())"
    command = [
        sys.executable,
        "-c",
        code,
        "serve",
        *map(str, float32(runs / "tiny")),
        "--port",
        "0",
    ]
    with subprocess.Popen(
        command, env=env, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline().decode()
            assert "http://" in first, first
            address = first.split(" on ")[1].split()[0]
            body = {"messages": [{"role": "user", "content": "é 你好"}], "max_tokens": 5}
            assert httpx2.post(address + CHAT, json=body, timeout=PATIENT).status_code == 200
        finally:
            process.terminate()
        assert process.wait(PATIENT) == 0


def test_f26_the_clock_may_jump(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with in_thread(tiny_models(runs)) as server, slowed(server):
        now = iter(range(10**9, 0, -(10**7)))
        monkeypatch.setattr("parrotlet.serve.shapes.time.time", lambda: next(now))
        for _ in range(3):
            answer = httpx2.post(
                server.address + CHAT, json={**HELLO, "max_tokens": 5}, timeout=PATIENT
            )
            assert answer.status_code == 200 and answer.json()["created"] <= 10**9
