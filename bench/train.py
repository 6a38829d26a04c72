"""Time to nanoGPT's own final loss on tinyshakespeare, on the same cores, run by run in turn.

    python bench/train.py --nanogpt CHECKOUT --text input.txt [--repeats 3]

nanoGPT: the command its README gives for a CPU, as it is. parrotlet: `pretrain --recipe
shakespeare`, its length fixed in advance. Both are timed as whole processes from a cold start:
imports, reading and tokenising (ours), training, their own evaluations, saving. Both final models
are then judged over the whole validation split, in rows of 64 characters, outside the timing.
Prints a card, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RECIPE = [
    "config/train_shakespeare_char.py",
    "--device=cpu",
    "--compile=False",
    "--eval_iters=20",
    "--log_interval=1",
    "--block_size=64",
    "--batch_size=12",
    "--n_layer=4",
    "--n_head=4",
    "--n_embd=128",
    "--max_iters=2000",
    "--lr_decay_iters=2000",
    "--dropout=0.0",
]

# Run inside the checkout: the mean loss of its saved model over every character but the first.
JUDGE = """
import numpy as np, torch
from model import GPT, GPTConfig
saved = torch.load("out-shakespeare-char/ckpt.pt", map_location="cpu", weights_only=True)
model = GPT(GPTConfig(**saved["model_args"]))
model.load_state_dict(saved["model"])
model.eval()
ids = torch.from_numpy(np.fromfile("data/shakespeare_char/val.bin", dtype=np.uint16).astype(int))
size, total = 64, 0.0
with torch.no_grad():
    for start in range(0, len(ids) - 1, size):
        row = ids[start : start + size + 1]
        _, loss = model(row[None, :-1], row[None, 1:])
        total += float(loss) * (len(row) - 1)
print("judged", saved["iter_num"], total / (len(ids) - 1))
"""


def run(command: list[str], folder: Path) -> tuple[float, str]:
    """(wall seconds, standard output) of a command that must succeed."""
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    begin = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    return seconds, done.stdout


def prepare_nanogpt(checkout: Path, text: Path, work: Path) -> Path:
    """A copy of the checkout with its data prepared; nothing of it is timed."""
    copy = work / "nanogpt"
    shutil.copytree(checkout, copy, ignore=shutil.ignore_patterns(".git", "out*"))
    shutil.copy(text, copy / "data/shakespeare_char/input.txt")
    run([sys.executable, "data/shakespeare_char/prepare.py"], copy)
    return copy


def time_nanogpt(copy: Path) -> tuple[float, float]:
    """(wall seconds, loss over the whole validation split)."""
    shutil.rmtree(copy / "out-shakespeare-char", ignore_errors=True)
    seconds, _ = run([sys.executable, "train.py", *RECIPE], copy)
    _, said = run([sys.executable, "-c", JUDGE], copy)
    return seconds, float(said.split()[-1])


def time_parrotlet(text: Path, work: Path, extra: list[str]) -> tuple[float, float, float]:
    """(wall seconds, seconds of training alone, loss over the whole validation split)."""
    runs = work / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    command = [sys.executable, "-m", "parrotlet", "pretrain", "--recipe", "shakespeare"]
    command += ["--data", str(text), "--runs", str(runs), "--name", "bench", *extra]
    seconds, _ = run(command, Path(__file__).parent.parent)
    last = json.loads((runs / "bench/metrics.jsonl").read_text().splitlines()[-1])
    return seconds, last["seconds"], last["validation_loss"]


def card(results: dict[str, Any]) -> str:
    """The figures for a person."""
    lines = [f"time to nanoGPT's final loss, {results['processor']}, {results['cores']} cores"]
    for index, (ours, theirs) in enumerate(
        zip(results["parrotlet"], results["nanogpt"], strict=True), start=1
    ):
        lines.append(
            f"  pair {index}: parrotlet {ours['seconds']:.1f} s to {ours['loss']:.3f}, "
            f"nanoGPT {theirs['seconds']:.1f} s to {theirs['loss']:.3f}, "
            f"ratio {ours['seconds'] / theirs['seconds']:.3f}"
        )
    lines.append(
        f"  median ratio {results['ratio']:.3f} cold; our training alone "
        f"{results['ratio_warm']:.3f}; loss no worse than nanoGPT's in {results['no_worse']} "
        f"of {len(results['nanogpt'])} pairs"
    )
    return "\n".join(lines)


def main() -> None:
    """Run the pairs and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanogpt", type=Path, required=True, help="a checkout of nanoGPT")
    parser.add_argument("--text", type=Path, required=True, help="tinyshakespeare's input.txt")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("extra", nargs="*", help="more flags for parrotlet pretrain, after --")
    arguments = parser.parse_args()
    text = arguments.text.resolve()
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        copy = prepare_nanogpt(arguments.nanogpt, text, work)
        for _ in range(arguments.repeats):
            seconds, training, loss = time_parrotlet(text, work, arguments.extra)
            ours.append({"seconds": seconds, "training_seconds": training, "loss": loss})
            print(f"parrotlet {seconds:.1f} s, loss {loss:.4f}", file=sys.stderr)
            seconds, loss = time_nanogpt(copy)
            theirs.append({"seconds": seconds, "loss": loss})
            print(f"nanoGPT {seconds:.1f} s, loss {loss:.4f}", file=sys.stderr)
    pairs = list(zip(ours, theirs, strict=True))
    results = {
        "bench": "train/nanogpt-cpu-recipe",
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "parrotlet": ours,
        "nanogpt": theirs,
        "ratio": statistics.median(a["seconds"] / b["seconds"] for a, b in pairs),
        "ratio_warm": statistics.median(a["training_seconds"] / b["seconds"] for a, b in pairs),
        "no_worse": sum(a["loss"] <= b["loss"] for a, b in pairs),
    }
    print(card(results))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
