"""`parrotlet doctor` without a run: what this machine can do, by trying, and what to change."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from rich.console import Console
from torch import Tensor

from parrotlet.core.machine import free_memory
from parrotlet.core.runtime import Runtime, has_fast_bfloat16, keep_memory, make_runtime
from parrotlet.data.batch import Batch
from parrotlet.model.build import build_model
from parrotlet.model.config import ModelConfig
from parrotlet.model.cost import flops_per_token, num_matrix_parameters, num_parameters
from parrotlet.optim.build import build_optimizers
from parrotlet.optim.config import OptimizerConfig
from parrotlet.optim.schedule import make_schedule
from parrotlet.stages.config_pretrain import ShapeConfig
from parrotlet.stages.plan import model_config
from parrotlet.terminal.plan import TOKENS_PER_PARAMETER
from parrotlet.train.loop import Learner, TrainState, train
from parrotlet.train.losses import next_token

SIZE = 1024  # of the matrices tried
TRIALS, STEPS = 3, 4
ROWS, TIME, VOCABULARY = 8, 256, 4096  # of the model tried: the default's
LEAST_MEMORY = 2 * 2**30
DEEPEST = 48
HOUR = 3600


@dataclass(frozen=True)
class Kernel:
    """One operation that was tried."""

    name: str
    rate: float | None  # operations a second; None: it does not run here
    problem: str = ""


def examine(console: Console) -> int:
    """Say what the machine is, what runs on it how fast, what it could train; 0."""
    keep_memory()
    runtime = make_runtime()
    console.print(f"[bold]this machine[/bold]: {_described(runtime)}", highlight=False)
    kernels = probe(runtime.device)
    for kernel in kernels:
        found = f"does not run ({kernel.problem})"
        if kernel.rate is not None:
            found = f"{kernel.rate / 1e9:,.0f} billion operations a second"
        console.print(f"  {kernel.name:<24} {found}", highlight=False)
    speed, model = measured_speed(runtime)
    console.print(
        f"  training of {num_parameters(model):,} parameters: {speed:,.0f} tokens a second",
        highlight=False,
    )
    depth, tokens = largest(speed * flops_per_token(model, TIME))
    if depth:
        console.print(
            f"  an hour is worth a model of up to --depth {depth}, for {tokens:,} tokens "
            f"({TOKENS_PER_PARAMETER} for each parameter that is multiplied)",
            highlight=False,
        )
    for line in advice(runtime.device, kernels):
        console.print(f"  [yellow]![/yellow] {line}", highlight=False)
    return 0


def _described(runtime: Runtime) -> str:
    memory = free_memory()
    parts = [
        f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used",
        torch.backends.cpu.get_cpu_capability(),
        "memory unknown" if memory is None else f"{memory / 2**30:.1f} GiB free",
    ]
    if runtime.device.type == "cuda":
        parts.append(torch.cuda.get_device_name(runtime.device))
    dtype = str(runtime.compute_dtype).removeprefix("torch.")
    return ", ".join([*parts, f"--device {runtime.device.type}, --dtype {dtype}"])


def probe(device: torch.device) -> list[Kernel]:
    """Every operation that training and generating lean on, run here."""
    product = 2.0 * SIZE**3
    attention = 4.0 * 8 * SIZE * SIZE * 64  # 8 heads of width 64, nothing hidden

    def multiply(dtype: torch.dtype) -> Callable[[], Tensor]:
        a = torch.ones(SIZE, SIZE, dtype=dtype, device=device)
        return lambda: a @ a

    def attend(dtype: torch.dtype) -> Callable[[], Tensor]:
        q = torch.ones(1, 8, SIZE, 64, dtype=dtype, device=device)
        return lambda: F.scaled_dot_product_attention(q, q, q)

    def multiply_int8() -> Callable[[], Tensor]:
        a = torch.ones(SIZE, SIZE, dtype=torch.int8, device=device)
        return lambda: torch._int_mm(a, a)

    return [
        _tried("product, float32", product, lambda: multiply(torch.float32)),
        _tried("product, bfloat16", product, lambda: multiply(torch.bfloat16)),
        _tried("product, int8", product, multiply_int8),
        _tried("attention, float32", attention, lambda: attend(torch.float32)),
        _tried("attention, bfloat16", attention, lambda: attend(torch.bfloat16)),
    ]


def _tried(name: str, operations: float, make: Callable[[], Callable[[], Tensor]]) -> Kernel:
    """The best of a few runs; the first, which may set things up, does not count."""
    try:
        run, best = make(), float("inf")
        for trial in range(TRIALS + 1):
            begin = time.perf_counter()
            float(run().flatten()[0])  # waits for the device
            if trial:
                best = min(best, time.perf_counter() - begin)
    except (RuntimeError, NotImplementedError) as error:
        return Kernel(name, None, str(error).splitlines()[0][:60])
    return Kernel(name, operations / best)


def measured_speed(runtime: Runtime) -> tuple[float, ModelConfig]:
    """Tokens a second of real training steps of the default model, and that model."""
    config = model_config(ShapeConfig(context=TIME), VOCABULARY)
    model = build_model(config, runtime.compute_dtype)
    model.init_weights(torch.Generator().manual_seed(0))
    model.to(runtime.device)
    fast, optim = has_fast_bfloat16(runtime.device), OptimizerConfig()
    optimizers = build_optimizers(model.named_parameters(), optim, fast_bfloat16=fast)
    state = TrainState(model, Learner(model, next_token), optimizers, runtime)
    ids = torch.randint(0, VOCABULARY, (ROWS, TIME + 1), generator=torch.Generator().manual_seed(0))
    batch = Batch(tokens=ids[:, :-1], targets=ids[:, 1:], count=ROWS * TIME)
    schedule, best = make_schedule(optim, STEPS), float("inf")
    begin = time.perf_counter()
    for report in train(state, iter([[batch]] * STEPS), schedule=schedule, clip=None):
        float(report.loss)
        now = time.perf_counter()
        best, begin = min(best, now - begin), now
    return ROWS * TIME / best, config


def largest(flops: float) -> tuple[int, int]:
    """(depth, tokens) of the deepest model that an hour of so many FLOPs a second is enough for."""
    found = 0, 0
    for depth in range(1, DEEPEST + 1):
        model = model_config(ShapeConfig(depth=depth, context=TIME), VOCABULARY)
        tokens = TOKENS_PER_PARAMETER * num_matrix_parameters(model)
        if tokens * flops_per_token(model, TIME) <= flops * HOUR:
            found = depth, tokens
    return found


def advice(device: torch.device, kernels: list[Kernel]) -> list[str]:
    """What to change, each with its reason."""
    found, cores = [], os.cpu_count() or 1
    rates = {kernel.name: kernel.rate or 0.0 for kernel in kernels}
    if device.type == "cpu":
        ratio = rates["product, bfloat16"] / max(rates["product, float32"], 1.0)
        if not has_fast_bfloat16(device):
            found.append(
                f"this processor has no bfloat16 instructions (products run at {ratio:.1f} times "
                "float32's speed): float32 is used; a newer one would train about twice as fast"
            )
        if torch.get_num_threads() > cores:
            found.append(
                f"{torch.get_num_threads()} threads on {cores} cores: use --threads {cores}"
            )
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > 1.5 * cores:
        found.append(
            f"other programs are at work (load {os.getloadavg()[0]:.1f} on {cores} cores): these "
            "figures are lower than a quiet machine's; with --threads 1 a run suffers less"
        )
    memory = free_memory()
    if memory is not None and memory < LEAST_MEMORY:
        found.append(
            f"only {memory / 2**30:.1f} GiB are free: close something, or --micro-tokens 2048"
        )
    return found or ["nothing to change"]
