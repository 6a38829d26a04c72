"""Tokens a second beside nanochat or nanoGPT, turn by turn, at one shape, on the same random ids.

    python bench/speed.py --nanochat CHECKOUT [--depth 4] [--rounds 4] [--steps 2]
    python bench/speed.py --nanogpt CHECKOUT [--depth 12 --time 1024 --vocab 50304]

nanochat: its own model (all windows long, its advice without FlashAttention 3), optimizer, compiled
as its base_train does, a step as there; on a CPU in its default precision and in bfloat16.
parrotlet: swift of the same depth, width, heads, vocabulary, row and step. Differences of the two
models: both add a table's row to the values of every other layer, nanochat's by gates; nanochat has
a smear, a backout and a cap of its logits, swift a table of pairs, which is left out here. Both
count the same FLOPs of matrix products and attention. nanoGPT: its own model and AdamW, a step as
in its train.py, compiled on a GPU as there; parrotlet: gpt2 with AdamW. Each system is a process of
its own that is warmed up first and then takes a few steps at a time in turn with the others (A B C
A B C); ours is the loop that every stage uses, with --ranks N under torchrun, one thread a rank.
Ratios are medians. --clock cpu counts processor time; with OMP_NUM_THREADS=1 that is fair on a busy
machine.
Prints a card, and one JSON line last.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from parrotlet.model.config import Architecture, ModelConfig
from parrotlet.model.cost import flops_per_token
from parrotlet.optim.config import OptimizerConfig

SYSTEMS = ("parrotlet", "nanochat", "nanochat-bfloat16", "nanogpt")
PEAK = 989e12  # FLOPs a second in bfloat16 of an H100 or H200
WARM_UP = 3


def shape(depth: int) -> tuple[int, int]:
    """Width and heads: 64 a block, in heads of 64, as in nanochat's CPU recipe."""
    return 64 * depth, depth


def our_config(options: argparse.Namespace) -> ModelConfig:
    """The model of ours."""
    width, heads = shape(options.depth)
    arch: Architecture = "gpt2" if options.nanogpt else "swift"
    return ModelConfig(
        arch=arch, vocab_size=options.vocab, context=options.time, depth=options.depth,
        width=width, heads=heads, kv_heads=heads, head_width=64, mlp_width=4 * width,
        tied=arch == "gpt2",
    )  # fmt: skip


def our_optimizer(options: argparse.Namespace) -> OptimizerConfig:
    """The optimizer of ours: what the peer has."""
    return OptimizerConfig(optimizer="adamw" if options.nanogpt else "muon")


def our_steps(options: argparse.Namespace) -> Callable[[int], None]:
    """A function that takes so many steps of ours."""
    import torch

    from parrotlet.core.runtime import has_fast_bfloat16, keep_memory, make_runtime
    from parrotlet.data.batch import Batch
    from parrotlet.model.build import build_model, compile_hidden
    from parrotlet.optim.build import build_optimizers
    from parrotlet.optim.schedule import make_schedule
    from parrotlet.train.loop import Learner, TrainState, train
    from parrotlet.train.losses import next_token
    from parrotlet.train.parallel import process_group, wrap

    keep_memory()
    runtime = make_runtime(options.device)
    with process_group(runtime):  # it lasts until the process ends
        pass
    config, optim = our_config(options), our_optimizer(options)
    model = build_model(config, runtime.compute_dtype)
    model.init_weights(torch.Generator().manual_seed(0))
    model.to(runtime.device)
    if options.compile:
        compile_hidden(model)
    optimizers = build_optimizers(
        model.named_parameters(),
        optim,
        fast_bfloat16=has_fast_bfloat16(runtime.device),
        ranks=runtime.world_size,
    )
    state = TrainState(model, wrap(Learner(model, next_token), runtime), optimizers, runtime)
    rows = max(1, options.micro // options.time)

    def stream() -> Iterator[list[Batch]]:
        for ids in batches(options):
            mine = ids[runtime.rank :: runtime.world_size]
            yield [
                Batch(tokens=part[:, :-1], targets=part[:, 1:], count=part[:, 1:].numel())
                for part in mine.split(rows)
            ]

    reports = train(state, stream(), schedule=make_schedule(optim, 1000), clip=None)

    def take(count: int) -> None:
        for _ in range(count):
            float(next(reports).loss)  # waits for the device

    return take


def nanogpt_steps(options: argparse.Namespace) -> Callable[[int], None]:
    """A function that takes so many of nanoGPT's steps, as its train.py takes them."""
    sys.path.insert(0, str(options.nanogpt))
    import torch
    from model import GPT, GPTConfig  # type: ignore[import-not-found]

    width, heads = shape(options.depth)
    config = GPTConfig(
        block_size=options.time, vocab_size=options.vocab, n_layer=options.depth, n_head=heads,
        n_embd=width, dropout=0.0, bias=False,
    )  # fmt: skip
    on_gpu = options.device != "cpu"
    model = GPT(config).to(options.device)
    optimizer = model.configure_optimizers(0.1, 6e-4, (0.9, 0.95), "cuda" if on_gpu else "cpu")
    run: Any = torch.compile(model) if on_gpu else model
    source = batches(options)

    def take(count: int) -> None:
        for _ in range(count):
            parts = next(source).to(options.device).split(max(1, options.micro // options.time))
            for part in parts:
                with torch.autocast("cuda", torch.bfloat16, enabled=on_gpu):
                    _, loss = run(part[:, :-1].contiguous(), part[:, 1:].contiguous())
                (loss / len(parts)).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            loss.item()

    return take


def nanochat_steps(options: argparse.Namespace) -> Callable[[int], None]:
    """A function that takes so many of nanochat's steps, as its base_train takes them."""
    sys.path.insert(0, str(options.nanochat))
    import torch
    from nanochat.gpt import GPT, GPTConfig

    width, heads = shape(options.depth)
    config = GPTConfig(
        sequence_len=options.time, vocab_size=options.vocab, n_layer=options.depth, n_head=heads,
        n_kv_head=heads, n_embd=width, window_pattern="L",
    )  # fmt: skip
    model = GPT(config).to(options.device)
    model.init_weights()
    optimizer = model.setup_optimizer()
    compiled: Any = torch.compile(model, dynamic=False)
    source = batches(options)

    def take(count: int) -> None:
        for _ in range(count):
            parts = (
                next(source).to(options.device).split(max(1, options.peer_micro // options.time))
            )
            for part in parts:
                loss = compiled(part[:, :-1].contiguous(), part[:, 1:].contiguous())
                (loss / len(parts)).backward()
            optimizer.step()
            model.zero_grad(set_to_none=True)
            loss.item()

    return take


def batches(options: argparse.Namespace) -> Iterator[Any]:
    """(rows, time + 1) ids, the same for all."""
    import torch

    generator = torch.Generator().manual_seed(0)
    size = (options.tokens // options.time, options.time + 1)
    while True:
        yield torch.randint(0, options.vocab, size, generator=generator)


def work(options: argparse.Namespace) -> None:
    """Warm up, say so, then take as many steps as each line of the input says, and say the time."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    makers = {"parrotlet": our_steps, "nanogpt": nanogpt_steps}
    take = makers.get(options.worker, nanochat_steps)(options)
    take(WARM_UP)
    rank = int(os.environ.get("RANK", "0"))
    if rank == 0:
        print("ready", flush=True)
    while count := asked(rank):
        begin = clock()
        take(count)
        if rank == 0:
            print(json.dumps(clock() - begin), flush=True)


def asked(rank: int) -> int:
    """How many steps the next line of the input wants, told to every rank; 0 at its end."""
    count = int(sys.stdin.readline() or 0) if rank == 0 else 0
    if "RANK" not in os.environ:
        return count
    import torch

    told = torch.tensor(count)
    torch.distributed.broadcast(told, 0)
    return int(told)


class Worker:
    """A system in a process of its own."""

    def __init__(self, system: str, ranks: int) -> None:
        environment = dict(os.environ, GOMP_SPINCOUNT=os.environ.get("GOMP_SPINCOUNT", "2000"))
        if system != "parrotlet":
            del environment["GOMP_SPINCOUNT"]  # which is ours to set, not part of theirs
        if system == "nanochat-bfloat16":
            environment["NANOCHAT_DTYPE"] = "bfloat16"
        command = [sys.executable, __file__, *sys.argv[1:], "--worker", system]
        if system == "parrotlet" and ranks > 1:
            launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
            command[1:1] = launcher
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            command, env=environment, stdin=pipe, stdout=pipe, text=True
        )
        while (line := self._line()) != "ready":
            print(f"  {system}: {line}", file=sys.stderr)

    def _line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"a worker ended with status {self.process.wait()}")
        return line.strip()

    def seconds(self, steps: int) -> float:
        """The time of so many steps."""
        assert self.process.stdin is not None
        print(steps, file=self.process.stdin, flush=True)
        return float(json.loads(self._line()))

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(options: argparse.Namespace) -> dict[str, Any]:
    """Every round's tokens a second of every system, and the medians of our ratios."""
    peers = ["nanochat"] * bool(options.nanochat) + ["nanogpt"] * bool(options.nanogpt)
    if options.nanochat and options.device == "cpu":
        peers.append("nanochat-bfloat16")  # on a GPU it is its default
    systems = ["parrotlet", *peers]
    workers = {system: Worker(system, options.ranks) for system in systems}
    speeds: dict[str, list[float]] = {system: [] for system in systems}
    for _ in range(options.rounds):
        for system, worker in workers.items():
            speed = options.steps * options.tokens / worker.seconds(options.steps)
            speeds[system].append(speed)
            print(f"{system} {speed:,.0f} tokens/s", file=sys.stderr)
    for worker in workers.values():
        worker.close()
    ratios = {
        system: statistics.median(
            a / b for a, b in zip(speeds["parrotlet"], speeds[system], strict=True)
        )
        for system in systems[1:]
    }
    return {"tokens_per_second": speeds, "ratios": ratios}


def main() -> None:
    """Compare and print; with --worker be one of the compared."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nanochat", type=Path, help="a checkout; no peer: ours alone")
    parser.add_argument("--nanogpt", type=Path, help="a checkout")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--time", type=int, default=512, help="tokens in a row")
    parser.add_argument("--tokens", type=int, default=16384, help="in a step")
    parser.add_argument("--micro", type=int, default=4096, help="tokens in a pass of ours")
    parser.add_argument("--peer-micro", type=int, default=16384, help="the same, of the peer")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--compile", action="store_true", help="ours too")
    parser.add_argument("--ranks", type=int, default=1, help="processes of ours, by torchrun")
    parser.add_argument("--steps", type=int, default=2, help="in a turn")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--worker", choices=SYSTEMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        return work(options)
    found = compare(options)
    shown = {name: value for name, value in vars(options).items() if not isinstance(value, Path)}
    print(f"depth {options.depth}, {platform.processor() or platform.machine()}")
    for system, speeds in found["tokens_per_second"].items():
        ratio = found["ratios"].get(system)
        beside = "" if ratio is None else f", ours is {ratio:.2f} times it"
        print(f"  {system}: {statistics.median(speeds):,.0f} tokens/s{beside}")
    if options.device != "cpu":
        flops = statistics.median(found["tokens_per_second"]["parrotlet"]) * flops_per_token(
            our_config(options), options.time
        )
        print(f"  parrotlet at {flops / PEAK:.0%} of {PEAK / 1e12:,.0f} TFLOP/s")
    print(json.dumps({"bench": "train/speed", **shown, **found}))
    return None


if __name__ == "__main__":
    main()
