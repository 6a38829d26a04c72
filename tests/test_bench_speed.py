"""The speed benchmark and its GPU scripts run at toy size: so they work the first time there."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOY = [
    "--device", "cpu", "--depth", "1", "--vocab", "64", "--time", "16", "--tokens", "64",
    "--micro", "32", "--rounds", "2", "--steps", "1",
]  # fmt: skip
# a stand-in for a checkout of nanoGPT: what the benchmark calls of it, in the fewest lines
NANOGPT = """
import torch
from dataclasses import dataclass

@dataclass
class GPTConfig:
    block_size: int; vocab_size: int; n_layer: int; n_head: int; n_embd: int
    dropout: float; bias: bool

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed = torch.nn.Embedding(config.vocab_size, config.vocab_size)
    def forward(self, ids, targets):
        logits = self.embed(ids)
        return logits, torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    def configure_optimizers(self, weight_decay, lr, betas, device):
        return torch.optim.AdamW(self.parameters(), lr=lr)
"""


def run(*command: str) -> dict[str, object]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.skipif(os.name == "nt", reason="shell scripts")
@pytest.mark.parametrize("script", sorted((ROOT / "bench/gpu").glob("*.sh")), ids=lambda p: p.stem)
def test_gpu_scripts_at_toy_size(script: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(NANOGPT)
    peer = "nanogpt" if "nanogpt" in script.stem else None
    # without a checkout of nanochat at hand the script is given ours alone
    text = script.read_text()
    if peer is None:
        text = text.replace('--nanochat "$checkout"', "")
    local = tmp_path / "gpu" / script.name
    local.parent.mkdir()
    local.write_text(text.replace('"$(dirname "$0")/../speed.py"', str(ROOT / "bench/speed.py")))
    found = run("bash", str(local), str(tmp_path), *TOY)
    speeds = found["tokens_per_second"]
    assert isinstance(speeds, dict)
    assert set(speeds) == {"parrotlet"} | ({peer} if peer else set())
    assert all(len(each) == 2 and min(each) > 0 for each in speeds.values())
    assert found["vocab"] == 64
