"""Time to nanochat's bits per byte, on the same tokens and cores.

    python bench/reach.py --nanochat CHECKOUT --data FOLDER [--depth 4] [--steps 60] [--ours 120]
    bench/gpu/nanochat_reach.sh CHECKOUT FOLDER                     [the same on one GPU]

parrotlet: `pretrain --arch swift` with the settings below (with --ranks N under torchrun), its
length (--ours, in steps of --our-batch tokens) fixed in advance. nanochat: its own model (heads of
64, as in its CPU recipe; all windows long), optimizer, rates and schedules as its base_train has
and scales them, compiled, --steps steps of --peer-batch tokens that parrotlet's tokenizer made, in
its default precision or, with --bfloat16, in that; with --probe N, N steps of its default are timed
beside that. Ours runs before and after the peer. Both are judged by one measure over the whole
held-out side, in rows of --time tokens. Two clocks: training alone, and the whole process but for
judging the peer (ours trains a tokenizer, tokenises and evaluates a part of the held-out side in
it, the peer compiles).
Prints a card, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from parrotlet.core.runtime import make_runtime
from parrotlet.data.batch import IGNORE, Batch
from parrotlet.data.shards import Shards
from parrotlet.data.streams import RowStream, evaluation_batches, prefetch
from parrotlet.evals.bpb import bits_per_byte
from parrotlet.train.checkpoint import find, load_model

REFERENCE_BATCH, REFERENCE_DEPTH = 2**19, 12  # what its base_train scales its rates from
NAMES = ("embedding_lr", "unembedding_lr", "scalar_lr", "matrix_lr")


def ours(options: argparse.Namespace, run: Path) -> dict[str, float]:
    """Train a swift; its bits per byte and seconds of training."""
    launcher = [] if options.ranks == 1 else [
        "torch.distributed.run", "--standalone", f"--nproc-per-node={options.ranks}", "-m",
    ]  # fmt: skip
    command = [
        sys.executable, "-m", *launcher, "parrotlet", "pretrain", "--data", *map(str, options.data),
        "--runs", str(run.parent), "--name", run.name, "--arch", "swift",
        "--depth", str(options.depth), "--width", str(64 * options.depth),
        "--heads", str(options.depth), "--context", str(options.time),
        "--vocab-size", str(options.vocab), "--validation-fraction", "0.02",
        "--steps", str(options.ours), "--batch-tokens", str(options.our_batch),
        "--evaluate-every", "1000000", "--sample-seconds", "1e9", "--device", options.device,
        *options.flags.split(),
    ]  # fmt: skip
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    whole = time.perf_counter() - began
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = max(each["seconds"] for each in records if "seconds" in each)
    shards, runtime = Shards.open(run / "data"), make_runtime(options.device)
    model = load_model(find(run), runtime)
    held = shards.validation
    batches = evaluation_batches(held, options.time, 8)
    found = bits_per_byte(model, batches, held.num_bytes, runtime.device)
    return {"bits_per_byte": found["bits_per_byte"], "seconds": seconds, "process": whole}


def settings(nanochat: Path) -> dict[str, float]:
    """The numbers that nanochat's base_train takes where nobody says otherwise."""
    text = (nanochat / "scripts" / "base_train.py").read_text()
    given = re.findall(r'add_argument\("--([\w-]+)", type=(?:int|float), default=([-\d.e]+),', text)
    return {name.replace("-", "_"): float(value) for name, value in given}


def factors(step: int, steps: int, known: dict[str, float]) -> tuple[float, float, float]:
    """Of the rates; the momentum; of the decay: as nanochat's base_train has them."""
    down = round(known["warmdown_ratio"] * steps)
    left = (steps - step) / down
    rate = 1.0
    if step < known["warmup_steps"]:
        rate = (step + 1) / known["warmup_steps"]
    elif left < 1:
        rate = left + (1 - left) * known["final_lr_frac"]
    momentum = 0.97
    if step < 400:
        momentum = 0.85 + (0.97 - 0.85) * step / 400
    elif left <= 1:
        momentum = 0.90 + (0.97 - 0.90) * left
    return rate, momentum, 0.5 * (1 + math.cos(math.pi * step / steps))


def unmade(options: argparse.Namespace, depth: int) -> Any:
    """nanochat's model of this depth, without its weights."""
    import torch
    from nanochat.gpt import GPT, GPTConfig

    with torch.device("meta"):
        return GPT(
            GPTConfig(
                sequence_len=options.time, vocab_size=options.vocab, n_layer=depth,
                n_head=depth, n_kv_head=depth, n_embd=64 * depth, window_pattern="L",
            )
        )  # fmt: skip


def size(model: Any) -> int:
    """What its base_train counts of a model's weights."""
    counts = model.num_scaling_params()
    return int(counts["transformer_matrices"] + counts["lm_head"])


def theirs(options: argparse.Namespace, run: Path) -> dict[str, float]:
    """Train nanochat's model on the tokens of a run of ours."""
    sys.path.insert(0, str(options.nanochat))
    import torch

    known = settings(options.nanochat)
    if options.device != "cpu":
        torch.set_float32_matmul_precision("high")  # as it does there
    torch.manual_seed(42)
    model = unmade(options, options.depth).to_empty(device=options.device)
    model.init_weights()
    begun = {name: value.clone() for name, value in model.state_dict().items()}
    scale = math.sqrt(options.peer_batch / REFERENCE_BATCH)
    decay = known["weight_decay"] * scale * size(unmade(options, REFERENCE_DEPTH)) / size(model)
    rates = {name: known[name] * scale for name in NAMES}
    compiled: Any = torch.compile(model, dynamic=False)
    shards = Shards.open(run / "data")
    rows = options.peer_batch // options.time
    stream: Iterator[list[Batch]] = RowStream(
        tokens=shards.train, context=options.time, rows_per_step=rows,
        micro_rows=min(rows, options.peer_micro // options.time), seed=0,
    )(0)  # fmt: skip
    stream = prefetch(stream)

    def learn(parts: list[Batch]) -> Any:
        for part in parts:
            tokens, targets = (x.to(options.device) for x in (part.tokens, part.targets))
            loss = compiled(tokens, targets) / len(parts)
            loss.backward()
        return loss

    loss = learn(next(stream))  # a whole step compiles, which is not timed
    model.setup_optimizer(**rates, weight_decay=decay).step()
    model.zero_grad(set_to_none=True)
    model.load_state_dict(begun)
    optimizer = model.setup_optimizer(**rates, weight_decay=decay)
    loss.item()  # waits for the device
    began = time.perf_counter()
    for step, parts in zip(range(options.steps), stream, strict=False):
        loss = learn(parts)
        rate, momentum, share = factors(step, options.horizon or options.steps, known)
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
            if group["kind"] == "muon":
                group["momentum"], group["weight_decay"] = momentum, decay * share
        optimizer.step()
        model.zero_grad(set_to_none=True)
        loss.item()  # as its loop does
    seconds = time.perf_counter() - began
    bits = judged(options, model, shards)
    spent = time.perf_counter() - began - seconds
    return {"bits_per_byte": bits, "seconds": seconds, "evaluating": spent}


def judged(options: argparse.Namespace, model: Any, shards: Shards) -> float:
    """Bits per byte of nanochat's model over the whole held-out side."""
    import torch

    nats = 0.0
    with torch.no_grad():
        for batch in evaluation_batches(shards.validation, options.time, 8):
            targets = batch.targets.masked_fill(batch.targets == IGNORE, -1)  # as it calls them
            ids = batch.tokens.to(options.device)
            losses = model(ids, targets.to(options.device), loss_reduction="none")
            nats += float(losses.double().sum())
    return nats / math.log(2) / shards.validation.num_bytes


def peer(options: argparse.Namespace, run: Path, *more: str, bfloat16: bool) -> dict[str, float]:
    """The same in a process of its own, with `more` flags; `process` is without its evaluation."""
    environment = {name: value for name, value in os.environ.items() if name != "NANOCHAT_DTYPE"}
    if bfloat16:
        environment["NANOCHAT_DTYPE"] = "bfloat16"
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", str(run), *more]
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    whole = time.perf_counter() - began
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found | {"process": whole - found["evaluating"]}


def default_seconds(options: argparse.Namespace, run: Path) -> float:
    """What all of the peer's steps would take in its default precision, by --probe of them."""
    few = ("--steps", str(options.probe), "--horizon", str(options.horizon or options.steps))
    timed = peer(options, run, *few, bfloat16=False)
    return timed["seconds"] / options.probe * float(options.steps)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanochat", type=Path, required=True, help="a checkout")
    parser.add_argument("--data", type=Path, nargs="+", required=True)
    parser.add_argument("--runs", type=Path, default=Path("runs/reach"), help="a new folder")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--time", type=int, default=512, help="tokens in a row")
    parser.add_argument("--steps", type=int, default=60, help="of the peer")
    parser.add_argument("--peer-batch", type=int, default=16_384, help="tokens in a step of it")
    parser.add_argument("--peer-micro", type=int, default=16_384, help="tokens in a pass of it")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--horizon", type=int, help="steps its schedule is for; as many as it takes"
    )
    parser.add_argument("--ours", type=int, default=120, help="steps of ours")
    parser.add_argument("--our-batch", type=int, default=4096, help="tokens in a step of ours")
    parser.add_argument("--ranks", type=int, default=1, help="processes of ours, by torchrun")
    parser.add_argument("--flags", default="", help="more of ours, in one string")
    parser.add_argument("--repeats", type=int, default=2, help="runs of ours, around the peer's")
    parser.add_argument("--bfloat16", action="store_true", help="the peer's precision")
    parser.add_argument(
        "--probe", type=int, default=0, help="steps of the peer's default precision to time"
    )
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe and not options.bfloat16:
        parser.error("--probe times the default precision beside --bfloat16; give both")
    if options.peer_batch % min(options.peer_batch, options.peer_micro):
        parser.error("--peer-micro must divide --peer-batch: all passes of a step weigh the same")
    if options.peer_batch % options.time or options.peer_micro % options.time:
        parser.error("--time must divide --peer-batch and --peer-micro: they are whole rows")
    return options


def main() -> None:
    """Ours, the peer, ours again; with --worker be the peer."""
    options = arguments()
    if options.worker:
        print(json.dumps(theirs(options, options.worker)))
        return
    found = [ours(options, options.runs / "ours0")]
    print(f"ours    {found[0]}", flush=True)
    beside = peer(options, options.runs / "ours0", bfloat16=options.bfloat16)
    print(f"nanochat {beside}", flush=True)
    default = default_seconds(options, options.runs / "ours0") if options.probe else None
    for turn in range(1, options.repeats):
        found.append(ours(options, options.runs / f"ours{turn}"))
        print(f"ours    {found[-1]}", flush=True)
    ratio, cold = (
        statistics.median(each[clock] for each in found) / beside[clock]
        for clock in ("seconds", "process")
    )
    worst = max(each["bits_per_byte"] for each in found)
    reached = worst <= beside["bits_per_byte"]
    print(f"bits per byte: nanochat {beside['bits_per_byte']:.4f}, ours {worst:.4f} at worst")
    print("reached" if reached else "NOT reached: the time below says nothing")
    print(f"training time: {beside['seconds']:.0f} s, ours {ratio:.2f} of it; whole: {cold:.2f}")
    if default is not None:
        beside["default_seconds"] = default
        share = ratio * beside["seconds"] / default
        print(f"in its default precision {default:.0f} s, ours {share:.2f} of that")
    shown = {name: value for name, value in vars(options).items() if not isinstance(value, Path)}
    shown["data"] = [each.name for each in options.data]
    print(json.dumps({"bench": "train/reach", **shown, "ours_runs": found, "nanochat": beside,
                      "reached": reached, "time_ratio": ratio, "process_ratio": cold}))  # fmt: skip


if __name__ == "__main__":
    main()
