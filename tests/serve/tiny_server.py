"""Tiny random models on disk, and `parrotlet serve` of them as a real process."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from replay_engine import ReplayEngine

from parrotlet.core.machine import MachineConfig
from parrotlet.engine.engine import Engine
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.safety.filters import Filters
from parrotlet.serve.config import LimitsConfig, ServeConfig
from parrotlet.serve.guard import Keys
from parrotlet.serve.models import Models, Served, find_all, load_all
from parrotlet.serve.server import Server, bind, make_server
from parrotlet.serve.worker import Lane
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe
from parrotlet.train.checkpoint import save_weights

CONTEXT = 256
PATIENT = 1200.0  # seconds: the machine may stand still for a while
ADDRESS = re.compile(r"on (http://\S+) ")
TEXTS = ["the cat sat on the mat and the dog é 你好 \U0001f600 " * 5, "12 + 30 = 42. Hello! " * 5]


@cache
def tokenizer() -> Tokenizer:
    """Bytes and few merges, so that characters are split over tokens."""
    return train_bpe(TEXTS, 300)


def save_tiny(directory: Path, stage: str = "sft", *, seed: int = 0, scale: float = 4) -> Path:
    """A run of one checkpoint with random weights, in float32."""
    config = ModelConfig(
        arch="qwen3", vocab_size=tokenizer().vocab_size, context=CONTEXT, depth=2, width=32,
        heads=2, kv_heads=1, head_width=16, mlp_width=64,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(seed))
    weights = {name: scale * each.detach() for name, each in model.named_parameters()}
    save_weights(directory, config, weights, tokenizer(), stage=stage)
    return directory


@dataclass
class Running:
    """A server process."""

    process: subprocess.Popen[str]
    address: str
    printed: list[str]
    reader: threading.Thread

    def output(self) -> str:
        """What it has printed, once it has ended."""
        self.process.wait(PATIENT)
        self.reader.join(PATIENT)
        return "".join(self.printed)


@contextmanager
def serving(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[Running]:
    """`parrotlet serve ARGUMENTS --port 0`, killed at the end if it still runs."""
    command = [sys.executable, "-m", "parrotlet", "serve", *map(str, arguments), "--port", "0"]
    if "--policy" not in arguments:
        command.append("--no-filter")  # a model of noise is flagged now and then
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | (env or {})
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        lines, said = process.stdout, list[str]()
        for line in lines:
            said.append(line)
            if found := ADDRESS.search(line):
                break
        else:
            raise AssertionError("".join(said))
        # somebody has to read on: a server whose log nobody takes stands still
        reader = threading.Thread(target=said.extend, args=(lines,))
        reader.start()
        try:
            yield Running(process, found[1], said, reader)
        finally:
            if process.poll() is not None:  # by itself: a test that fails shows its last words
                print(f"the server ended with {process.returncode}:", *said[-40:])
            process.kill()
            reader.join(PATIENT)
    finally:
        process.kill()
        process.communicate()


def float32(*arguments: str | Path) -> Sequence[str | Path]:
    """Arguments for exact answers on one processor."""
    return (*arguments, "--device", "cpu", "--dtype", "float32")


@contextmanager
def in_thread(
    models: Models,
    *,
    keys: Sequence[str] = (),
    filters: Filters | None = None,
    limits: LimitsConfig | None = None,
    send_buffer: int | None = None,
    **options: Any,
) -> Iterator[InThread]:
    """The same server in a thread of this process, for tests that look at or break its inside."""
    config = ServeConfig(runs=("unused",), limits=limits or LimitsConfig(), **options)
    server = make_server(config, models, Keys(keys), filters)
    listener = bind("127.0.0.1", 0)
    if send_buffer is not None:  # of every connection
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield InThread(server, thread, f"http://127.0.0.1:{listener.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(PATIENT)
        assert not thread.is_alive(), "the server did not stop"


@dataclass
class InThread:
    """A server in a thread."""

    server: Server
    thread: threading.Thread
    address: str

    def wait_until(self, condition: Callable[[], bool]) -> None:
        """Fails where the condition does not become true in many looks, however long they take."""
        for _ in range(6000):
            if condition():
                return
            time.sleep(0.01)
        raise AssertionError("waited in vain")


def tiny_models(runs: Path, *, slots: int = 32, names: Sequence[str] = ("tiny", "raw")) -> Models:
    """The runs of the fixture, loaded here."""
    machine = MachineConfig(device="cpu", dtype="float32")
    found = find_all([str(runs / name) for name in names])
    return load_all(found, machine, slots=slots, keep=False)


ENDLESS = [65] * 30_000  # longer than any test lasts


def scripted(*scripts: Sequence[int], slots: int = 2, length: int = 30_000) -> Models:
    """A model that says what it is told to: the n-th answer is the n-th script."""
    engine = ReplayEngine(scripts, vocab_size=tokenizer().vocab_size, length=length, slots=slots)
    served = Served(
        name="script",
        tokenizer=tokenizer(),
        lane=Lane(cast(Engine, engine), slots),
        stage="sft",
        fingerprint="fp_script",
        created=0,
    )
    return Models([served])


def script(*parts: str) -> list[int]:
    """Ids of texts and of control tokens, named by <|...|>."""
    ids: list[int] = []
    for part in parts:
        named = part.startswith("<|")
        ids += [tokenizer().special(part)] if named else tokenizer().encode(part)
    return ids
