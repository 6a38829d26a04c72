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
