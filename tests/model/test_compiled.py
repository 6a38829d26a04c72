"""torch.compile of the pass that is trained: the same losses, by the real command."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from parrotlet.core.errors import UsageError
from parrotlet.core.log import JsonLines
from parrotlet.model.build import build_model, compile_hidden
from parrotlet.model.config import ModelConfig

SLOW = [pytest.param(each, marks=pytest.mark.slow) for each in ("gpt2", "qwen3")]


def losses(folder: Path, arch: str, *words: str) -> list[float]:
    """Of a run's steps and its last evaluation."""
    name = "-".join(("run", *words)).replace("--", "")
    command = ["pretrain", "--recipe", "smoke", "--arch", arch, "--steps", "4", "--name", name]
    command += ["--runs", str(folder), "--device", "cpu", "--dtype", "float32", *words]
    done = subprocess.run(
        [sys.executable, "-m", "parrotlet", *command], capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = list(JsonLines(folder / name / "metrics.jsonl"))
    return [*(each["loss"] for each in lines), lines[-1]["validation_loss"]]


@pytest.mark.skipif(shutil.which("g++") is None, reason="nothing to compile with")
@pytest.mark.parametrize("arch", ["swift", *SLOW])
def test_compiled_is_plain(arch: str, tmp_path: Path) -> None:
    plain, compiled = losses(tmp_path, arch), losses(tmp_path, arch, "--compile")
    assert len(plain) == 5 and compiled == pytest.approx(plain, abs=2e-3)


def test_no_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.delenv("CXX", raising=False)
    model = build_model(
        ModelConfig(
            arch="gpt2", vocab_size=40, context=16, depth=2, width=16, heads=2, kv_heads=2,
            head_width=8, mlp_width=32, tied=True,
        ),
        torch.float32,
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"--compile needs a C\+\+ compiler"):
        compile_hidden(model)


PACKED = """
import shutil, torch
from torch._dynamo.testing import CompileCounter
from parrotlet.model.build import build_model, compile_hidden
from parrotlet.model.config import ModelConfig
from parrotlet.model.context import CausalContext

counter, compiling = CompileCounter(), torch.compile
shutil.which = lambda name: name
torch.compile = lambda each: compiling(each, backend=counter)
model = build_model(ModelConfig(
    arch="qwen3", vocab_size=40, context=256, depth=2, width=16, heads=2, kv_heads=2,
    head_width=8, mlp_width=32, tied=True,
))
model.init_weights(torch.Generator().manual_seed(0))
plain = model.hidden
compile_hidden(model)
ids = torch.zeros(4, 256, dtype=torch.long)
for halved in range(5):
    segments = torch.ones_like(ids)
    segments[:halved, 128:] = 2
    places = torch.arange(100 + halved)
    found = model.hidden(ids, CausalContext.of(ids, segments), places)
    expected = plain(ids, CausalContext.of(ids, segments), places)
    assert torch.allclose(found, expected, atol=1e-5)
print(counter.frame_count)
"""


def test_batches_of_packed_rows_are_compiled_once() -> None:
    """However many blocks a batch's segments leave, and wherever something is learned. Apart: the
    checks of argument types that tests run under cannot be compiled.
    """
    done = subprocess.run(
        [sys.executable, "-c", PACKED], capture_output=True, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1"]
