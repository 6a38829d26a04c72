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
# the same of nanochat: pairs of tokens learned by SGD, whose steps are as long as the gradient
NANOCHAT = """
import torch
from dataclasses import dataclass

@dataclass
class GPTConfig:
    sequence_len: int; vocab_size: int; n_layer: int; n_head: int; n_kv_head: int; n_embd: int
    window_pattern: str

class GPT(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.embed = torch.nn.Embedding(config.vocab_size, config.n_embd)
        self.head = torch.nn.Linear(config.n_embd, config.vocab_size, bias=False)
    def init_weights(self):
        torch.nn.init.normal_(self.embed.weight)
        torch.nn.init.zeros_(self.head.weight)
    def num_scaling_params(self):
        return {"transformer_matrices": 0, "lm_head": self.head.weight.numel()}
    def setup_optimizer(self, unembedding_lr, embedding_lr, matrix_lr, scalar_lr, weight_decay):
        groups = [
            dict(params=list(self.embed.parameters()), lr=1000 * embedding_lr, kind="adamw"),
            dict(params=list(self.head.parameters()), lr=9000 * matrix_lr, kind="muon"),
        ]
        made = torch.optim.SGD(groups, momentum=0.9, weight_decay=weight_decay)
        for group in made.param_groups:
            group["initial_lr"] = group["lr"]
        return made
    def forward(self, ids, targets, loss_reduction="mean"):
        logits = self.head(self.embed(ids)).flatten(0, 1)
        return torch.nn.functional.cross_entropy(
            logits, targets.flatten(), ignore_index=-1, reduction=loss_reduction
        )
"""
DEFAULTS = {
    "embedding-lr": 0.3, "unembedding-lr": 0.008, "scalar-lr": 0.5, "matrix-lr": 0.02,
    "weight-decay": 0.28, "warmup-steps": 40, "warmdown-ratio": 0.65, "final-lr-frac": 0.05,
}  # fmt: skip


def run(*command: str) -> dict[str, object]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


SCRIPTS = sorted((ROOT / "bench" / "gpu").glob("*.sh"))


def local_copy(script: Path, folder: Path, text: str, bench: str) -> Path:
    """The script with `text` in the folder, calling the benchmark where that is."""
    assert f'"$(dirname "$0")/../{bench}"' in text
    local = folder / "gpu" / script.name
    local.parent.mkdir()
    local.write_text(text.replace(f'"$(dirname "$0")/../{bench}"', str(ROOT / "bench" / bench)))
    return local


@pytest.mark.skipif(os.name == "nt", reason="shell scripts")
@pytest.mark.parametrize(
    "script", [each for each in SCRIPTS if "reach" not in each.stem], ids=lambda each: each.stem
)
def test_gpu_scripts_at_toy_size(script: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(NANOGPT)
    peer = "nanogpt" if "nanogpt" in script.stem else None
    # without a checkout of nanochat at hand the script is given ours alone
    text = script.read_text()
    assert " --compile" in text
    if peer is None:
        text = text.replace('--nanochat "$checkout"', "")
    if script != SCRIPTS[0]:  # compiling takes long; one does as all do
        text = text.replace(" --compile", "")
    local = local_copy(script, tmp_path, text, "speed.py")
    found = run("bash", str(local), str(tmp_path), *TOY)
    speeds = found["tokens_per_second"]
    assert isinstance(speeds, dict)
    assert set(speeds) == {"parrotlet"} | ({peer} if peer else set())
    assert all(len(each) == 2 and min(each) > 0 for each in speeds.values())
    assert found["vocab"] == 64


@pytest.mark.skipif(os.name == "nt", reason="shell scripts")
def test_gpu_reach_at_toy_size(tmp_path: Path) -> None:
    (tmp_path / "nanochat").mkdir()
    (tmp_path / "nanochat" / "gpt.py").write_text(NANOCHAT)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "base_train.py").write_text(
        "".join(
            f'add_argument("--{name}", type=float, default={value}, help="")\n'
            for name, value in DEFAULTS.items()
        )
    )
    pairs = [(a, b) for a in range(60) for b in range(9)]
    text = " ".join(f"{a} hens and {b} cows live in barn {a + b}." for a, b in pairs)
    (tmp_path / "text.txt").write_text(text)
    script = next(each for each in SCRIPTS if "reach" in each.stem)
    local = local_copy(script, tmp_path, script.read_text(), "reach.py")
    assert "--flags=--compile" in local.read_text()  # left out below: it takes long
    given = [
        "--device", "cpu", "--runs", str(tmp_path / "runs"), "--depth", "1", "--vocab", "272",
        "--time", "16", "--steps", "3", "--peer-batch", "64", "--peer-micro", "32", "--ours", "2",
        "--our-batch", "32", "--repeats", "1", "--flags=",
    ]  # fmt: skip
    command = ["bash", str(local), str(tmp_path), str(tmp_path / "text.txt"), *given]
    found = run(*command)
    ours, peer = found["ours_runs"], found["nanochat"]
    assert isinstance(ours, list) and isinstance(peer, dict)
    for each in (*ours, peer):
        assert 0 < each["bits_per_byte"] < 10
        assert 0 < each["seconds"] < each["process"]
    worker = ["--worker", str(tmp_path / "runs" / "ours0")]
    once = run(*command, *worker, "--peer-micro", "64")  # a step in one pass, not two
    fewer = run(*command, *worker, "--steps", "1")
    assert once["bits_per_byte"] == pytest.approx(peer["bits_per_byte"], rel=1e-5)
    assert fewer["bits_per_byte"] != pytest.approx(peer["bits_per_byte"], rel=1e-3)
