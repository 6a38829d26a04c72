"""What the server costs: many clients streaming at once, one client, and the engine alone.

    python bench/serve.py [--shape depth4|gpt2] [--clients 32] [--tokens 128] [--repeats 3]
                          [--minutes 0]

Random weights, greedy, every answer of the same length, filters off. The server is a process of
its own, the clients another (this one); they share the machine. Each figure is the median of the
repeats, taken in turn. With --minutes the mixed load of the last part goes on so long, 5% of the
clients leaving, and the server's memory is read before and after. Prints a card, and one JSON line
last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from parrotlet.chat.load import load
from parrotlet.core.machine import MachineConfig
from parrotlet.engine.request import Request, SamplingSettings
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe
from parrotlet.train.checkpoint import save_weights

SHAPES = {
    "depth4": {
        "arch": "qwen3", "context": 512, "depth": 4, "width": 256, "heads": 2, "kv_heads": 2,
        "head_width": 128, "mlp_width": 768,
    },
    "gpt2": {
        "arch": "gpt2", "context": 1024, "depth": 12, "width": 768, "heads": 12, "kv_heads": 12,
        "head_width": 64, "mlp_width": 3072,
    },
}  # fmt: skip
VOCABULARY = {"depth4": 4096, "gpt2": 50257}
PROMPT = [1 + each % 200 for each in range(32)]


def save_model(directory: Path, shape: str) -> None:
    """A checkpoint of random weights that never ends an answer by itself."""
    tokenizer = train_bpe(["the cat sat on the mat"], 256 + 9)
    size = VOCABULARY[shape]
    filler = tuple(f"<{each}>".encode() for each in range(size - tokenizer.vocab_size))
    tokenizer = Tokenizer("bpe", tokenizer.tokens + filler, tokenizer.template)
    config = ModelConfig(vocab_size=size, **SHAPES[shape])  # type: ignore[arg-type]
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(0))
    weights = {name: each.detach() for name, each in model.named_parameters()}
    save_weights(directory, config, weights, tokenizer, stage="base")


def engine_alone(run: Path, machine: MachineConfig, clients: int, tokens: int) -> float:
    """Tokens a second of `clients` requests at once, without server or text."""
    loaded = load(run, machine, slots=clients)
    controls = range(loaded.tokenizer.first_special, loaded.engine.vocab_size)

    def go(count: int, length: int) -> float:
        for _ in range(count):
            loaded.engine.add(
                Request(
                    prompt=(loaded.tokenizer.bos_id, *PROMPT),
                    max_tokens=length,
                    sampling=SamplingSettings(temperature=0.0),
                    banned_ids=frozenset(controls),
                )
            )
        begin = time.perf_counter()
        while not loaded.engine.idle:
            loaded.engine.step()
        return count * length / (time.perf_counter() - begin)

    go(clients, 4)
    return go(clients, tokens)


class Client:
    """One connection that streams completions; as little work as possible beside the server."""

    def __init__(self, port: int, tokens: int) -> None:
        self._port = port
        body = {"prompt": PROMPT, "max_tokens": tokens, "min_tokens": tokens, "temperature": 0,
                "stream": True, "stream_options": {"include_usage": True}}  # fmt: skip
        data = json.dumps(body).encode()
        head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        head += "Content-Type: application/json\r\nConnection: close\r\n"
        self._request = f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data

    async def ask(self, *, leave_after: int | None = None) -> tuple[float, int]:
        """(seconds to the first text, tokens); `leave_after` reads the client goes away."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        begin = time.perf_counter()
        writer.write(self._request)
        first, told, reads = 0.0, b"", 0
        while part := await reader.read(65536):
            told += part
            reads += 1
            if not first and b'"text":' in told:
                first = time.perf_counter() - begin
            if leave_after is not None and reads > leave_after:
                break
        writer.close()
        found = re.search(rb'"completion_tokens":(\d+)', told)
        if leave_after is None and found is None:
            raise RuntimeError(told[-500:].decode(errors="replace"))
        return first, int(found[1]) if found else 0


async def together(port: int, clients: int, tokens: int) -> tuple[float, list[float]]:
    """(tokens a second of all clients, seconds to the first text of each)."""
    begin = time.perf_counter()
    answers = await asyncio.gather(*[Client(port, tokens).ask() for _ in range(clients)])
    seconds = time.perf_counter() - begin
    return sum(count for _, count in answers) / seconds, [first for first, _ in answers]


async def mixed(port: int, clients: int, tokens: int, minutes: float) -> int:
    """Clients that ask again and again, a twentieth of them leaving early; answers asked for."""
    end = time.perf_counter() + 60 * minutes
    rng = random.Random(0)
    count = 0

    async def ask_on() -> None:
        nonlocal count
        while time.perf_counter() < end:
            leaves = rng.randrange(5) if rng.random() < 0.05 else None
            await Client(port, rng.randrange(1, tokens)).ask(leave_after=leaves)
            count += 1

    await asyncio.gather(*[ask_on() for _ in range(clients)])
    return count


def resident(pid: int) -> int:
    """MiB of a process in memory; 0 where the system does not tell."""
    status = Path(f"/proc/{pid}/status")
    found = re.search(r"VmRSS:\s+(\d+)", status.read_text()) if status.exists() else None
    return int(found[1]) // 1024 if found else 0


def measure(run: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    command = [sys.executable, "-m", "parrotlet", "serve", str(run), "--port", "0"]
    command.append("--no-filter")
    command += ["--slots", str(arguments.clients), "--device", "cpu", "--dtype", arguments.dtype]
    machine = MachineConfig(device="cpu", dtype=arguments.dtype)
    alone, one, all_at_once, firsts = [], [], [], []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as s:
        try:
            assert s.stdout is not None
            port = int(re.search(r":(\d+) ", s.stdout.readline())[1])  # type: ignore[index]
            asyncio.run(together(port, arguments.clients, 4))
            for _ in range(arguments.repeats):
                alone.append(engine_alone(run, machine, arguments.clients, arguments.tokens))
                one.append(asyncio.run(together(port, 1, arguments.tokens))[0])
                speed, waits = asyncio.run(together(port, arguments.clients, arguments.tokens))
                all_at_once.append(speed)
                firsts += waits
            before = resident(s.pid)
            asked = asyncio.run(mixed(port, arguments.clients, arguments.tokens, arguments.minutes))
            after = resident(s.pid)
        finally:
            s.terminate()
    firsts.sort()
    found = {
        "engine": statistics.median(alone),
        "one": statistics.median(one),
        "together": statistics.median(all_at_once),
        "first_p50": firsts[len(firsts) // 2],
        "first_p99": firsts[int(len(firsts) * 0.99)],
        "rss_before": before,
        "rss_after": after,
        "mixed_answers": asked,
    }
    found["times_one"] = found["together"] / found["one"]
    found["of_engine"] = found["together"] / found["engine"]
    return found


def card(results: dict[str, Any]) -> str:
    """The figures for a person."""
    return "\n".join(
        [
            f"serving {results['shape']} ({results['dtype']}) to {results['clients']} clients, "
            f"{results['tokens']} tokens each, {results['processor']}, {results['cores']} cores",
            f"  engine alone    {results['engine']:8.0f} tokens/s",
            f"  all clients     {results['together']:8.0f} tokens/s, "
            f"{results['of_engine']:.2f} of the engine's, {results['times_one']:.1f} times one's",
            f"  one client      {results['one']:8.0f} tokens/s",
            f"  first text      {1000 * results['first_p50']:8.0f} ms p50, "
            f"{1000 * results['first_p99']:.0f} ms p99, with all clients at once",
            f"  memory          {results['rss_before']:8d} MiB, {results['rss_after']} MiB after "
            f"{results['minutes']:g} minutes and {results['mixed_answers']} answers of mixed load",
        ]
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="depth4")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=0.0, help="of mixed load, for memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "model"
        save_model(run, arguments.shape)
        found = measure(run, arguments)
    results = {
        "bench": f"serve/{arguments.shape}",
        **vars(arguments),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        **found,
    }
    print(card(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
