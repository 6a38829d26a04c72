"""Tiny random models on disk, and `parrotlet serve` of them as a real process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.text.tokenizer import Tokenizer
from parrotlet.text.train import train_bpe
from parrotlet.train.checkpoint import save_weights

CONTEXT = 256
ADDRESS = re.compile(r"on (http://\S+) ")
TEXTS = ["the cat sat on the mat and the dog é 你好 \U0001f600 " * 5, "12 + 30 = 42. Hello! " * 5]


@cache
def tokenizer() -> Tokenizer:
    """Bytes and few merges, so that characters are split over tokens."""
    return train_bpe(TEXTS, 300)


def save_tiny(directory: Path, stage: str = "sft", *, seed: int = 0) -> Path:
    """A run of one checkpoint with random weights, in float32."""
    config = ModelConfig(
        arch="qwen3", vocab_size=tokenizer().vocab_size, context=CONTEXT, depth=2, width=32,
        heads=2, kv_heads=1, head_width=16, mlp_width=64,
    )  # fmt: skip
    model = build_model(config)
    model.init_weights(torch.Generator().manual_seed(seed))
    weights = {name: 4 * each.detach() for name, each in model.named_parameters()}
    save_weights(directory, config, weights, tokenizer(), stage=stage)
    return directory


@dataclass
class Running:
    """A server process."""

    process: subprocess.Popen[str]
    address: str

    def output(self) -> str:
        """What it has printed, once it has ended."""
        return self.process.communicate(timeout=60)[0]


@contextmanager
def serving(*arguments: str | Path, env: dict[str, str] | None = None) -> Iterator[Running]:
    """`parrotlet serve ARGUMENTS --port 0`, killed at the end if it still runs."""
    command = [sys.executable, "-m", "parrotlet", "serve", *map(str, arguments), "--port", "0"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | (env or {})
    process = subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if found := ADDRESS.search(line):
                break
        else:
            raise AssertionError("".join(said))
        yield Running(process, found[1])
    finally:
        process.kill()
        process.communicate()


def float32(*arguments: str | Path) -> Sequence[str | Path]:
    """Arguments for exact answers on one processor."""
    return (*arguments, "--device", "cpu", "--dtype", "float32")
