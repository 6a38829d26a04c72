"""F25: mixed load for a while, some clients leaving, some asking nonsense: nothing grows.

Seconds by default, a minute as a slow test, ten minutes by `make faults`.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx2
import pytest
from test_faults import counts
from tiny_server import PATIENT, float32, serving

CLIENTS = 12
WARM = 300  # answers before the first look
LEAVE, NONSENSE = 0.05, 0.01  # shares of the requests
SLOPE = 1024  # KiB in ten minutes
NOISE = 8192  # KiB that memory moves up and down by itself
LOOKS = 60  # at the process, over the whole time
NONSENSES: list[tuple[str, Any]] = [
    ("/v1/chat/completions", {"messages": []}), ("/v1/completions", {"prompt": "x", "top_p": 7}),
    ("/v1/completions", {"prompt": [1] * 5000}), ("/v1/chat/completions", "{"),
    ("/v1/nothing", {}), ("/v1/completions", {"prompt": "x", "model": "nobody"}),
]  # fmt: skip


def request(rng: random.Random) -> tuple[str, dict[str, Any]]:
    """Something a client may well ask."""
    more: dict[str, Any] = rng.choice(
        [{}, {"temperature": 0}, {"top_p": 0.9, "frequency_penalty": 1}, {"n": 3}]
    )
    body: dict[str, Any] = {
        "max_tokens": rng.randrange(1, 60), "seed": rng.randrange(9), "stop": [" cat", "\n"],
        "stream": rng.random() < 0.6, **more,
    }  # fmt: skip
    words = ["the", "cat", "sat", "on", "the", "mat", "é", "你好"] * rng.randrange(1, 3)
    rng.shuffle(words)
    text = " ".join(words)
    if rng.random() < 0.5:
        return "/v1/completions", body | {"prompt": text, "logprobs": rng.choice([None, 2])}
    messages = [{"role": "user", "content": text}]
    return "/v1/chat/completions", body | {"messages": messages, "logprobs": rng.random() < 0.3}


class Load:
    """Clients that ask on until they are told to stop, and what became of their requests."""

    def __init__(self, address: str) -> None:
        self.seen: Counter[str] = Counter()
        self.goes_on = True
        self._address = address
        self._rng = random.Random(0)

    async def run(self) -> None:
        """One client; a connection for each request, since one that is kept may just be closed."""
        headers = {"connection": "close", "content-type": "application/json"}
        async with httpx2.AsyncClient(
            base_url=self._address, timeout=PATIENT, headers=headers
        ) as http:
            while self.goes_on:
                await self._ask(http)

    async def _ask(self, http: httpx2.AsyncClient) -> None:
        chance = self._rng.random()
        if chance < NONSENSE:
            path, body = self._rng.choice(NONSENSES)
            content = {"content": body} if isinstance(body, str) else {"json": body}
            answer = await http.post(path, **content)
            self.seen[f"nonsense {answer.status_code // 100}xx"] += 1
            return
        path, body = request(self._rng)
        leaves = chance < NONSENSE + LEAVE
        async with http.stream("POST", path, json=body) as answer:
            if leaves:
                self.seen["left"] += 1
                return
            told = (await answer.aread()).decode()
        whole = told.endswith("data: [DONE]\n\n") if body["stream"] else '"usage"' in told
        self.seen[f"{answer.status_code}{'' if whole else ', cut'}"] += 1


def kibibytes(pid: int) -> int:
    """Of a process in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


def files(pid: int) -> int:
    """Open files and connections of a process."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def soak(address: str, pid: int, seconds: float) -> tuple[Counter[str], list[int], list[int]]:
    """What became of the requests; memory and open files, from the first WARM answers on."""
    load = Load(address)
    memory, opened = [], []
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(load.run())
        while load.seen.total() < WARM:
            await asyncio.sleep(0.1)
        for _ in range(LOOKS):
            await asyncio.sleep(seconds / LOOKS)
            memory.append(kibibytes(pid))
            opened.append(files(pid))
        load.goes_on = False
    return load.seen, memory, opened


def gauges(address: str) -> dict[str, float]:
    """What must be nothing once nobody asks."""
    lines = httpx2.get(f"{address}/metrics", timeout=PATIENT).text.splitlines()
    names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
    return {name: float(line.split()[-1]) for line in lines for name in names
            if line.startswith(f"parrotlet_{name}")}  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")
@pytest.mark.parametrize("seconds", counts(4, 60, 600))
def test_f25_nothing_grows_under_mixed_load(runs: Path, seconds: int) -> None:
    patience = ("--queue-timeout", str(PATIENT), "--slots", "8")
    with serving(*float32(runs / "tiny", *patience)) as server:
        pid = server.process.pid
        gauges(server.address)  # what is opened late is open once it has answered
        idle = files(pid)
        seen, memory, opened = asyncio.run(soak(server.address, pid, seconds))
        half = memory[LOOKS // 2 :]  # the allocator has seen every size by then
        slope = statistics.linear_regression(range(len(half)), half).slope * LOOKS * 600 / seconds
        growth = max(memory[LOOKS // 2 :]) - max(memory[: LOOKS // 2])
        print(f"{dict(seen)}; {memory[0]} KiB first, {memory[-1]} last, {slope:.0f} in 10 minutes")
        assert set(seen) <= {"200", "left", "nonsense 4xx"}, seen
        assert seen["left"] and seen["200"] > WARM / 2
        assert growth < NOISE
        assert seconds < 600 or slope < SLOPE, memory
        assert max(opened) <= idle + 2 * CLIENTS
        for _ in range(6000):
            if files(pid) <= idle + 1 and not any(gauges(server.address).values()):
                break
            time.sleep(0.05)
        left = gauges(server.address)
        assert len(left) == 3 and not any(left.values())
        assert files(pid) <= idle + 1
